"""Runs on disk: the only package that knows what one looks like.

A run is a text file of JSON lines: the manifest, then one line for each finished comparison, raw
samples and all. Lines are only ever added. `docs/runs.md` has the format and its rules.
"""

from gcbench.store.format import Log, encoded
from gcbench.store.manifest import lines_of, mismatches
from gcbench.store.names import newest, path_in
from gcbench.store.read import (
    Stored,
    chosen,
    load,
    manifest,
    open_run,
    records,
    shortages,
    statuses,
)
from gcbench.store.write import RunFile, create, resume, save

__all__ = [
    "Log",
    "RunFile",
    "Stored",
    "chosen",
    "create",
    "encoded",
    "lines_of",
    "load",
    "manifest",
    "mismatches",
    "newest",
    "open_run",
    "path_in",
    "records",
    "resume",
    "save",
    "shortages",
    "statuses",
]
