"""Where words go, so that they neither overlap nor leave the picture: numbers alone, no drawing.

Lengths are in pixels, y downwards.
"""

import math
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

# advance widths of Arial and its kin in em, as upper bounds of groups of letters
_WIDTHS = {
    **dict.fromkeys("ijl'|", 0.26),
    **dict.fromkeys(" !,./:;I[]\\ft·", 0.29),
    **dict.fromkeys("()-r`{}", 0.34),
    **dict.fromkeys('*^"', 0.47),
    **dict.fromkeys("Jckvxyzs", 0.5),
    **dict.fromkeys("FTZL", 0.62),
    **dict.fromkeys("ABEKPSVXY&", 0.67),
    **dict.fromkeys("CDHNRUwGOQ", 0.78),
    **dict.fromkeys("mMW%@…", 1.02),
}
_OTHER = 0.59
# DejaVu Sans and Verdana, which stand in where there is no Arial, are so much wider
_WIDER = 1.15
LINE_HEIGHT = 1.3


class Box(NamedTuple):
    """A rectangle; y grows downwards."""

    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: "Box") -> bool:
        """Whether two boxes share more than an edge."""
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )

    def nearest(self, place: tuple[float, float]) -> tuple[float, float]:
        """The place in the box that is nearest to another."""
        x, y = place
        return min(max(x, self.left), self.right), min(max(y, self.top), self.bottom)

    def within(self, other: "Box") -> bool:
        """Whether no part of this box is outside the other."""
        return (
            self.left >= other.left
            and self.top >= other.top
            and self.right <= other.right
            and self.bottom <= other.bottom
        )


def text_width(text: str, size: float) -> float:
    """The most that a text takes in a common sans-serif font of so many pixels.

    >>> text_width("nl", 12) < text_width("snl", 12) < text_width("WWW", 12)
    True
    """
    return size * _WIDER * sum(_letter_width(letter) for letter in text)


def least_width(width: float) -> float:
    """What of a width, as `text_width` has it, is taken in any font."""
    return 0.78 * width


def _letter_width(letter: str) -> float:
    if unicodedata.east_asian_width(letter) in "WF":
        return 1.0
    if letter in _WIDTHS or letter.isascii():
        return _WIDTHS.get(letter, _OTHER)
    return 0.0 if unicodedata.combining(letter) else 0.8


def shortened(text: str, size: float, width: float) -> str:
    """A text that is no wider than so many pixels: its middle left out where it is.

    >>> shortened("gc r16", 12, 100), shortened("a_very_long_module:WithALongName", 12, 120)
    ('gc r16', 'a_very…ngName')
    """
    kept = len(text)
    short = text
    while text_width(short, size) > width and kept > 2:
        kept -= 1
        head = (kept + 1) // 2
        short = f"{text[:head]}…{text[len(text) - kept // 2 :]}"
    return short


def distinct(texts: Sequence[str], size: float, width: float) -> list[str]:
    """Shorten texts to a width; those that would then be alike get numbers.

    >>> distinct(["gc", "se"], 12, 80), distinct([f"a_long_{n}_long_name" for n in "xy"], 12, 90)
    (['gc', 'se'], ['a_l…ame~1', 'a_l…ame~2'])
    """
    short = [shortened(text, size, width) for text in texts]
    alike = Counter(short)
    room = width - text_width("~99", size)
    seen: Counter[str] = Counter()
    made = []
    for text, word in zip(texts, short, strict=True):
        if alike[word] > 1:
            seen[word] += 1
            word = f"{shortened(text, size, room)}~{seen[word]}"
        made.append(word)
    return made


def wrapped(text: str, size: float, width: float) -> Iterator[str]:
    """Break a text into lines of at most so many pixels, between words where that can be.

    >>> list(wrapped("one two three", 10, 45))
    ['one two', 'three']
    """
    line = ""
    for word in _cut(text, size, width):
        joined = f"{line} {word}" if line else word
        if line and text_width(joined, size) > width:
            yield line
            joined = word
        line = joined
    if line:
        yield line


def _cut(text: str, size: float, width: float) -> Iterator[str]:
    """The words of a text, those that are wider than a line in pieces."""
    for word in text.split():
        piece = ""
        for letter in word:
            if piece and text_width(piece + letter, size) > width:
                yield piece
                piece = ""
            piece += letter
        yield piece


