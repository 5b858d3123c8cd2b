"""One value of every case of a run, in rows and columns of the axes that vary."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gcbench.columns import COLUMNS
from gcbench.errors import UsageError
from gcbench.records import Cell
from gcbench.registry import suggestion
from gcbench.report.below import failures, of_blocks
from gcbench.report.cells import shown
from gcbench.report.detail import Detail, told
from gcbench.report.document import Layout
from gcbench.report.layout import DISTURBED_MARK
from gcbench.report.notes import busy_line, in_words
from gcbench.report.provenance import baselines, carried, devices, floor_text, made_with
from gcbench.results.tables import Row
from gcbench.spec.labels import AXES, axes_text, axis_word, label, label_without_ratio, shared
from gcbench.stats.machine_flags import BUSY

# names that are no column
_MADE = ("size", "shape", "N")
# names that say which block it is
_BLOCKS = {"block", "spec", "key"}

_MARKS = {"unresolved": " ?", "too_few_replicates": " ?", "untrusted": " !"}
_MARK_WORDS = {
    "unresolved": "?: unresolved, so neither faster nor slower nor the same",
    "too_few_replicates": "?: too few replicates for an interval",
    "untrusted": "!: untrusted, since two copies of one thing differed, or threads waited for "
    "a core",
}
NO_CASE = "-"


@dataclass(frozen=True)
class PivotCell:
    """One cell: its text for people, and the value with all its digits.

    Where a case has no value, both say why in words; where there is no case, the value is None.
    """

    text: str
    value: Cell


@dataclass(frozen=True)
class Pivot:
    """Lines of labels and places below the names of the labels and of the columns.

    `notes` explain marks and failures, `flags` are those of any row; `carried` is what all cells
    rest on: axes that they share, device, versions, start, A/A.
    """

    value: str
    heading: tuple[str, ...]
    row_names: tuple[str, ...]
    columns: tuple[str, ...]
    lines: tuple[tuple[tuple[str, ...], tuple[PivotCell, ...]], ...]
    notes: tuple[str, ...]
    flags: tuple[str, ...]
    carried: Mapping[str, Cell]

    def layout(self, detail: Detail) -> Layout:
        """Lay it out as a table for people: its notes are what cells say, the rest its flags."""
        return Layout(
            heading=self.heading,
            header=(*self.row_names, *self.columns),
            labels=len(self.row_names),
            lines=[(*labels, *(place.text for place in cells)) for labels, cells in self.lines],
            notes=told(detail, cells=self.notes, rest=in_words(self.flags)),
        )

    def rows(self) -> Iterator[dict[str, Any]]:
        """Its lines with all digits: the labels by name, and the values by column."""
        for labels, cells in self.lines:
            values = dict(zip(self.columns, (cell.value for cell in cells), strict=True))
            yield {**dict(zip(self.row_names, labels, strict=True)), self.value: values}


def parse_name(option: str, name: str) -> str:
    """Check that a name is one of a column, or size, or shape. Raises UsageError.

    >>> parse_name("--rows", "size")
    'size'
    """
    if name not in (*_MADE, *COLUMNS):
        raise UsageError(f"{option} {name!r} is no column: {suggestion(name, (*_MADE, *COLUMNS))}")
    return name


def pivot(
    rows: Iterable[Row],
    down: Sequence[str] = (),
    across: str | None = None,
    value: str | None = None,
) -> Pivot:
    """Put one value of every case into a grid.

    `down` names what each line shares, `across` what each column does: columns of the CSV, or
    `size` (HxW), `shape` (BxCxHxW) or `N` (H*W); `block` is the spec with its ratio. What else
    varies is added to `down`, so that a place holds one case. Without `across` it is the block,
    else the first that varies. Without `value` it is the relative where there is one, the latency
    where something was timed or all failed, else the MACs. Raises UsageError where a name is none,
    or there twice.
    """
    rows = list(rows)
    across = across or _free(rows, down)
    for option, name in (*(("--rows", name) for name in down), ("--columns", across)):
        parse_name(option, name)
    if len({*down, across}) <= len(down):
        raise UsageError("--rows and --columns name the same column twice")
    value = parse_name("--value", value or _telling(rows))
    down = (*down, *_left_over(rows, (*down, across))) or ("size",)
    lines: dict[tuple[str, ...], dict[str, PivotCell]] = {}
    columns: dict[str, None] = {}
    for row in rows:
        line = tuple(_word(row, name, (*down, across)) for name in down)
        column = _word(row, across, (*down, across))
        columns[column] = None
        lines.setdefault(line, {})[column] = _place(row, value)
    hole = PivotCell(NO_CASE, None)
    return Pivot(
        value=value,
        heading=tuple(_heading(rows, value)),
        row_names=down,
        columns=tuple(columns),
        lines=tuple(
            (line, tuple(cells.get(column, hole) for column in columns))
            for line, cells in lines.items()
        ),
        notes=tuple(_notes(rows, value)),
        flags=tuple(dict.fromkeys(flag for row in rows for flag in _flags_of(row))),
        carried=carried(rows),
    )


def _free(rows: Sequence[Row], down: Sequence[str]) -> str:
    """What columns share where nobody said: the block, or what varies where lines share that."""
    if not _BLOCKS.intersection(down):
        return "block"
    others = ("size", "device", "dtype", "mode")
    return next(name for name in (*_left_over(rows, down), *others) if name not in down)


def _telling(rows: Sequence[Row]) -> str:
    if any(row["relative"] is not None for row in rows):
        return "relative"
    # where every case failed, that is what there is to say
    timed = any(row["latency_us"] is not None for row in rows)
    return "latency_us" if timed or all(row["status"] != "ok" for row in rows) else "macs"


def _left_over(rows: Sequence[Row], named: Sequence[str]) -> list[str]:
    """What else has to be named, so that a place holds one case of one machine.

    The axes that differ among rows alike in all that was named, the block and the node if those
    vary, and the device's own name where rows are still alike.
    """
    first: dict[tuple[str, ...], list[str]] = {}
    left: set[str] = set()
    for row in rows:
        words = [_word(row, axis, named) for axis in AXES]
        others = first.setdefault(tuple(_word(row, name, named) for name in named), words)
        if words != others:
            left.update(a for a, one, two in zip(AXES, words, others, strict=True) if one != two)
    unnamed = not _BLOCKS.intersection(named)
    blocks = {_word(row, "block", named) for row in rows} if unnamed else ()
    found = [*(axis for axis in AXES if axis in left), *(["block"] if len(blocks) > 1 else [])]
    if "node" not in named and len({row["node"] for row in rows}) > 1:
        found.append("node")
    devices: dict[tuple[str, ...], set[str]] = {}
    for row in rows:
        alike = tuple(_word(row, name, named) for name in (*named, *found))
        devices.setdefault(alike, set()).add(row["device_name"])
    if "device_name" not in named and any(len(names) > 1 for names in devices.values()):
        found.append("device_name")
    return found


def _word(row: Row, name: str, named: Sequence[str]) -> str:
    if name == "shape":
        return "x".join(str(row[axis]) for axis in ("batch", "channels", "height", "width"))
    if name == "N":
        return str(row["height"] * row["width"])
    if name in ("block", "spec"):
        return label_without_ratio(row) if "ratio" in named else label(row)
    return axis_word(row, name)


def _place(row: Row, value: str) -> PivotCell:
    if value in _MADE:
        text = _word(row, value, ())
        return PivotCell(text, text)
    if row[value] is None:
        why = _why_missing(row, value)
        return PivotCell(why, why)
    mark = _MARKS.get(row["verdict"] or "", "") if value == "relative" else ""
    busy = DISTURBED_MARK if _is_busy(row, value) else ""
    return PivotCell(shown(row, value) + mark + busy, row[value])


def _is_busy(row: Row, value: str) -> bool:
    """Whether a value is a time, or a ratio of times, of a busy machine."""
    timed = value.startswith(("latency", "relative"))
    return timed and any(flag in BUSY for flag in _flags_of(row))


def _flags_of(row: Row) -> list[str]:
    return (row["flags"] or "").split()


def _why_missing(row: Row, value: str) -> str:
    if row["status"] != "ok":
        return str(row["status"])
    if value.startswith(("relative", "verdict")) and "baseline_failed" in (row["flags"] or ""):
        return "no baseline"
    return "none"


def _heading(rows: Sequence[Row], value: str) -> Iterator[str]:
    yield _title(rows, value)
    yield axes_text(shared(rows))
    if rows:
        yield f"{devices(rows)} · {made_with(rows)}"
    if copies := floor_text(rows):
        yield copies


def _title(rows: Sequence[Row], value: str) -> str:
    if value != "relative":
        return COLUMNS[value].heading if value in COLUMNS else value
    return f"latency relative to {baselines(rows)}; below 1 is faster"


def _notes(rows: Sequence[Row], value: str) -> list[str]:
    judged = {row["verdict"] for row in rows} if value == "relative" else set()
    notes = [words for verdict, words in _MARK_WORDS.items() if verdict in judged]
    timed = [row for row in rows if row[value] is not None]
    marked = [_flags_of(row) if _is_busy(row, value) else () for row in timed]
    notes += [f"~: {busy_line(marked)}"] if any(marked) else []
    return [*notes, *failures(rows), *of_blocks(rows)]
