"""Plans of a command: read, checked as far as that needs no torch, and written as a file."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from gcbench.cli import faults
from gcbench.cli.output import is_stdout, require_writable, write_whole
from gcbench.errors import UsageError, quoted
from gcbench.options import config
from gcbench.options.defaults import Said
from gcbench.records import Cell, Run
from gcbench.registry import is_file
from gcbench.report.text import pasted
from gcbench.spec.cases import Axes, Comparison, Effort
from gcbench.spec.grid import Sweep

if TYPE_CHECKING:
    from gcbench.engines.jobs import Engine


def checked(asked: Sweep) -> Sweep:
    """Put its blocks in the place of every group. Raises UsageError where one is unknown."""
    from gcbench.blocks import groups, require_known

    asked = replace(asked, blocks=tuple(groups.expanded(asked.blocks)))
    for text in asked.blocks:
        require_known(text)
    return asked


def places(asked: Sweep) -> list[Axes]:
    """Where to measure, one after the other: each device at each number of threads."""
    devices: tuple[str | None, ...] = asked.device or (None,)
    return [
        Axes(device=device, threads=threads) for device, threads in product(devices, asked.threads)
    ]


def cells(axes: Axes) -> dict[str, Cell]:
    """What tells a place from others; None is what the machine has by itself."""
    return {"device": axes.device, "threads": axes.threads}


def dump(asked: Sweep, file: Path, command: str) -> None:
    """Write a plan as TOML, and say which line measures it. Raises UsageError."""
    require_writable("--dump-file", file)
    write_whole(file, config.to_toml(asked))
    if not is_stdout(file):
        named = pasted(file)
        faults.info(f"wrote {named}; measure it with: gcbench {command} --file {named}")


def timed(
    asked: Sweep,
    comparisons: Sequence[Comparison],
    effort: Effort,
    engine: "Engine",
    *,
    wait: bool,
    profile: bool,
) -> Run:
    """Time the comparisons of a plan below a live table; see `engines.run`.

    Where a person interrupts it, what was timed until then is kept. Raises as that.
    """
    from gcbench import engines
    from gcbench.cli.live import live_table

    each = f" each of {len(comparisons)} comparisons" if len(comparisons) > 1 else ""
    faults.info(f"trying each, then timing{each} for up to {effort.max_time_s:g} s")
    with live_table(effort.precision) as live:
        run = engines.run(
            comparisons,
            effort,
            asked.seed,
            asked.counter,
            live.move,
            engine=engine,
            timeout_s=asked.timeout_s,
            wait=wait,
            tell=live.tell,
            profile=profile,
            rivals_only=True,
            partial=True,
            standings=live.moves,
            allow_nondeterministic=asked.allow_nondeterministic,
        )
    faults.warn(run.manifest.warnings)
    return run


def with_origins(run: Run, asked: Sweep) -> Run:
    """Say in a run where the values of its plan came from."""
    return replace(run, manifest=replace(run.manifest, origins=asked.origins))


def resumed(run: Path, said: Said) -> Sweep:
    """Make the plan that a run was made by. Raises UsageError or RunError."""
    from gcbench import store

    begun = store.manifest(run)
    if begun.sweep is None:
        raise UsageError(f"--resume {run}: that run was not made by gcbench sweep")
    again = {name: given for name, given in said.line.items() if said.options[name].field}
    asked = config.make(config.from_toml(begun.sweep, str(run)) | again)
    # runs that say nothing of it were made before there was a choice
    return replace(asked, heap=asked.heap or begun.heap)


def require_alone(said: Said) -> None:
    """Make sure that nothing is said of a plan that is gone on with. Raises UsageError."""
    refused = [said.options[name].place for name in said.line if not said.options[name].guard]
    if refused:
        taken = [
            option.place
            for option in said.options.values()
            if option.guard and option.name != "resume"
        ]
        raise UsageError(
            f"--resume goes on with the sweep as the run has it: leave out {' and '.join(refused)} "
            f"(it takes {', '.join(taken[:-1])} and {taken[-1]})"
        )


def read_cluster(asked: Sweep, said: Said, allow_mismatch: bool) -> str | None:
    """Read the address of a cluster, where the engine has one.

    It is not part of a sweep: it belongs to where one sits today. Raises UsageError where what is
    said of a cluster does not go with the engine.
    """
    spread = asked.engine == "ray"
    by_file = next((each for each in asked.blocks if is_file(each.partition(":")[0])), None)
    if spread and by_file:
        raise UsageError(
            f"--engine ray ships modules to its nodes, and block {quoted(by_file)} is a file: "
            "name it MODULE:CLASS"
        )
    if "ray_address" in said.line and not spread:
        raise UsageError("--ray-address goes with --engine ray")
    if allow_mismatch and not ("resume" in said or spread):
        raise UsageError("--allow-mismatch goes with --resume RUN, or with --engine ray")
    return said.value("ray_address") if spread else None
