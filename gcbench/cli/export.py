"""`gcbench export`: the artefact that another runtime is measured with, as a file."""

import sys
from contextlib import redirect_stdout
from pathlib import Path

from gcbench.cli import faults
from gcbench.cli.taking import takes
from gcbench.errors import UsageError, quoted
from gcbench.options import AXES, OUTPUT, Option
from gcbench.options.defaults import Said
from gcbench.options.readers import one, parse_shapes
from gcbench.options.table import completed
from gcbench.runtime import RUNTIMES, require_installed
from gcbench.spec.cases import Axes

SUFFIXES = {entry.suffix: entry.name for entry in RUNTIMES if entry.suffix}

BLOCK = Option(
    "block",
    "A block spec, TARGET[:key=value]..., such as gc:ratio=8 or my.module:MyBlock.",
    metavar="BLOCK",
    argument=True,
    required=True,
    completed=completed,
)
SHAPE = Option(
    "shape",
    "The input that it is exported for. Default: 1x256x56x56.",
    metavar="BxCxHxW",
    panel=AXES,
    read=one(lambda place, text: parse_shapes(place, text)[0]),
)
FILE = Option(
    "output",
    f"The file to write: {', '.join(f'{suffix} for {name}' for suffix, name in SUFFIXES.items())}.",
    short="-o",
    kind="path",
    metavar="FILE",
    panel=OUTPUT,
)


@takes("export", BLOCK, SHAPE, FILE)
def export(
    said: Said, block: str, shape: tuple[int, int, int, int] | None, output: Path | None
) -> None:
    """Export a block to a file for another runtime, as it is measured there."""
    from gcbench.cli.output import print_lines, require_writable, write_and_say

    known = ", ".join(SUFFIXES)
    if output is None or output.suffix not in SUFFIXES:
        came = "" if output is None else f", not {quoted(str(output))}"
        raise UsageError(f"--output takes a file that ends in {known}{came}")
    runtime = SUFFIXES[output.suffix]
    require_installed(f"--output {output}:", runtime)
    for suffix in (output.suffix, *RUNTIMES[runtime].beside):
        require_writable("--output", output.with_suffix(suffix))
    asked = said.plan()
    for name, values in (("ratio", asked.ratio), ("dtype", asked.dtype)):
        if len(values) > 1:
            raise UsageError(f"--{name} takes one value in export, where a file holds one case")
    batch, channels, height, width = shape or (1, 256, 56, 56)
    [ratio], [dtype] = asked.ratio, asked.dtype
    axes = Axes(batch, channels, (height, width), ratio, dtype, "cpu", runtime=runtime)
    faults.info(f"exporting {block}; loading torch")

    from gcbench import blocks, engines
    from gcbench.engines.exporting import export as exported
    from gcbench.engines.worker_process import CallError

    foreign = not blocks.is_ours(block)
    with redirect_stdout(sys.stderr), engines.opened(foreign, asked.timeout_s) as engine:
        try:
            made = engine.call(exported, block, axes, asked.seed, output)
        except CallError as error:
            raise UsageError(f"{block}: to export it {error.reason}") from error
    for suffix, content in made.files.items():
        write_and_say(output.with_suffix(suffix), content)
    print_lines([f"{made.loading}\n"])
