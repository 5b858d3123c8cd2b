"""From values to pixels and back, and where an axis has its ticks: numbers alone, no drawing."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

# more powers of the base than this have ticks at those alone
_FEW_POWERS = {10: 2.2, 2: 3.0}
_STEPS = {10: ((1, 2, 5), (1, 1.5, 2, 3, 5, 7)), 2: ((1, 1.5), (1, 1.25, 1.5, 1.75))}
_MOST_TICKS = 8


@dataclass(frozen=True)
class Scale:
    """An axis of so many pixels, from `lo` at 0 to `hi` at the far end."""

    lo: float
    hi: float
    pixels: float
    log: bool = True

    def pixel(self, value: float) -> float:
        """How far a value is from the low end.

        >>> Scale(1, 100, 200).pixel(10)
        100.0
        """
        lo, hi, here = (self._flat(each) for each in (self.lo, self.hi, value))
        return self.pixels * (here - lo) / (hi - lo)

    def value(self, pixel: float) -> float:
        """What is so many pixels from the low end, also before it and behind the far end.

        >>> round(Scale(1, 100, 200).value(300), 6)
        1000.0
        """
        lo, hi = self._flat(self.lo), self._flat(self.hi)
        flat = lo + (hi - lo) * pixel / self.pixels
        return 10.0**flat if self.log else flat

    def _flat(self, value: float) -> float:
        return math.log10(value) if self.log else value


def around(
    values: Iterable[float], pixels: float, log: bool = True, margin: float = 12, least: float = 2.0
) -> Scale:
    """A scale that holds all values, with so many pixels free at both ends.

    On a log scale it spans a factor of `least` at least, so that noise does not fill the picture.
    """
    known = list(values)
    lo, hi = min(known), max(known)
    if log:
        grown = math.sqrt(max(1.0, least * lo / hi))
        lo, hi = lo / grown, hi * grown
    elif lo == hi:
        lo, hi = lo - 1, hi + 1
    inner = Scale(lo, hi, pixels - 2 * margin, log)
    return Scale(inner.value(-margin), inner.value(pixels - margin), pixels, log)


def round_ticks(scale: Scale, base: int = 10) -> list[float]:
    """Round values within a scale, at most eight or so: in steps of 1, 2 and 5, or powers of two.

    >>> round_ticks(Scale(3, 4000, 100)), round_ticks(Scale(0, 9, 100, log=False))
    ([10.0, 100.0, 1000.0], [0.0, 2.0, 4.0, 6.0, 8.0])
    >>> round_ticks(Scale(2**20, 2**23, 100), base=2)
    [1048576.0, 1572864.0, 2097152.0, 3145728.0, 4194304.0, 6291456.0, 8388608.0]
    """
    if not scale.log:
        return _linear_ticks(scale, base)
    if math.log(scale.hi / scale.lo, base) > _FEW_POWERS[base]:
        return _powers(scale, base)
    for steps in _STEPS[base]:
        ticks = [each for each in _steps(scale, base, steps) if scale.lo <= each <= scale.hi]
        if len(ticks) >= 3:
            return ticks
    return _linear_ticks(scale, base)


def _steps(scale: Scale, base: int, steps: Sequence[float]) -> Iterator[float]:
    first, last = (math.floor(math.log(end, base)) for end in (scale.lo, scale.hi))
    for power in range(first, last + 1):
        # 1e-3 is written as such: 10.0**-3 is not the nearest number
        yield from (float(f"{step}e{power}") if base == 10 else step * 2.0**power for step in steps)


def _powers(scale: Scale, base: int) -> list[float]:
    first = math.ceil(math.log(scale.lo, base) - 1e-9)
    last = math.floor(math.log(scale.hi, base) + 1e-9)
    step = math.ceil((last - first + 1) / _MOST_TICKS)
    # the same powers whatever the first is
    return [float(base) ** power for power in range(first, last + 1) if power % step == 0]


def _linear_ticks(scale: Scale, base: int) -> list[float]:
    rough = (scale.hi - scale.lo) / 5
    unit = float(base) ** math.floor(math.log(rough, base))
    step = unit * next((each for each in (1, 2, 5, 10) if each * unit >= rough), 10)
    first, last = math.ceil(scale.lo / step - 1e-9), math.floor(scale.hi / step + 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def texts(ticks: Sequence[float], text: Callable[[float], str]) -> list[tuple[float, str]]:
    """Each tick with what stands at it."""
    return [(tick, text(tick)) for tick in ticks]
