"""Options that commands share: their names, their help, and how their text becomes axes.

Only text is read here, so that a mistake is told before torch is imported.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from gcbench import cores, spec
from gcbench import heap as allocator
from gcbench.cli import faults
from gcbench.errors import UsageError
from gcbench.formats import FORMATS
from gcbench.formats.detail import Detail
from gcbench.records import DEFAULT_EFFORT, QUICK, RIGOROUS, Effort
from gcbench.sweep import TIMEOUT_S
from gcbench.units import parse_seconds, parse_share

AXES, EFFORT, OUTPUT, PIVOT, TROUBLE = "Axes", "How long", "Output", "Pivot", "Trouble"
SELECTION = "Which cases, in which order"


def words(choices: object) -> str:
    """What an option's value may be, as help shows it."""
    return "|".join(get_args(choices))


def option(*names: str, help: str, metavar: str | None = None, panel: str | None = None) -> Any:
    """Make an option without a value by default."""
    return typer.Option(
        *names, help=help, metavar=metavar, rich_help_panel=panel, show_default=False
    )


def _axis(*names: str, help: str, metavar: str) -> Any:
    return typer.Option(*names, help=help, metavar=metavar, rich_help_panel=AXES)


def completed(incomplete: str) -> list[tuple[str, str]]:
    """Complete the name of a block or a group, for a shell; each with what it is."""
    from gcbench import groups
    from gcbench.blocks import catalogue
    from gcbench.peers import LIBRARIES

    known = [(entry.name, entry.summary) for entry in catalogue()[0]]
    known += [(f"{each.name}/{name}", each.summary) for each in LIBRARIES for name in each.names]
    known += [(f"{groups.MARK}{name}", "a group") for name in groups.known()]
    return [(name, words) for name, words in known if name.startswith(incomplete)]


