"""The table of options that say a plan, or that several commands share."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from gcbench.options import (
    AXES,
    CLUSTER,
    EFFORT,
    FILES,
    OUTPUT,
    PIVOT,
    RESUMING,
    SELECTION,
    TROUBLE,
    Option,
    words,
)
from gcbench.options.readers import (
    Given,
    block,
    choice,
    choices,
    cpus,
    devices,
    each,
    many,
    one,
    pair,
    parse_counts,
    parse_shapes,
    parse_sizes,
    seconds_written,
    shape_written,
    share_written,
    size_written,
    threads,
    threads_written,
    where,
    whether,
)
from gcbench.records import QUICK, RIGOROUS
from gcbench.runtime import NAMES as RUNTIMES
from gcbench.spec import cases
from gcbench.spec.cases import Effort
from gcbench.spec.grid import EngineName, OnOom, Retriable, Stages
from gcbench.units import parse_seconds, parse_share, parse_size_bytes

BLOCKS_COMMANDS = ("bench", "sweep")
GRIDS = (*BLOCKS_COMMANDS, "network")
TIMED = (*GRIDS, "paper")
ON_DEVICES = (*TIMED, "attention", "check", "peaks")


def completed(incomplete: str) -> list[tuple[str, str]]:
    """Complete the name of a block or a group, for a shell; each with what it is."""
    from gcbench.blocks import groups
    from gcbench.blocks.catalog import catalogue
    from gcbench.blocks.peers import LIBRARIES

    known = [(entry.name, entry.summary) for entry in catalogue()[0]]
    known += [(f"{each.name}/{name}", each.summary) for each in LIBRARIES for name in each.names]
    known += [(f"{groups.MARK}{name}", "a group") for name in groups.known()]
    return [(name, words) for name, words in known if name.startswith(incomplete)]


def _plan(name: str, commands: tuple[str, ...], help: str, read: Any, **more: Any) -> Option:
    """An option that says something of a plan."""
    usual: dict[str, Any] = {"field": name, "variable": True}
    return Option(name, help, commands, read=read, **(usual | more))


def _axis(name: str, commands: tuple[str, ...], help: str, read: Any, **more: Any) -> Option:
    """An option that takes every value of one axis."""
    write = more.pop("written", None)
    return _plan(
        name,
        commands,
        help,
        many(read),
        written=lambda values: [write(value) if write else value for value in values],
        table="axes",
        panel=AXES,
        **({"metavar": "LIST"} | more),
    )


def _flag(name: str, commands: tuple[str, ...], help: str, **more: Any) -> Option:
    return Option(name, help, commands, kind="flag", read=one(whether), **more)


def _implied(effort: Effort) -> tuple[tuple[str, str], ...]:
    return (
        ("precision", share_written(effort.precision)),
        ("max_time", seconds_written(effort.max_time_s)),
        ("processes", str(effort.processes)),
    )


def _retried(given: Sequence[Given]) -> tuple[Retriable, ...]:
    found: tuple[Retriable, ...] = many(choices(Retriable))(given)
    return found


# in the order in which help shows them, and files are written
OPTIONS: tuple[Option, ...] = (
    _plan(
        "blocks",
        BLOCKS_COMMANDS,
        "Block specs, TARGET[:key=value]..., such as gc:ratio=8 or my.module:MyBlock:width=3. "
        f"Default: {' '.join(cases.DEFAULT_BLOCKS)}.",
        each(block),
        written=list,
        kind="texts",
        metavar="BLOCK",
        argument=True,
        variable=False,
        completed=completed,
    ),
    _plan(
        "where",
        BLOCKS_COMMANDS,
        'Keep the cases for which this holds, as in "channels * height < 2**14 and block '
        "!= 'nl'\".",
        one(where),
        metavar="CONDITION",
        panel=AXES,
    ),
    _plan(
        "baseline",
        BLOCKS_COMMANDS,
        "What the others are divided by. Default: the first block.",
        one(block),
        metavar="BLOCK",
        excludes=("pair",),
    ),
    _plan(
        "pair",
        BLOCKS_COMMANDS,
        "Each block at two values of an axis, the second against the first: "
        f"{', '.join(cases.PAIRS)}; or with values, as in dtype=float16,float32.",
        one(pair),
        metavar="AXIS[=V,V]",
        excludes=("baseline",),
    ),
    _plan(
        "static",
        GRIDS,
        "Parameters, MACs, bytes and memory alone: nothing is timed.",
        one(whether),
        kind="flag",
        panel=EFFORT,
    ),
    _plan(
        "allow_nondeterministic",
        BLOCKS_COMMANDS,
        "Time blocks whose calls differ on one input, and flag them.",
        one(whether),
        kind="flag",
    ),
    _plan(
        "seed",
        (*GRIDS, "attention", "check", "count", "export"),
        "Of weights, inputs and order.",
        one(lambda place, text: cases.parse_count(place, text, least=0)),
        metavar="N",
    ),
    _plan(
        "counter",
        GRIDS,
        "Who counts MACs.",
        one(choice(cases.CounterName)),
        metavar=words(cases.CounterName),
    ),
    _axis("batch", GRIDS, "Images in the input: 1,8 or 1..32x2.", parse_counts, short="-B"),
    _axis(
        "channels",
        BLOCKS_COMMANDS,
        "Channels: 64,256 or 64:512:64 or 64..1024x2.",
        parse_counts,
        short="-C",
    ),
    _axis(
        "size",
        BLOCKS_COMMANDS,
        "Heights and widths: 14,28,56 or 14:56:14 (start:stop:step) or 7..56x2 (doubling), "
        "ends included; 50x80 is height x width.",
        parse_sizes,
        written=size_written,
        short="-s",
    ),
    _axis(
        "shape",
        BLOCKS_COMMANDS,
        "A whole input, instead of batch, channels and size; repeatable.",
        parse_shapes,
        written=shape_written,
        kind="texts",
        metavar="BxCxHxW",
        excludes=("batch", "channels", "size"),
    ),
    _axis(
        "stages",
        BLOCKS_COMMANDS,
        "The shapes of a backbone's four stages at 224x224, instead of channels and size.",
        choices(Stages),
        metavar=words(Stages, ","),
        excludes=("channels", "size"),
    ),
    _axis(
        "ratio",
        (*BLOCKS_COMMANDS, "count", "export"),
        "Bottleneck reductions where a block has one: 4,8,16.",
        parse_counts,
        short="-r",
    ),
    _axis(
        "dtype",
        (*GRIDS, "count", "export"),
        "Element type.",
        choices(cases.Dtype),
        metavar=words(cases.Dtype, ","),
    ),
    _axis(
        "device",
        ON_DEVICES,
        "Default: the accelerator, if there is one. Several are measured in turn.",
        devices,
        metavar="cpu,cuda[:I]",
    ),
    _axis(
        "layout", GRIDS, "Memory layout.", choices(cases.Layout), metavar=words(cases.Layout, ",")
    ),
    _axis(
        "mode",
        GRIDS,
        "infer: no gradients; train: forward and backward; backward: that pass alone.",
        choices(cases.Mode),
        metavar=words(cases.Mode, ","),
    ),
    _axis(
        "runtime",
        GRIDS,
        f"How it runs: {', '.join(RUNTIMES)}.",
        choices(RUNTIMES),
    ),
    _axis(
        "cache",
        GRIDS,
        "cold: the last-level cache is flushed before each sample. "
        "Default: warm on a CPU, cold on CUDA.",
        choices(cases.Cache),
        metavar=words(cases.Cache, ","),
    ),
    _axis(
        "threads",
        ON_DEVICES,
        "CPU threads, or auto: PyTorch's own.",
        threads,
        written=threads_written,
    ),
    _axis(
        "regime",
        GRIDS,
        "sustained: of a device kept busy for seconds before, and all through.",
        choices(cases.Regime),
        metavar=words(cases.Regime, ","),
    ),
    _plan(
        "tf32",
        (*GRIDS, "peaks"),
        "Whether CUDA may shorten float32 to 19 bits in products and convolutions. "
        "Default: as torch has it. Recorded with the run either way.",
        one(choice(cases.Switch)),
        metavar=words(cases.Switch),
        table="axes",
        panel=AXES,
    ),
    _plan(
        "heap",
        (*GRIDS, "check", "peaks"),
        "steady: keep freed memory, so that no latency depends on what ran before (glibc). "
        "default: the allocator as it is, page faults and all. Default: steady.",
        one(choice(cases.Heap)),
        metavar=words(cases.Heap),
        table="axes",
        panel=AXES,
    ),
    _plan(
        "precision",
        TIMED,
        "Half-width asked of every relative. Default: 2% on a CPU, 1% on CUDA.",
        one(parse_share),
        written=share_written,
        metavar="SHARE",
        table="effort",
        panel=EFFORT,
    ),
    _plan(
        "max_time",
        BLOCKS_COMMANDS,
        "Time that a comparison may take. Default: 10s on a CPU, 5s on CUDA.",
        one(parse_seconds),
        written=seconds_written,
        field="max_time_s",
        metavar="TIME",
        table="effort",
        panel=EFFORT,
    ),
    _plan(
        "processes",
        GRIDS,
        "Fresh processes that share the time of a comparison.",
        one(cases.parse_count),
        metavar="N",
        table="effort",
        panel=EFFORT,
    ),
    _flag(
        "quick",
        TIMED,
        "Same as --precision 5% --max-time 2s.",
        panel=EFFORT,
        variable=True,
        implies=_implied(QUICK),
        excludes=("rigorous",),
    ),
    _flag(
        "rigorous",
        GRIDS,
        "Same as --precision 0.5% --max-time 60s, shared by three fresh processes.",
        panel=EFFORT,
        variable=True,
        implies=_implied(RIGOROUS),
        excludes=("quick",),
    ),
    _plan(
        "budget",
        ("sweep",),
        "Time of the whole sweep, shared among its comparisons; what does not get its turn is "
        "a row that says so. With --resume it begins anew, for what is left.",
        one(parse_seconds),
        written=seconds_written,
        field="budget_s",
        metavar="TIME",
        table="effort",
        panel=EFFORT,
        guard=True,
    ),
    _flag(
        "dry_run",
        ("sweep",),
        "Say what it would measure, how long and how large, and measure nothing.",
        panel=EFFORT,
        guard=True,
    ),
    _flag(
        "no_wait",
        ON_DEVICES,
        "Do not wait for another gcbench that measures on the device.",
        panel=EFFORT,
        variable=True,
        guard=True,
    ),
    _plan(
        "engine",
        ("sweep",),
        "process: in a worker, so that a case can end only itself; inline: in this process, "
        "for debugging; ray: on all nodes of a cluster.",
        one(choice(EngineName)),
        metavar=words(EngineName),
        table="engine",
        panel=TROUBLE,
        guard=True,
    ),
    _plan(
        "timeout",
        ("bench", "sweep", "network", "count", "export", "attention"),
        "Time that trying one case may take, in a worker process.",
        one(parse_seconds),
        written=seconds_written,
        field="timeout_s",
        metavar="TIME",
        table="engine",
        panel=TROUBLE,
        guard=True,
    ),
    _plan(
        "memory_limit",
        ("sweep",),
        "Memory that the cases of a comparison may take. Default: what is free.",
        one(parse_size_bytes),
        field="memory_limit_bytes",
        metavar="SIZE",
        table="engine",
        panel=TROUBLE,
        guard=True,
    ),
    _plan(
        "on_oom",
        ("sweep",),
        "When a case runs out of memory: leave out those of the same block that need as "
        "much, try them all the same, or end the sweep.",
        one(choice(OnOom)),
        metavar=words(OnOom),
        table="engine",
        panel=TROUBLE,
        guard=True,
    ),
    _plan(
        "per_device",
        ("sweep",),
        "With --engine ray: measure every comparison on each kind of device.",
        one(whether),
        kind="flag",
        table="engine",
        panel=CLUSTER,
    ),
    _plan(
        "cpus_per_comparison",
        ("sweep",),
        "With --engine ray: CPUs that a comparison has for itself. Default: all of a node; "
        "beside a GPU, one.",
        one(cpus),
        metavar="N",
        table="engine",
        panel=CLUSTER,
    ),
    Option(
        "ray_address",
        "With --engine ray: the cluster; auto is the one of this machine. Default: Ray is "
        "started on this machine, and ended with the sweep.",
        ("sweep",),
        metavar="HOST:PORT",
        panel=CLUSTER,
        variable=True,
        guard=True,
    ),
    Option(
        "file",
        "Read what to measure from TOML; what the line and the environment say goes before it.",
        BLOCKS_COMMANDS,
        kind="path",
        metavar="FILE.toml",
        panel=FILES,
    ),
    Option(
        "dump_file",
        "Write what it would measure as TOML, and measure nothing.",
        BLOCKS_COMMANDS,
        kind="path",
        metavar="FILE",
        panel=FILES,
    ),
    Option(
        "resume",
        "Go on with this run: no other option is needed.",
        ("sweep",),
        kind="path",
        metavar="RUN",
        panel=RESUMING,
        guard=True,
    ),
    Option(
        "retry",
        "With --resume: measure again the cases that ended so.",
        ("sweep",),
        metavar=words(Retriable, ","),
        panel=RESUMING,
        read=_retried,
        guard=True,
    ),
    _flag(
        "allow_mismatch",
        ("sweep",),
        "With --resume: go on although machine or versions have changed. With --engine "
        "ray: also use nodes with another torch.",
        panel=RESUMING,
        guard=True,
    ),
    Option(
        "csv",
        "Write the rows here.",
        (*TIMED, "attention", "report"),
        kind="path",
        metavar="FILE",
        panel=OUTPUT,
        guard=True,
    ),
    Option(
        "output",
        "Keep the run, raw samples and all, in this new file.",
        GRIDS,
        short="-o",
        kind="path",
        metavar="RUN",
        panel=OUTPUT,
    ),
    Option(
        "run",
        "A run's file. Default: the newest in results/.",
        ("report", "plot"),
        kind="path",
        metavar="RUN",
        argument=True,
    ),
    Option(
        "where",
        "Only the cases for which this holds, over columns of the CSV, as in \"status == 'ok' "
        'and relative < 1".',
        ("report", "plot"),
        metavar="CONDITION",
        panel=SELECTION,
    ),
    Option(
        "sort",
        "Order by columns of the CSV; a minus before a name means descending.",
        ("report",),
        metavar="[-]NAME[,...]",
        panel=SELECTION,
    ),
    Option(
        "rows",
        "What a line of the pivot shares: columns of the CSV, size (HxW), shape or N (H*W). "
        "Default: whatever varies beside --columns.",
        ("report",),
        metavar="NAME[,NAME]",
        panel=PIVOT,
    ),
    Option(
        "columns",
        "What a column of the pivot shares. Default: block, with its ratio; or what varies.",
        ("report",),
        metavar="NAME",
        panel=PIVOT,
    ),
    Option(
        "value",
        "The column to show. Default: relative; where nothing is, latency_us, else macs.",
        ("report",),
        metavar="NAME",
        panel=PIVOT,
    ),
    Option(
        "output",
        "Write the result here instead of on stdout.",
        ("report", "compare", "count", "paper", "blocks", "check", "peaks", "env"),
        short="-o",
        also=("--write",),
        kind="path",
        metavar="FILE",
        panel=OUTPUT,
    ),
    # where -o is another file
    Option(
        "write",
        "Write the result here instead of on stdout.",
        (*GRIDS, "attention"),
        kind="path",
        metavar="FILE",
        panel=OUTPUT,
        guard=True,
    ),
    _flag(
        "verbose",
        (*TIMED, "attention", "report", "compare"),
        "All notes below tables; of bench, network and report also each row's samples.",
        short="-v",
        panel=OUTPUT,
        variable=True,
        guard=True,
        excludes=("quiet",),
    ),
    _flag(
        "quiet",
        (*TIMED, "attention", "report", "compare"),
        "No notes below tables.",
        short="-q",
        panel=OUTPUT,
        variable=True,
        guard=True,
        excludes=("verbose",),
    ),
    _flag(
        "strict",
        ("bench", "network"),
        "Exit 5 where a verdict is untrusted.",
        panel=OUTPUT,
        variable=True,
    ),
    _flag("json", ("check", "peaks", "env"), "The same as --format json.", panel=OUTPUT),
    _flag(
        "traceback",
        (
            *(*ON_DEVICES, "count", "export", "blocks", "env"),
            *("report", "compare", "plot"),
        ),
        "Show where an error came from.",
        variable=True,
        guard=True,
    ),
)
KEYS = {option.name: option for option in OPTIONS if option.has_key}


def of(command: str) -> list[Option]:
    """The options that a command takes, of those in the table."""
    return [option for option in OPTIONS if command in option.commands]


def like(name: str, **changes: Any) -> Option:
    """An option of a plan as one command has it: with other help, say. It is that command's own."""
    return replace(KEYS[name], commands=(), **changes)


def format_of(names: Sequence[str]) -> Option:
    """The option that chooses among formats."""
    return Option(
        "format",
        "How the result is written.",
        metavar="|".join(names),
        panel=OUTPUT,
        usual="table",
        guard=True,
    )
