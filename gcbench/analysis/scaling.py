"""How MACs and latency grow with the positions or the channels of the input, block by block."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby
from typing import Any, Literal

from gcbench.analysis.points import (
    VARIABLES,
    Context,
    Line,
    Point,
    Variable,
    context_json,
    lines,
    span_text,
)
from gcbench.analysis.power_law import Law, exact_law, local_exponents, measured_law, polynomial
from gcbench.units import factor_text

# fewer values of a variable show no growth, only a step
FEWEST = 3
MOST_BLOCKS = 6
# from this half-width of its interval on an exponent has one digit behind the point
WIDE = 0.2
# and from this on, no exponent at all
UNTOLD = 1.0

Quantity = Literal["macs", "latency_us"]


@dataclass(frozen=True, slots=True)
class Growth:
    """How one quantity of one block grows with a variable, all other axes alike.

    `at` are the values that there are, ascending; `law` is None where no power law holds over
    enough of them; `formula` are the coefficients of a polynomial that MACs follow exactly, lowest
    first; `local` the exponents between neighbours.
    """

    quantity: Quantity
    label: str
    variable: Variable
    context: Context
    at: tuple[str, ...]
    law: Law | None
    formula: tuple[Fraction, ...] | None
    local: tuple[float, ...]

    @property
    def over(self) -> tuple[str, str]:
        """The ends of the range over which the law holds."""
        return self.at[self.law.start if self.law else 0], self.at[-1]

    @property
    def left_out(self) -> tuple[str, ...]:
        """The values below that range."""
        return self.at[: self.law.start] if self.law else self.at

    def as_json(self) -> dict[str, Any]:
        """Everything as an object."""
        law, letter = self.law, self.variable.letter
        return {
            "quantity": self.quantity,
            "block": self.label,
            "variable": letter,
            "axes": context_json(self.context),
            "exponent": law and law.exponent,
            "exponent_lo": law and law.lo,
            "exponent_hi": law and law.hi,
            "from": law and self.over[0],
            "to": law and self.over[1],
            "left_out": self.left_out,
            "left_out_excess": law.excess if law else (),
            "why_left_out": _why(self) or None,
            "at": self.at,
            "local_exponents": self.local,
            "formula": self.formula and formula_text(self.formula, letter),
            "degree": self.formula and len(self.formula) - 1,
        }


def growths(points: Sequence[Point]) -> list[Growth]:
    """Every growth that the points show: along each variable, of each block, MACs first."""
    return [
        growth
        for variable in VARIABLES
        for line in lines(points, variable)
        for growth in (_of_macs(line), _of_latency(line))
        if growth
    ]


def sentences(found: Sequence[Growth]) -> Iterator[str]:
    """Say it in a line for each block, `MOST_BLOCKS` at most, behind a line of what is meant."""
    for variable in VARIABLES:
        mine = [growth for growth in found if growth.variable is variable]
        labels = list(dict.fromkeys(growth.label for growth in mine))
        if not mine:
            continue
        timed = any(growth.quantity == "latency_us" for growth in mine)
        yield (
            f"growth with {variable.meaning}, as the exponent of a power law over the upper range "
            f"where one holds{' (95 % interval)' if timed else ''}:"
        )
        for label in labels[:MOST_BLOCKS]:
            yield f"{label}: {_of_block([each for each in mine if each.label == label])}"
        if len(labels) > MOST_BLOCKS:
            yield f"and {len(labels) - MOST_BLOCKS} more blocks: --format json has them"


def formula_text(coefficients: Sequence[Fraction], letter: str) -> str:
    """Write a polynomial, the highest power first.

    >>> formula_text([Fraction(0), Fraction(131072), Fraction(256)], "N")
    '256 N^2 + 131,072 N'
    >>> formula_text([Fraction(-6272), Fraction(1, 8)], "C"), formula_text([Fraction(0)], "C")
    ('0.125 C - 6,272', '0')
    """
    terms = [
        (" - " if each < 0 else " + ") + " ".join([_coefficient(abs(each)), *_power(letter, power)])
        for power, each in enumerate(coefficients)
        if each
    ]
    text = "".join(reversed(terms))
    return (f"-{text[3:]}" if text.startswith(" - ") else text[3:]) or "0"


def _coefficient(number: Fraction) -> str:
    if number.denominator == 1:
        return f"{number.numerator:,}"
    shown = f"{float(number):.6g}"
    return shown if Fraction(shown) == number else f"{number}"


def _power(letter: str, power: int) -> list[str]:
    return [] if power == 0 else [letter if power == 1 else f"{letter}^{power}"]


def _distinct(line: Line, points: Iterable[Point]) -> list[Point]:
    """The first point at each value of the variable; none where there are too few values."""
    found = [next(same) for _, same in groupby(points, line.variable.of)]
    return found if len(found) >= FEWEST else []


def _of_macs(line: Line) -> Growth | None:
    points = _distinct(line, (point for point in line.points if point.macs))
    if not points:
        return None
    x, y = [line.variable.of(p) for p in points], [p.macs or 0 for p in points]
    return _grown("macs", line, points, exact_law(x, y), polynomial(x, y), local_exponents(x, y))


def _of_latency(line: Line) -> Growth | None:
    points = _distinct(line, (point for point in line.points if point.latency_us))
    if not points:
        return None
    x, y = [line.variable.of(p) for p in points], [p.latency_us or 0.0 for p in points]
    law = measured_law(x, y, [point.error for point in points])
    return _grown("latency_us", line, points, law, None, local_exponents(x, y))


def _grown(
    quantity: Quantity,
    line: Line,
    points: Sequence[Point],
    law: Law | None,
    formula: tuple[Fraction, ...] | None,
    local: Sequence[float],
) -> Growth:
    at = tuple(line.variable.at(point) for point in points)
    return Growth(quantity, line.label, line.variable, line.context, at, law, formula, tuple(local))


def _of_block(mine: Sequence[Growth]) -> str:
    """What there is to say of one block: its MACs, then its latency."""
    parts = []
    for quantity, one, many in (
        ("macs", _macs_text, "MACs grow"),
        ("latency_us", _latency_text, "latency grows"),
    ):
        same = [growth for growth in mine if growth.quantity == quantity]
        if same and (len(same) == 1 or _is_one(same)):
            parts.append(one(same[0]))
        elif same:
            parts.append(f"{many} {_span(same)}")
    return "; ".join(parts)


def _is_one(same: Sequence[Growth]) -> bool:
    """Whether all series follow one formula, or are all constant, so that one stands for all."""
    formulas = {growth.formula for growth in same}
    constant = all(formula and len(formula) == 1 for formula in formulas)
    alike = len(formulas) == len({growth.at for growth in same}) == 1
    return constant or (alike and None not in formulas)


def _span(same: Sequence[Growth]) -> str:
    """The exponents of several lines of one block, which differ in other axes."""
    letter = same[0].variable.letter
    known = sorted(growth.law.exponent for growth in same if growth.law)
    if not known:
        return f"by no power law in any of {len(same)} series"
    ends = dict.fromkeys(_exact_text(each) for each in (known[0], known[-1]))
    where = f"{len(same)} series, each in --format json"
    lost = len(same) - len(known)
    return (
        f"as {' to '.join(f'{letter}^{each}' for each in ends)} "
        f"({where}{f'; no power law in {lost}' if lost else ''})"
    )


def _macs_text(growth: Growth) -> str:
    letter, law, formula = growth.variable.letter, growth.law, growth.formula
    if law is None:
        return ""
    exactly = f", exactly {formula_text(formula, letter)}" if formula else ""
    if formula and len(formula) == 1:
        return f"MACs do not depend on {letter}"
    why = "" if formula else _why(growth)
    over = span_text(*growth.over)
    told = f"MACs grow as {letter}^{_exact_text(law.exponent)} from {over}{exactly}"
    return f"{told}; {why}" if why else told


def _latency_text(growth: Growth) -> str:
    law = growth.law
    if law is None:
        low, high = min(growth.local), max(growth.local)
        return (
            "latency follows no power law: between neighbours the exponent is "
            f"{_exact_text(low, 1)} to {_exact_text(high, 1)}"
        )
    over = span_text(*growth.over)
    if law.lo is not None and law.hi is not None and law.hi - law.lo >= 2 * UNTOLD:
        return f"latency tells no exponent from {over}: any from {law.lo:.1f} to {law.hi:.1f} fits"
    told = f"latency grows as {growth.variable.letter}^{_law_text(law)} from {over}"
    why = _why(growth)
    return f"{told}; {why}" if why else told


def _why(growth: Growth) -> str:
    """Which values were left out of a law, and by how much they miss it."""
    if not growth.law or not growth.left_out:
        return ""
    first, last, excess = growth.left_out[0], growth.left_out[-1], growth.law.excess
    named = first if first == last else span_text(first, last)
    low, high = (factor_text(end) for end in (min(excess), max(excess)))
    times = high if low == high else f"{low} to {high}"
    if growth.quantity == "macs":
        return f"{named} left out: {times} times the MACs of that law, since other terms count"
    cause = ", so mostly overhead" if min(excess) > 1 and _is_flat(growth) else ""
    return f"{named} left out: {times} times what that law says{cause}"


def _is_flat(growth: Growth) -> bool:
    """Whether latency grows less than half as fast over what was left out as over the rest."""
    law = growth.law
    return law is not None and max(growth.local[: law.start]) < law.exponent / 2


def _law_text(law: Law) -> str:
    """The exponent and its interval, in tenths where that is wide; the ends rounded outwards."""
    if law.lo is None or law.hi is None:
        return f"{_exact_text(law.exponent)} (no interval)"
    digits = 2 if law.hi - law.lo < 2 * WIDE else 1
    scale = 10**digits
    lo, hi = math.floor(law.lo * scale) / scale, math.ceil(law.hi * scale) / scale
    return f"{_exact_text(law.exponent, digits)} ({lo:.{digits}f} to {hi:.{digits}f})"


def _exact_text(exponent: float, digits: int = 2) -> str:
    # adding nothing makes a negative zero a positive one
    return f"{round(exponent, digits) + 0.0:.{digits}f}"
