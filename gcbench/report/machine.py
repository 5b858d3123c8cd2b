"""A machine and its software, as a manifest has them."""

from gcbench import store
from gcbench.records import Manifest
from gcbench.report.document import Document, Layout


def document(manifest: Manifest) -> Document:
    """A line and a row for each field that is known, and the manifest as an object."""
    known = list(store.lines_of(manifest))
    return Document(
        title=manifest.run,
        sections=lambda detail: [Layout((), ("field", "value"), 2, known, bare=True)],
        rows=lambda: [{"field": name, "value": text} for name, text in known],
        columns=("field", "value"),
        whole=manifest,
    )