Blocks = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="BLOCK",
        autocompletion=completed,
        help="Block specs, TARGET[:key=value]..., such as gc:ratio=8 or my.module:MyBlock:width=3. "
        f"Default: {' '.join(spec.DEFAULT_BLOCKS)}.",
        show_default=False,
    ),
]
Batch = Annotated[str, _axis("-B", "--batch", help="Images in the input.", metavar="N")]
Channels = Annotated[str, _axis("-C", "--channels", help="Channels of the input.", metavar="N")]
Size = Annotated[
    str, _axis("-s", "--size", help="Height and width: 56, or 50x80.", metavar="H[xW]")
]
Ratio = Annotated[
    str, _axis("-r", "--ratio", help="Bottleneck reduction where a block has one.", metavar="N")
]
Dtype = Annotated[str, _axis("--dtype", help="Element type.", metavar=words(spec.Dtype))]
Device = Annotated[
    str | None,
    _axis("--device", help="Default: the accelerator, if there is one.", metavar="cpu|cuda[:I]"),
]
Devices = Annotated[
    str | None,
    _axis(
        "--device",
        help="Default: the accelerator, if there is one. Several are measured in turn.",
        metavar="cpu|cuda[:I][,...]",
    ),
]
Layout = Annotated[str, _axis("--layout", help="Memory layout.", metavar=words(spec.Layout))]
Mode = Annotated[
    str,
    _axis(
        "--mode",
        help="infer: no gradients; train: forward and backward; backward: that pass alone.",
        metavar=words(spec.Mode),
    ),
]
Runtime = Annotated[str, _axis("--runtime", help="How it runs.", metavar=words(spec.Runtime))]
Cache = Annotated[
    str | None,
    _axis(
        "--cache",
        help="cold: the last-level cache is flushed before each sample. "
        "Default: warm on a CPU, cold on CUDA.",
        metavar=words(spec.Cache),
    ),
]
Threads = Annotated[
    str | None, _axis("--threads", help="CPU threads. Default: PyTorch's own.", metavar="N")
]
Regime = Annotated[
    str,
    _axis(
        "--regime",
        help="sustained: of a device kept busy for seconds before, and all through.",
        metavar=words(spec.Regime),
    ),
]
Tf32 = Annotated[
    str | None,
    _axis(
        "--tf32",
        help="Whether CUDA may shorten float32 to 19 bits in products and convolutions. "
        "Default: as torch has it. Recorded with the run either way.",
        metavar="on|off",
    ),
]
Heap = Annotated[
    str | None,
    _axis(
        "--heap",
        help="steady: keep freed memory, so that no latency depends on what ran before (glibc). "
        "default: the allocator as it is, page faults and all. Default: steady.",
        metavar=words(spec.Heap),
    ),
]
Precision = Annotated[
    str | None,
    option(
        "--precision",
        help="Half-width asked of every relative. Default: 2% on a CPU, 1% on CUDA.",
        metavar="SHARE",
        panel=EFFORT,
    ),
]
MaxTime = Annotated[
    str | None,
    option(
        "--max-time",
        help="Time that a comparison may take. Default: 10s on a CPU, 5s on CUDA.",
        metavar="TIME",
        panel=EFFORT,
    ),
]
Quick = Annotated[
    bool, option("--quick", help="Same as --precision 5% --max-time 2s.", panel=EFFORT)
]
Rigorous = Annotated[
    bool,
    option(
        "--rigorous",
        help="Same as --precision 0.5% --max-time 60s, shared by three fresh processes.",
        panel=EFFORT,
    ),
]
Seed = Annotated[str, typer.Option("--seed", help="Of weights, inputs and order.", metavar="N")]
Baseline = Annotated[
    str | None,
    option(
        "--baseline",
        help="What the others are divided by. Default: the first block.",
        metavar="BLOCK",
    ),
]
Pair = Annotated[
    str | None,
    option(
        "--pair",
        help="Each block at two values of an axis, the second against the first: "
        f"{', '.join(spec.PAIRS)}; or with values, as in dtype=float16,float32.",
        metavar="AXIS[=V,V]",
    ),
]
Counter = Annotated[
    str, typer.Option("--counter", help="Who counts MACs.", metavar=words(spec.CounterName))
]
Csv = Annotated[
    Path | None, option("--csv", help="Write the rows here.", metavar="FILE", panel=OUTPUT)
]
Output = Annotated[
    Path | None,
    option(
        "-o",
        "--output",
        help="Keep the run, raw samples and all, in this new file.",
        metavar="RUN",
        panel=OUTPUT,
    ),
]
Run = Annotated[
    Path | None,
    typer.Argument(
        metavar="RUN",
        help="A run's file. Default: the newest in results/.",
        show_default=False,
    ),
]
Rows = Annotated[
    str | None,
    option(
        "--rows",
        help="What a line of the pivot shares: columns of the CSV, size (HxW), shape or N (H*W). "
        "Default: whatever varies beside --columns.",
        metavar="NAME[,NAME]",
        panel=PIVOT,
    ),
]
Columns = Annotated[
    str | None,
    option(
        "--columns",
        help="What a column of the pivot shares. Default: block, with its ratio; or what varies.",
        metavar="NAME",
        panel=PIVOT,
    ),
]
Value = Annotated[
    str | None,
    option(
        "--value",
        help="The column to show. Default: relative; where nothing is, latency_us, else macs.",
        metavar="NAME",
        panel=PIVOT,
    ),
]
Where = Annotated[
    str | None,
    option(
        "--where",
        help="Only the cases for which this holds, over columns of the CSV, as in \"status == 'ok' "
        'and relative < 1".',
        metavar="CONDITION",
        panel=SELECTION,
    ),
]
Sort = Annotated[
    str | None,
    option(
        "--sort",
        help="Order by columns of the CSV; a minus before a name means descending.",
        metavar="[-]NAME[,...]",
        panel=SELECTION,
    ),
]
Report = Annotated[
    Path | None,
    option(
        "-o",
        "--output",
        help="Write the report here instead of on stdout.",
        metavar="FILE",
        panel=OUTPUT,
    ),
]
Format = Annotated[
    str,
    typer.Option(
        "--format",
        help="What stdout carries.",
        metavar="|".join(entry.name for entry in FORMATS),
        rich_help_panel=OUTPUT,
    ),
]
AllowNondeterministic = Annotated[
    bool,
    option(
        "--allow-nondeterministic",
        help="Time blocks whose calls differ on one input, and flag them.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.", show_default=False)]
