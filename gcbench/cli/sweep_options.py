"""Options of `gcbench sweep`: lists and ranges for every axis, and what keeps a sweep going.

Nothing has a value by default here, since a file may give it; `gcbench.spelling` reads the texts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, get_args

from gcbench import spec, store
from gcbench.cli.options import AXES, EFFORT, TROUBLE, option, words
from gcbench.errors import UsageError, cause, quoted
from gcbench.records import QUICK, RIGOROUS
from gcbench.registry import is_file
from gcbench.spelling import Given, from_toml, make
from gcbench.sweep import EngineName, OnOom, Retriable, Stages, Sweep
from gcbench.units import size_text

CLUSTER, RESUMING, FILES = "Cluster", "Going on", "Files"
# a sweep in TOML is some hundred bytes; a device may have no end
LARGEST_FILE = 2**20


def _list(*names: str, help: str, metavar: str = "LIST") -> Any:
    return option(*names, help=help, metavar=metavar, panel=AXES)


def _lists(choices: object) -> str:
    return ",".join(get_args(choices))


Batches = Annotated[
    str | None,
    _list("-B", "--batch", help="Images in the input: 1,8 or 1..32x2. Default: 1."),
]
ChannelLists = Annotated[
    str | None,
    _list("-C", "--channels", help="Channels: 64,256 or 64:512:64 or 64..1024x2. Default: 256."),
]
Sizes = Annotated[
    str | None,
    _list(
        "-s",
        "--size",
        help="Heights and widths: 14,28,56 or 14:56:14 (start:stop:step) or 7..56x2 (doubling), "
        "ends included; 50x80 is height x width. Default: 56.",
    ),
]
Shapes = Annotated[
    list[str] | None,
    _list(
        "--shape",
        help="A whole input, instead of batch, channels and size; repeatable.",
        metavar="BxCxHxW",
    ),
]
StageLists = Annotated[
    str | None,
    _list(
        "--stages",
        help="The shapes of a backbone's four stages at 224x224, instead of channels and size.",
        metavar=_lists(Stages),
    ),
]
Ratios = Annotated[
    str | None, _list("-r", "--ratio", help="Bottleneck reductions: 4,8,16. Default: 16.")
]
Dtypes = Annotated[
    str | None, _list("--dtype", help="Default: float32.", metavar=_lists(spec.Dtype))
]
Devices = Annotated[
    str | None,
    _list("--device", help="Default: the accelerator, if there is one.", metavar="cpu,cuda[:I]"),
]
Layouts = Annotated[
    str | None, _list("--layout", help="Default: contiguous.", metavar=_lists(spec.Layout))
]
Modes = Annotated[str | None, _list("--mode", help="Default: infer.", metavar=_lists(spec.Mode))]
Runtimes = Annotated[
    str | None, _list("--runtime", help="Default: eager.", metavar=_lists(spec.Runtime))
]
Caches = Annotated[
    str | None,
    _list("--cache", help="Default: warm on a CPU, cold on CUDA.", metavar=_lists(spec.Cache)),
]
ThreadLists = Annotated[
    str | None, _list("--threads", help="CPU threads, or auto: PyTorch's own. Default: auto.")
]
Regimes = Annotated[
    str | None, _list("--regime", help="Default: burst.", metavar=_lists(spec.Regime))
]
Where = Annotated[
    str | None,
    _list(
        "--where",
        help='Keep the cases for which this holds, as in "channels * height < 2**14 and block '
        "!= 'nl'\".",
        metavar="CONDITION",
    ),
]
Seeds = Annotated[
    str | None, option("--seed", help="Of weights, inputs and order. Default: 0.", metavar="N")
]
Counters = Annotated[
    str | None,
    option("--counter", help="Who counts MACs. Default: auto.", metavar=words(spec.CounterName)),
]
Static = Annotated[
    bool,
    option(
        "--static", help="Parameters, MACs, bytes and memory alone: nothing is timed.", panel=EFFORT
    ),
]
Budget = Annotated[
    str | None,
    option(
        "--budget",
        help="Time of the whole sweep, shared among its comparisons; what does not get its turn is "
        "a row that says so. With --resume it begins anew, for what is left.",
        metavar="TIME",
        panel=EFFORT,
    ),
]
DryRun = Annotated[
    bool,
    option(
        "--dry-run",
        help="Say what it would measure, how long and how large, and measure nothing.",
        panel=EFFORT,
    ),
]
MemoryLimit = Annotated[
    str | None,
    option(
        "--memory-limit",
        help="Memory that the cases of a comparison may take. Default: what is free.",
        metavar="SIZE",
        panel=TROUBLE,
    ),
]
Engine = Annotated[
    str | None,
    option(
        "--engine",
        help="process: in a worker, so that a case can end only itself; inline: in this process, "
        "for debugging; ray: on all nodes of a cluster. Default: process.",
        metavar=words(EngineName),
        panel=TROUBLE,
    ),
]
RayAddress = Annotated[
    str | None,
    option(
        "--ray-address",
        help="With --engine ray: the cluster; auto is the one of this machine. Default: Ray is "
        "started on this machine, and ended with the sweep.",
        metavar="HOST:PORT",
        panel=CLUSTER,
    ),
]
CpusPerComparison = Annotated[
    str | None,
    option(
        "--cpus-per-comparison",
        help="With --engine ray: CPUs that a comparison has for itself. Default: all of a node; "
        "beside a GPU, one.",
        metavar="N",
        panel=CLUSTER,
    ),
]
PerDevice = Annotated[
    bool,
    option(
        "--per-device",
        help="With --engine ray: measure every comparison on each kind of device.",
        panel=CLUSTER,
    ),
]
WhenOom = Annotated[
    str | None,
    option(
        "--on-oom",
        help="When a case runs out of memory: leave out those of the same block that need as "
        "much, try them all the same, or end the sweep. Default: skip-larger.",
        metavar=words(OnOom),
        panel=TROUBLE,
    ),
]
Resume = Annotated[
    Path | None,
    option(
        "--resume",
        help="Go on with this run: no other option is needed.",
        metavar="RUN",
        panel=RESUMING,
    ),
]
Retry = Annotated[
    str | None,
    option(
        "--retry",
        help="With --resume: measure again the cases that ended so.",
        metavar=_lists(Retriable),
        panel=RESUMING,
    ),
]
AllowMismatch = Annotated[
    bool,
    option(
        "--allow-mismatch",
        help="With --resume: go on although machine or versions have changed. With --engine "
        "ray: also use nodes with another torch.",
        panel=RESUMING,
    ),
]
File = Annotated[
    Path | None,
    option(
        "--file",
        help="Read the sweep from TOML; what the line says goes before it.",
        metavar="SWEEP.toml",
        panel=FILES,
    ),
]
DumpFile = Annotated[
    Path | None,
    option(
        "--dump-file",
        help="Write the sweep as TOML, and measure nothing.",
        metavar="FILE",
        panel=FILES,
    ),
]


def given(named: Mapping[str, str | Sequence[str] | bool | None]) -> dict[str, tuple[Given, ...]]:
    """Say with which option and texts each name was given, as `spelling.make` takes them."""
    found: dict[str, tuple[Given, ...]] = {}
    for name, value in named.items():
        place = _option_of(name)
        if value is None or value is False or value == []:
            continue
        texts = [value] if isinstance(value, str) else ["true"] if value is True else value
        found[name] = tuple((place, text) for text in texts)
    return found


# what may be said again when a sweep goes on: how it is guarded, not what is measured
GUARDS = ("budget", "timeout", "engine", "memory_limit", "on_oom")


def read_new(
    given: Mapping[str, Sequence[Given]], file: Path | None, quick: bool, rigorous: bool
) -> Sweep:
    """Make a sweep of a file and what was given beside it, which goes first. Raises UsageError."""
    if quick and rigorous:
        raise UsageError("--quick and --rigorous ask for different things: give one of them")
    named: dict[str, Sequence[Given]] = {}
    if file:
        named |= from_toml(_text_of(file), str(file))
    if quick or rigorous:
        option, effort = ("--quick", QUICK) if quick else ("--rigorous", RIGOROUS)
        named["precision"] = [(option, str(effort.precision))]
        named["max_time"] = [(option, str(effort.max_time_s))]
        named["processes"] = [(option, str(effort.processes))]
    return make(named | dict(given))


def read_resumed(run: Path, given: Mapping[str, Sequence[Given]]) -> Sweep:
    """Make the sweep that a run was made by. Raises UsageError or RunError."""
    begun = store.manifest(run)
    if begun.sweep is None:
        raise UsageError(f"--resume {run}: that run was not made by gcbench sweep")
    asked = make(from_toml(begun.sweep, str(run)) | dict(given))
    # runs that say nothing of it were made before there was a choice
    return replace(asked, heap=asked.heap or begun.heap)


def require_alone(given: Mapping[str, Sequence[Given]], **others: object) -> None:
    """Make sure that nothing is said of a sweep that is gone on with. Raises UsageError."""
    names = [name for name in given if name not in GUARDS]
    names += [name for name, value in others.items() if value]
    if names:
        named = " and ".join(_option_of(name) for name in names)
        raise UsageError(
            f"--resume goes on with the sweep as the run has it: leave out {named} "
            f"(it takes {', '.join(map(_option_of, GUARDS))}, --retry, --csv, --no-wait, "
            "--ray-address, --allow-mismatch and --dry-run)"
        )


def require_cluster(
    asked: Sweep, resumed: bool, ray_address: str | None, allow_mismatch: bool
) -> None:
    """Make sure that what is said of a cluster goes with the engine that has one.

    The address is not part of a sweep: it belongs to where one sits today. Raises UsageError.
    """
    spread = asked.engine == "ray"
    by_file = next((each for each in asked.blocks if is_file(each.partition(":")[0])), None)
    if spread and by_file:
        raise UsageError(
            f"--engine ray ships modules to its nodes, and block {quoted(by_file)} is a file: "
            "name it MODULE:CLASS"
        )
    if ray_address is not None and not spread:
        raise UsageError("--ray-address goes with --engine ray")
    if allow_mismatch and not (resumed or spread):
        raise UsageError("--allow-mismatch goes with --resume RUN, or with --engine ray")


def read_retry(text: str | None) -> tuple[Retriable, ...]:
    """Read what is to be measured again. Raises UsageError."""
    words = [] if text is None else text.split(",")
    return tuple(spec.parse_choice("--retry", word, Retriable) for word in words)


def _text_of(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            text = opened.read(LARGEST_FILE + 1)
        if len(text) > LARGEST_FILE:
            raise UsageError(f"--file {file} is no sweep: it is over {size_text(LARGEST_FILE)}")
        return text.decode("utf-8")
    except OSError as error:
        raise UsageError(f"--file {file}: cannot read it: {cause(error)}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"--file {file} is no text: {error.reason}") from error


def _option_of(name: str) -> str:
    return "BLOCK" if name == "blocks" else f"--{name.replace('_', '-')}"
