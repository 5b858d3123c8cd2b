"""What is asked of `gcbench attention`, as far as that is known before torch is loaded."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gcbench.attention.images import Photo
from gcbench.attention.queries import Chooser
from gcbench.spec import Axes


@dataclass(frozen=True)
class Asked:
    """What is to be measured: `axes` has the device and the threads."""

    model: str
    inserts: tuple[str, ...]
    block: str | None
    photos: Sequence[Photo]
    weights: Path | None
    size: tuple[int, int]
    axes: Axes
    seed: int
    queries: Chooser | None = None
