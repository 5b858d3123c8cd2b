"""What a command imports, seen from a process of its own."""

import subprocess
import sys

_PROGRAM = """
import sys
from gcbench.cli.app import main
try:
    main(sys.argv[1:])
finally:
    print(sorted({'torch', 'pandas', 'fvcore', 'scipy'} & set(sys.modules)), file=sys.stderr)
"""


def assert_light(*arguments, scipy=False):
    """Run gcbench, which must end well without torch or pandas; returns stdout and what it told.

    Nor does it load scipy, unless that is said.
    """
    command = [sys.executable, "-c", _PROGRAM, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    *told, loaded = done.stderr.splitlines()
    assert loaded in ("[]", "['scipy']" if scipy else "[]")
    return done.stdout, told
