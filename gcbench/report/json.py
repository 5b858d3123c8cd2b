"""JSON: an object of the rows with full digits, and what they rest on; null where there is nothing.

What rows show is known when they have gone by, and so stands behind them.
"""

import json
import re
from collections.abc import Iterator, Mapping

import msgspec

from gcbench.report.document import Document


def write(document: Document) -> Iterator[str]:
    """Write one object, a row a line; a document that is an object of its own is set in."""
    if document.whole is not None:
        yield _printable(msgspec.json.format(_encoded(document.whole), indent=2)) + "\n"
        return
    head: Mapping[str, object] = {
        **({"manifest": document.manifest} if document.manifest else {}),
        **({"about": document.shared} if document.shared else {}),
        **document.about,
    }
    yield "{" + "".join(f"{_text(name)}: {_text(value)},\n" for name, value in head.items())
    yield '"rows": ['
    for number, row in enumerate(document.rows()):
        yield f"{',' if number else ''}\n{_text(row)}"
    yield "\n]"
    for name, value in document.found().items():
        yield f",\n{_text(name)}: {_text(value)}"
    yield "}\n"


def _text(value: object) -> str:
    return _printable(_encoded(value))


def _encoded(value: object) -> str:
    try:
        return msgspec.json.encode(value).decode()
    except UnicodeEncodeError:  # the name of a file may be no text, and is written as it is shown
        text = json.dumps(msgspec.to_builtins(value), ensure_ascii=False)
        return re.sub(r"[\ud800-\udfff]", lambda lone: f"\\\\u{ord(lone[0]):04x}", text)


def _printable(text: str) -> str:
    """The same JSON without letters that would steer a terminal."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() or each == "\n" else json.dumps(each)[1:-1] for each in text
    )