def spread(wanted: Sequence[float], gap: float, lo: float, hi: float) -> list[float]:
    """Move places as little as possible so that they are `gap` apart and within `lo` to `hi`.

    The order of the wanted places is kept; alike ones keep the order given. The sum of squared
    moves is the least that there is: without the gaps this is an isotonic regression, solved by
    pooling neighbours (Barlow et al. 1972), and bounds clip it. Where there is too little room the
    gap is what the room gives.

    >>> spread([10.0, 11.0, 50.0], 10, 0, 100)
    [5.5, 15.5, 50.0]
    """
    if not wanted:
        return []
    gap = min(gap, (hi - lo) / max(1, len(wanted) - 1))
    order = sorted(range(len(wanted)), key=lambda each: wanted[each])
    pools: list[tuple[float, int]] = []
    for rank, each in enumerate(order):
        mean, number = wanted[each] - rank * gap, 1
        while pools and pools[-1][0] > mean:
            before, many = pools.pop()
            mean, number = (before * many + mean * number) / (many + number), many + number
        pools.append((mean, number))
    last = hi - (len(wanted) - 1) * gap
    flat = [min(max(mean, lo), last) for mean, number in pools for _ in range(number)]
    placed = [0.0] * len(wanted)
    for rank, (each, place) in enumerate(zip(order, flat, strict=True)):
        placed[each] = place + rank * gap
    return placed


def thinned(places: Sequence[float], widths: Sequence[float], gap: float) -> list[int]:
    """Choose which of the labels centred along a line are written, so that none meets another.

    The last is always among them, then from the first on what has room.

    >>> thinned([0, 10, 20, 95, 100], [8, 8, 8, 8, 8], 4)
    [0, 2, 4]
    """
    if not places:
        return []
    spans = [
        (place - width / 2, place + width / 2) for place, width in zip(places, widths, strict=True)
    ]
    end, kept = spans[-1], []
    free = -math.inf
    for number, (left, right) in enumerate(spans[:-1]):
        if left >= free and right + gap <= end[0]:
            kept.append(number)
            free = right + gap
    return [*kept, len(places) - 1]


def beside(
    points: Sequence[tuple[float, float]],
    widths: Sequence[float],
    height: float,
    room: Box,
    taken: Sequence[Box] = (),
    words: Sequence[Box] = (),
    away: float = 8,
) -> list[Box]:
    """Give each point a box of its width beside it, clear of other words and of what is taken.

    Tried in turn: rings around the point, near ones first, to the right first. Where nothing is
    clear, the place is taken that meets the fewest other boxes, then the lines that lead to them
    from their points, and then the least of `taken`.
    """
    placed = list(words)
    leaders: list[Box] = []

    def cost(box: Box, point: tuple[float, float]) -> tuple[int, int, int]:
        crossed = sum(_met(each, placed) for each in stroked([point, box.nearest(point)]))
        return _met(box, placed), _met(box, leaders) + crossed, _met(box, taken)

    for point, width in zip(points, widths, strict=True):
        around = [box for box in _around(*point, width, height, away) if box.within(room)]
        # where the point is far outside there is no box around it
        boxes = around or [Box(room.right - width, room.top, room.right, room.top + height)]
        placed.append(min(boxes, key=lambda box: cost(box, point)))
        leaders += stroked([point, placed[-1].nearest(point)])
    return placed[len(words) :]


def stroked(places: Sequence[tuple[float, float]], half: float = 1) -> Iterator[Box]:
    """Small boxes that cover the points of a line and the way between them."""
    yield from (Box(x - half, y - half, x + half, y + half) for x, y in places)
    for start, end in pairwise(places):
        steps = math.ceil(math.dist(start, end) / 6)
        for share in (step / steps for step in range(1, steps)):
            x, y = (a + share * (b - a) for a, b in zip(start, end, strict=True))
            yield Box(x - 1, y - 1, x + 1, y + 1)


def _met(box: Box, others: Sequence[Box]) -> int:
    return sum(box.overlaps(other) for other in others)


def _around(x: float, y: float, width: float, height: float, away: float) -> Iterator[Box]:
    """Boxes around a point, from near to far; min() takes the first of those that are alike."""
    for ring in range(30):
        far = away + ring * height / 2
        for step in range(16):
            turn = step / 16 * math.tau
            middle = x + math.cos(turn) * (far + width / 2), y - math.sin(turn) * (far + height / 2)
            yield Box(
                middle[0] - width / 2,
                middle[1] - height / 2,
                middle[0] + width / 2,
                middle[1] + height / 2,
            )
