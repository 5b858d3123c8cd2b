"""Text from outside made harmless: a block's name, or why it failed, may hold anything."""

import re
import shlex
from pathlib import PurePath

from gcbench.errors import LONGEST_QUOTED

# what a spreadsheet takes for the start of a formula, full-width forms and all
FORMULA_STARTS = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")


def printable(text: str) -> str:
    r"""Write what would steer a terminal, or be invisible, as an escape.

    >>> printable("gc\x1b[31m\n")
    'gc\\x1b[31m\\n'
    """
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )


def inert(text: str) -> str:
    """Put an apostrophe before what a spreadsheet would run as a formula.

    >>> inert("=1+2"), inert("gc:fusion=add")
    ("'=1+2", 'gc:fusion=add')
    """
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def shortened(text: str) -> str:
    """Cut words that are longer than anybody reads.

    >>> len(shortened("--seed takes a number, not " + 5000 * "9" + ", you know"))
    237
    """
    return re.sub(rf"(\S{{{LONGEST_QUOTED - 3}}})\S{{4,}}(?<![,.:;])", r"\1...", text)


def pasted(path: PurePath | str) -> str:
    """Write a path so that it can be pasted into a shell, and is no option there.

    >>> pasted(PurePath("a b.jsonl")), pasted("-a.jsonl"), pasted("results/a.jsonl")
    ("'a b.jsonl'", './-a.jsonl', 'results/a.jsonl')
    """
    text = str(path)
    return shlex.quote(f"./{text}" if text.startswith("-") else text)
