"""In which order the arms of a group take their turns."""

import random


def balanced_rounds(arms: int, count: int, rng: random.Random) -> list[list[int]]:
    """Draw `count` rounds, each a permutation of range(arms), balanced for who follows whom.

    Rounds are the rows of Williams squares, in which every arm follows every other equally often,
    with arms and rows shuffled anew for each square. Williams, Australian Journal of Scientific
    Research A 2, 1949.

    >>> balanced_rounds(3, 2, random.Random(0))
    [[1, 2, 0], [2, 1, 0]]
    """
    rounds: list[list[int]] = []
    while len(rounds) < count:
        labels = rng.sample(range(arms), arms)
        rows = [[labels[place] for place in row] for row in _williams_square(arms)]
        rng.shuffle(rows)
        rounds.extend(rows)
    return rounds[:count]


def _williams_square(arms: int) -> list[list[int]]:
    # 0, 1, n-1, 2, n-2, ...: neighbours differ by every distance once
    first = [(place + 1) // 2 if place % 2 else -(place // 2) for place in range(arms)]
    rows = [[(step + place) % arms for place in first] for step in range(arms)]
    # an odd number needs the mirror images too
    return rows + [row[::-1] for row in rows] if arms % 2 else rows
