"""What stands below a table: one line for each cause that changes how it is read, the worst first.

A cause is one entry of `CAUSES`: what it goes by, what it says, and what to do about it. Flags that
no cause takes are told in their own words, so a new flag is never silent.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

from gcbench.records import Manifest, StoppedBy
from gcbench.report.document import Legend
from gcbench.stats.machine_flags import DRIFT, FLAG_WORDS, OF_BLOCKS, was_loaded
from gcbench.units import counted, percent_text


@dataclass(frozen=True)
class Seen:
    """What causes are found in: some rows that were timed, how many there are of each kind.

    `flags` are those of each row, without numbers behind them; `load` is the load before, in words;
    `threads` is whether fewer of them could be tried. `stopped_by` and `replicates` say what ended
    the measurement, and after how many.
    """

    flags: Sequence[Set[str]]
    untrusted: int = 0
    few: int = 0
    unresolved: int = 0
    load: str = ""
    threads: bool = False
    stopped_by: StoppedBy = "precision"
    replicates: str = ""

    def having(self, names: Iterable[str]) -> list[str]:
        """Those of some flags that a row has."""
        return [name for name in names if any(name in row for row in self.flags)]

    def where(self, names: Iterable[str]) -> str:
        """In how many of the rows one of some flags is, where that is not all of them."""
        having = sum(not row.isdisjoint(names) for row in self.flags)
        return f" in {having} of {counted(len(self.flags), 'row')}" * (having < len(self.flags))

    def of_rows(self, number: int, what: str) -> str:
        """So many of the rows are something; empty where none is."""
        return f"{number} of {counted(len(self.flags), 'row')} {what}" * bool(number)


@dataclass(frozen=True)
class Cause:
    """A reason to read a table otherwise.

    It is there where `found` says so, else where one of `flags` is. `effect` says what it does to
    the numbers and `cure` what to do, empty where nothing helps. Where it is there, the causes that
    it `explains` are told by it. `column` is the one without which there is nothing to say.
    """

    name: str
    effect: Callable[[Seen], str]
    cure: Callable[[Seen], str] = lambda seen: ""
    flags: tuple[str, ...] = ()
    found: Callable[[Seen], bool] | None = None
    explains: tuple[str, ...] = ()
    column: str | None = None

    def holds(self, seen: Seen) -> bool:
        """Whether it is there."""
        return self.found(seen) if self.found else bool(seen.having(self.flags))

    def explained(self, there: "Sequence[Cause]") -> bool:
        """Whether another of the causes that are there tells of it."""
        return any(self.name in cause.explains for cause in there)

    def line(self, seen: Seen) -> str:
        """What it says, in a line."""
        text = "; ".join(filter(None, [self.effect(seen), self.cure(seen)]))
        return Legend((self.column, text)) if self.column else text


def _busy(seen: Seen) -> str:
    signs = seen.having(_SIGNS)
    # one sign tells it; -v has the others
    why = seen.load if seen.load and "load" in signs else _SIGNS[signs[0]]
    lost = [
        "latencies may be inflated" if signs == ["load"] else "latencies inflated",
        seen.of_rows(seen.untrusted, "untrusted"),
        seen.of_rows(seen.few, "with too few replicates"),
    ]
    return f"machine busy{seen.where(_SIGNS)} ({why}): {', '.join(filter(None, lost))}"


def _make_room(seen: Seen) -> str:
    if seen.having(_SIGNS) == ["steal"]:
        return "the host is shared: try another hour or another machine"
    return "close other programs" + (" or use --threads 1" if seen.threads else "")


def _says(text: str) -> Callable[[Seen], str]:
    return lambda seen: text


# flags that a busy machine raises, and what each is a sign of, the plainest first
_SIGNS = {
    "pressure": "tasks waited for cores",
    "low_cpu_share": "under a core for the process",
    "disturbed": "threads waited for cores",
    "contended": "medians far above the fastest samples",
    "preempted": "preempted",
    "steal": "CPU steal",
    "load": "load before",
}
# the worst first
CAUSES = (
    Cause(
        "busy",
        _busy,
        _make_room,
        flags=tuple(_SIGNS),
        explains=("copies", "few", "unresolved", "drift"),
    ),
    Cause(
        "not_alone",
        _says("another gcbench measured on this device: latencies inflated"),
        _says("drop --no-wait"),
        flags=("not_alone",),
    ),
    Cause(
        "copies",
        lambda seen: (
            "copies of one block differ by more than --precision: "
            f"{seen.of_rows(seen.untrusted, 'untrusted') or 'noisy machine'}"
        ),
        _says("see gcbench check"),
        flags=("copies_differ",),
    ),
    Cause(
        "tainted",
        _says("a case broke this process's use of the device: rows after it are doubtful"),
        _says("start anew without it"),
        flags=("tainted",),
    ),
    Cause(
        "throttled",
        _says("device throttled its clock: latencies inflated, paired ratios are unaffected"),
        _says("let it cool, or check its power limit"),
        flags=("throttled",),
    ),
    Cause(
        "page_faults",
        lambda seen: (
            f"page faults in calls{seen.where(['page_faults'])}: "
            "latencies depend on what ran before"
        ),
        _says("use --heap steady"),
        flags=("page_faults",),
    ),
    Cause(
        "launch_exposed",
        _says("host too slow for the device's queue: latencies include waiting for the host"),
        _says("graph_us in the CSV is the device's own time"),
        flags=("launch_exposed",),
    ),
    Cause(
        "interrupted",
        lambda seen: f"interrupted after {seen.replicates}",
        found=lambda seen: seen.stopped_by == "interrupt",
        explains=("few", "unresolved"),
    ),
    Cause(
        "few",
        lambda seen: (
            f"hit --max-time after {seen.replicates}, too few for an interval"
            if seen.stopped_by == "time"
            else f"{seen.replicates}: too few for an interval"
        ),
        _says("raise --max-time"),
        found=lambda seen: seen.few > 0,
        explains=("unresolved",),
    ),
    Cause(
        "syncs_inside",
        _says("a call waits for the device inside: its latency includes the host's time"),
        flags=("syncs_inside",),
    ),
    Cause(
        "event_overhead",
        _says("CUDA events take over 2 % of a sample: ratios are pulled towards 1"),
        flags=("event_overhead",),
    ),
    Cause(
        "baseline_failed",
        _says("baseline not measured: no ratios"),
        flags=("baseline_failed",),
    ),
    Cause(
        "unresolved",
        lambda seen: f"{seen.of_rows(seen.unresolved, 'unresolved')} after {seen.replicates}",
        lambda seen: "raise --max-time" if seen.stopped_by == "time" else "lower --precision",
        found=lambda seen: seen.unresolved > 0,
    ),
    Cause(
        "drift",
        _says(
            f"latencies drifted by over {percent_text(DRIFT)} meanwhile; "
            "paired ratios are unaffected"
        ),
        flags=("drift",),
    ),
    Cause(
        "ceilings",
        _says("? at bound, floor: ceilings of a busy machine, or a row above one"),
        _says("run gcbench peaks"),
        flags=("peaks_busy", "above_ceiling"),
        column="bound",
    ),
)
# told under `Detail.ALL`, or elsewhere
_MINOR = ("far_out", "counters_disagree", *OF_BLOCKS)


def lines(seen: Seen, columns: Collection[str] = ()) -> Iterator[str]:
    """One line for each cause that is there, the worst first; then flags that no cause takes.

    A cause that is about a column is told where that is among `columns`.
    """
    there = [
        cause
        for cause in CAUSES
        if cause.holds(seen) and (cause.column is None or cause.column in columns)
    ]
    yield from (cause.line(seen) for cause in there if not cause.explained(there))
    known = {flag for cause in CAUSES for flag in cause.flags}
    yield from _words(flag for row in seen.flags for flag in sorted(row - known))


def busy_line(flags: Iterable[Iterable[str]]) -> str:
    """What the flags of some timed rows say of a busy machine, in a line."""
    busy = next(cause for cause in CAUSES if cause.name == "busy")
    return busy.line(of_flags(flags))


def in_words(flags: Iterable[str]) -> Iterator[str]:
    """Flags as the CSV has them, each in its own words, one a line."""
    return _words(map(named, flags))


def _words(flags: Iterable[str]) -> Iterator[str]:
    for flag in dict.fromkeys(flags):
        # of some more is told elsewhere
        if flag not in _MINOR:
            yield FLAG_WORDS.get(flag, flag)


def of_flags(flags: Iterable[Iterable[str]], manifest: Manifest | None = None) -> Seen:
    """What the flags of some timed rows show, where their verdicts are not at hand."""
    return Seen([{named(word) for word in row} for row in flags], load=load_of(manifest))


def named(word: str) -> str:
    """A flag in the words that are told; the number of some is for those who ask for it.

    >>> named("far_out=3"), named("graphs=2"), named("drift")
    ('far_out', 'graph breaks: compiled in 2 parts (graphs=2)', 'drift')
    """
    name, _, number = word.partition("=")
    return f"graph breaks: compiled in {number} parts ({word})" if name == "graphs" else name


def load_of(manifest: Manifest | None) -> str:
    """The load before a run in words; empty where it was none."""
    if manifest is None or not was_loaded(manifest):
        return ""
    return f"load {manifest.load_1min:.1f} on {counted(manifest.usable_cores, 'core')}"


def of_rows(rows: Sequence[Mapping[str, Any]], manifest: Manifest | None) -> Seen:
    """What the rows of a table show; `manifest` is that of their run, where its load is known."""
    timed = [row for row in rows if row["stopped_by"]]
    verdicts = Counter(row["verdict"] for row in timed)
    return replace(
        of_flags([(row["flags"] or "").split() for row in timed or rows], manifest),
        untrusted=verdicts["untrusted"],
        few=sum(row["relative"] is not None and row["relative_lo"] is None for row in timed),
        unresolved=verdicts["unresolved"],
        threads=any(row["device"] == "cpu" and (row["threads"] or 2) > 1 for row in timed),
        stopped_by=_ended_by([row["stopped_by"] for row in timed]),
        replicates=replicates(timed) if timed else "",
    )


def _ended_by(each: Sequence[StoppedBy]) -> StoppedBy:
    """What ended the measurement of several rows: what cut it short, if anything did."""
    order: tuple[StoppedBy, ...] = ("interrupt", "time")
    return next((end for end in order if end in each), "precision")


def replicates(timed: Sequence[Mapping[str, Any]]) -> str:
    """How many replicates rows rest on, in words.

    >>> replicates([{"replicates": 12}, {"replicates": 17}]), replicates([{"replicates": 1}])
    ('12-17 replicates', '1 replicate')
    """
    numbers = [row["replicates"] for row in timed]
    fewest, most = min(numbers), max(numbers)
    return f"{fewest}-{most} replicates" if fewest < most else counted(most, "replicate")
