"""The door for `python -m gcbench`."""

from gcbench.cli.app import main

if __name__ == "__main__":
    main()
