"""The table of runtimes: in what a case can be run.

A runtime is a class in a file of its own under `gcbench/measure/runtimes/`; its line here says what
is to be known of it where neither it nor torch is loaded.
"""

import importlib.util
from dataclasses import dataclass

from gcbench.errors import UsageError
from gcbench.registry import Entry, Registry


@dataclass(frozen=True)
class RuntimeEntry(Entry):
    """A line of the table: the entry, and what its runtime does with a case.

    `verb` is what is told while it tries one. What `fuses` operators moves fewer bytes than they
    do one by one. `foreign` runtimes compute with libraries and threads of their own, so their arms
    live in processes of their own; they need the modules `needs`, which the extra installs.
    What one is exported to is a file with the `suffix`, and `beside` it others of its name.
    """

    verb: str = "trying"
    fuses: bool = False
    foreign: bool = False
    needs: tuple[str, ...] = ()
    extra: str | None = None
    suffix: str | None = None
    beside: tuple[str, ...] = ()

    @property
    def missing(self) -> list[str]:
        """The modules that it needs and that are not installed; none is imported."""
        return [name for name in self.needs if importlib.util.find_spec(name) is None]


RUNTIMES: Registry[RuntimeEntry] = Registry(
    "runtime",
    (
        RuntimeEntry("eager", "gcbench.measure.runtimes.eager:Eager", "called as it is written"),
        RuntimeEntry(
            "compile",
            "gcbench.measure.runtimes.compiled:Compiled",
            "as torch.compile makes it, for one static shape",
            verb="compiling",
            fuses=True,
        ),
        RuntimeEntry(
            "graph",
            "gcbench.measure.runtimes.graph:Graph",
            "recorded once as a CUDA graph, and replayed",
        ),
        RuntimeEntry(
            "onnxruntime",
            "gcbench.measure.runtimes.onnx:OnnxRuntime",
            "exported to ONNX, by ONNX Runtime on the CPU",
            verb="exporting",
            fuses=True,
            foreign=True,
            needs=("onnxruntime", "onnxscript"),
            extra="onnx",
            suffix=".onnx",
        ),
        RuntimeEntry(
            "openvino",
            "gcbench.measure.runtimes.openvino:OpenVino",
            "converted by OpenVINO, on the CPU",
            verb="exporting",
            fuses=True,
            foreign=True,
            needs=("openvino",),
            extra="openvino",
            suffix=".xml",
            beside=(".bin",),
        ),
    ),
)
_BY_NAME = {entry.name: entry for entry in RUNTIMES}
NAMES = tuple(_BY_NAME)


def known(name: str) -> RuntimeEntry:
    """The line of a runtime; that of eager for one that a run names and this version lacks."""
    return _BY_NAME.get(name, _BY_NAME["eager"])


def require_installed(option: str, name: str) -> None:
    """Make sure that what a runtime needs is installed. Raises UsageError, with what installs it.

    The runtime is one of the table.
    """
    entry = RUNTIMES[name]
    if entry.missing:
        raise UsageError(
            f"{option} {name} needs {' and '.join(entry.missing)}: "
            f"pip install 'gcbench[{entry.extra}]'"
        )