NoWait = Annotated[
    bool,
    option(
        "--no-wait",
        help="Do not wait for another gcbench that measures on the device.",
        panel=EFFORT,
    ),
]
Timeout = Annotated[
    str | None,
    option(
        "--timeout",
        help="Time that trying one case may take, where code of others runs. Default: 2m.",
        metavar="TIME",
        panel=TROUBLE,
    ),
]
Verbose = Annotated[
    bool,
    option(
        "-v",
        "--verbose",
        help="All notes below tables; of bench, network and report also each row's samples.",
        panel=OUTPUT,
    ),
]
Quiet = Annotated[bool, option("-q", "--quiet", help="No notes below tables.", panel=OUTPUT)]
Strict = Annotated[
    bool, option("--strict", help="Exit 5 where a verdict is untrusted.", panel=OUTPUT)
]


def read_axes(
    *,
    batch: str,
    channels: str,
    size: str,
    ratio: str,
    dtype: str,
    device: str | None,
    layout: str,
    mode: str,
    runtime: str,
    cache: str | None,
    threads: str | None,
    regime: str = "burst",
) -> spec.Axes:
    """Read one value for every axis. Raises UsageError, which names the option."""
    return replace(
        read_device(device, threads),
        batch=spec.parse_count("--batch", batch),
        channels=spec.parse_count("--channels", channels),
        size=spec.parse_size("--size", size),
        ratio=spec.parse_count("--ratio", ratio),
        dtype=spec.parse_choice("--dtype", dtype, spec.Dtype),
        layout=spec.parse_choice("--layout", layout, spec.Layout),
        mode=spec.parse_choice("--mode", mode, spec.Mode),
        runtime=spec.parse_choice("--runtime", runtime, spec.Runtime),
        cache=None if cache is None else spec.parse_choice("--cache", cache, spec.Cache),
        regime=spec.parse_choice("--regime", regime, spec.Regime),
    )


def read_timeout(timeout: str | None) -> float:
    """Read how long trying one case may take, in seconds. Raises UsageError."""
    return TIMEOUT_S if timeout is None else parse_seconds("--timeout", timeout)


def read_heap(heap: str | None) -> spec.Heap:
    """Read how the allocator is to be. Raises UsageError."""
    return "steady" if heap is None else spec.parse_choice("--heap", heap, spec.Heap)


def settle_heap(wanted: spec.Heap) -> None:
    """Make the heap of this process so, before torch is loaded, and say where it cannot be.

    From here on it is seen what else the cores do.
    """
    cores.begin()
    if allocator.settle(wanted) != wanted:
        faults.say("--heap steady needs glibc: the allocator stays as it is (--heap default)")


def read_detail(verbose: bool, quiet: bool) -> dict[str, Detail]:
    """Read how much stands below a table, as an argument for formats; none leaves it to them.

    Raises UsageError where both are asked for.
    """
    if verbose and quiet:
        raise UsageError("--verbose and --quiet ask for different things: give one of them")
    return {"detail": Detail.ALL} if verbose else {"detail": Detail.NONE} if quiet else {}


def read_device(device: str | None, threads: str | None) -> spec.Axes:
    """Read where to measure; every other axis has its default. Raises UsageError."""
    return spec.Axes(
        device=None if device is None else spec.parse_device("--device", device),
        threads=None if threads is None else spec.parse_threads("--threads", threads),
    )


def read_effort(
    precision: str | None,
    max_time: str | None,
    quick: bool,
    rigorous: bool,
    defaults: Mapping[str, Effort] = DEFAULT_EFFORT,
) -> Callable[[str], Effort]:
    """Read how long to measure, as a function of the device, whose default fills what is not given.

    Raises UsageError, which names the option, where one is wrong or both presets are given.
    """
    if quick and rigorous:
        raise UsageError("--quick and --rigorous ask for different things: give one of them")
    preset = QUICK if quick else RIGOROUS if rigorous else None
    share = None if precision is None else parse_share("--precision", precision)
    seconds = None if max_time is None else parse_seconds("--max-time", max_time)

    def effort(device: str) -> Effort:
        default = preset or defaults[spec.kind_of(device)]
        return replace(
            default,
            precision=share or default.precision,
            max_time_s=seconds or default.max_time_s,
        )

    return effort
