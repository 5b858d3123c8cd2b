"""One call of an attention block, so that its rows can be computed again, a few at a time."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

Grid = tuple[int, int]


@dataclass(frozen=True)
class Call:
    """What went into a block for one image, what it added, and how its rows come from its weights.

    `inputs` and `added` are (N, C): x_i and z_i - x_i. `rows` gives (heads, n, K) for the positions
    of n queries. `replay` takes these rows and positions and gives what the block adds there,
    (n, C), so that rows computed anew can be held against what the block did; None where the block
    itself is asked for its rows. A grid is None where
    positions are no map of H x W. Where `added` was `subtracted` it lost the digits of x.
    """

    inputs: "Tensor"
    added: "Tensor"
    keys: int
    heads: int
    rows: "Callable[[Tensor], Tensor]"
    replay: "Callable[[Tensor, Tensor], Tensor] | None"
    query_grid: Grid | None
    key_grid: Grid | None
    subtracted: bool = True

    @property
    def queries(self) -> int:
        """N."""
        return self.inputs.shape[0]
