"""How far vectors lie apart on average over all pairs, in float64, without holding the pairs.

avg_dist = 1/N^2 sum_ij dist(v_i, v_j), with i = j among the pairs. Every function takes leading
dimensions (heads), computes for each by itself, and returns the mean over them.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

# of the interval of what is sampled: 99 %
Z = 2.5758293035489004
# pairs in which rows are compared at a time take this much memory at most
PAIR_BYTES = 2**24


class Estimate(NamedTuple):
    """A mean, and the half-width of its 99 % interval; 0 where every pair was computed."""

    mean: float
    half_width: float = 0.0


class Directions:
    """The mean cosine distance (1 - cos)/2 over all pairs of vectors that come in pieces.

    The mean of all cosines is |sum of unit vectors|^2 / N^2, so that their sum is all that is kept.
    """

    def __init__(self) -> None:
        """Begin without vectors."""
        self.count = self.seen = self.without = 0
        self._sum: Tensor | None = None

    def add(self, vectors: Tensor) -> None:
        """Take vectors (..., n, D) of any real dtype."""
        vectors = vectors.double()
        lengths = vectors.norm(dim=-1, keepdim=True)
        self.without += int((lengths == 0).sum())
        total = (vectors / lengths.masked_fill(lengths == 0, 1.0)).sum(-2)
        self._sum = total if self._sum is None else self._sum + total
        self.count += vectors.shape[-2]
        self.seen += lengths.numel()

    def distance(self) -> float | None:
        """The mean distance, 0 to 1; None where a vector is zero and so has no direction."""
        if self._sum is None or self.without:
            return None
        cosine = self._sum.square().sum(-1) / self.count**2
        return float(((1 - cosine) / 2).clamp(min=0).mean())


class Moments:
    """The share of rows that depends on the query: 1 - |mean row|^2 / mean |row|^2.

    It is 0 where all rows are one, and 1 - 1/N where N rows have no key in common.
    """

    def __init__(self) -> None:
        """Begin without rows."""
        self.count = 0
        self._sum: Tensor | None = None
        self._squares: Tensor | None = None

    def add(self, rows: Tensor) -> None:
        """Take rows (..., n, K)."""
        rows = rows.double()
        total, squares = rows.sum(-2), rows.square().sum((-2, -1))
        self._sum = total if self._sum is None else self._sum + total
        self._squares = squares if self._squares is None else self._squares + squares
        self.count += rows.shape[-2]

    def share(self) -> float | None:
        """The share, 0 to 1; None where all rows are zero."""
        if self._sum is None or self._squares is None or bool((self._squares == 0).any()):
            return None
        kept = self._sum.square().sum(-1) / self.count / self._squares
        return float((1 - kept).clamp(min=0).mean())


def jensen_shannon(rows: Tensor) -> float:
    """The mean Jensen-Shannon divergence in nats over all pairs of rows (..., N, K), exactly.

    A pair's is H((p + q)/2) - (H(p) + H(q))/2, at most ln 2. O(N^2 K) logarithms.
    """
    rows = rows.double()
    *_, count, keys = rows.shape
    heads = rows.reshape(-1, count, keys)
    return math.fsum(_over_all_pairs(head) for head in heads) / len(heads) / count**2


def _over_all_pairs(rows: Tensor) -> float:
    """The sum over all ordered pairs of rows (N, K)."""
    count, keys = rows.shape
    entropies = _entropy(rows)
    step = max(1, PAIR_BYTES // (8 * count * keys))
    sums = []
    for start in range(0, count, step):
        end = min(start + step, count)
        # a pair stands for its mirror too, unless that is in this piece as well
        apart = _entropy((rows[start:end, None] + rows[None, start:]) / 2)
        apart -= (entropies[start:end, None] + entropies[None, start:]) / 2
        # rounding can make it less; what is not finite stays so
        apart.clamp_(min=0)
        own = end - start
        sums.append(float(apart[:, :own].sum() + 2 * apart[:, own:].sum()))
    return math.fsum(sums)


def sampled_jensen_shannon(
    rows_of: Callable[[Tensor], Tensor],
    count: int,
    keys: int,
    pairs: int,
    seed: int,
    heads: int = 1,
) -> Estimate:
    """Estimate what `jensen_shannon` computes from pairs drawn at random, with replacement.

    `rows_of` gives rows (..., n, K), of so many heads, for the positions of n queries among
    `count`. Pairs are drawn from all N^2, so that the mean over them is unbiased, and its interval
    that of a mean of independent values.
    """
    drawn = torch.Generator().manual_seed(seed)
    chosen = torch.randint(count, (2, pairs), generator=drawn)
    step = max(1, PAIR_BYTES // (8 * heads * keys))
    found = []
    for piece in chosen.split(step, dim=1):
        p, q = (rows_of(side).double() for side in piece)
        apart = (_entropy((p + q) / 2) - (_entropy(p) + _entropy(q)) / 2).clamp(min=0)
        found.append(apart.reshape(-1, apart.shape[-1]).mean(0))
    values = torch.cat(found)
    return Estimate(float(values.mean()), Z * float(values.std()) / math.sqrt(pairs))


def _entropy(rows: Tensor) -> Tensor:
    """H of rows (..., K) in nats: (...)."""
    found: Tensor = torch.special.entr(rows).sum(-1)
    return found
