"""The door for a checkout: `python cli.py ...` is `gcbench ...`."""

from gcbench.cli.app import main

if __name__ == "__main__":
    main()
