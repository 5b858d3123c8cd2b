"""Numbers to text for people, and back. The only place that scales a unit."""

import math
import re

from gcbench.errors import UsageError, quoted

_COUNT_UNITS = (
    *((1e24, "Y"), (1e21, "Z"), (1e18, "E"), (1e15, "P")),
    *((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")),
)
_TIME_UNITS = ((1e6, "s"), (1e3, "ms"), (1.0, "µs"))
_SIZE_UNITS = (
    *((2**60, "EiB"), (2**50, "PiB"), (2**40, "TiB")),
    *((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")),
)
_SECONDS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_BYTES = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
# what stands where too little was measured for an interval
NO_INTERVAL = "no interval"


def count_text(number: int) -> str:
    """Write a count with three significant digits.

    >>> count_text(1606144), count_text(8464), count_text(97), count_text(2928672768)
    ('1.61 M', '8.46 k', '97', '2.93 G')
    >>> count_text(256 * 10**24), count_text(41 * 10**15)
    ('256 Y', '41.0 P')
    >>> count_text(-636464)
    '-636 k'
    """
    if number < 0:
        return f"-{count_text(-number)}"
    return _scaled(number, _COUNT_UNITS) or str(number)


def counted(number: int, what: str) -> str:
    """Write so many of something.

    >>> counted(1, "case"), counted(1200, "case")
    ('1 case', '1,200 cases')
    """
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def size_text(size_bytes: int) -> str:
    """Write bytes in binary units with three significant digits.

    >>> size_text(39337984), size_text(1000), size_text(256 * 2**30)
    ('37.5 MiB', '1000 B', '256 GiB')
    """
    return _scaled(size_bytes, _SIZE_UNITS) or f"{size_bytes} B"


def latency_text(us: float, lo: float, hi: float) -> str:
    """Write a latency in microseconds with the digits that its interval supports.

    >>> latency_text(412.37, 409.0, 415.0), latency_text(152_345.0, 150_000.0, 154_000.0)
    ('412 µs', '152 ms')
    """
    scale, unit = next((s for s in _TIME_UNITS if us >= s[0]), _TIME_UNITS[-1])
    return f"{number_text(us / scale, lo / scale, hi / scale)} {unit}"


def duration_text(ms: float) -> str:
    """Write a duration in milliseconds that was read once.

    >>> duration_text(812.4), duration_text(2345.6), duration_text(19_630)
    ('812 ms', '2.3 s', '20 s')
    """
    return f"{ms:.0f} ms" if ms < 1000 else f"{factor_text(ms / 1e3)} s"


def number_text(mid: float, lo: float, hi: float) -> str:
    """Write a number with no more digits than its interval supports.

    The last digit kept is that of the first digit of the half-width, one more where that is a 1;
    one digit of the number stays in any case, two without an interval.

    >>> number_text(0.75234, 0.7481, 0.7569), number_text(412.37, 380.0, 440.0)
    ('0.752', '410')
    >>> number_text(3.14159, float("-inf"), float("inf")), number_text(0.4, 0.1, 30.0)
    ('3.1', '0.4')
    """
    return _rounded(mid, _decimals(mid, lo, hi))


def interval_text(mid: float, lo: float, hi: float) -> str:
    """Write an interval to the digits of its middle, an end of it to one digit at least.

    >>> interval_text(0.75234, 0.7481, 0.7569)
    '0.748 to 0.757'
    >>> interval_text(1.0, 0.03, 40.0)
    '0.03 to 40'
    >>> interval_text(2.0, 0.0, float("inf"))
    'no interval'
    """
    if not (math.isfinite(lo) and math.isfinite(hi)):
        return NO_INTERVAL
    decimals = _decimals(mid, lo, hi)
    low, high = (_rounded(end, max(decimals, _first_digit(end))) for end in (lo, hi))
    return f"{low} to {high}"


def round_count_text(number: float) -> str:
    """Write a round number, as on an axis, with the digits that it has.

    >>> round_count_text(20_000), round_count_text(1e9), round_count_text(0.5)
    ('20 k', '1 G', '0.5')
    """
    return _round(number, (*_COUNT_UNITS, (1.0, "")))


def round_time_text(us: float) -> str:
    """Write a round number of microseconds, as on an axis, with the digits that it has.

    >>> round_time_text(20.0), round_time_text(0.5), round_time_text(2e6)
    ('20 µs', '0.5 µs', '2 s')
    """
    return _round(us, _TIME_UNITS)


def round_size_text(size_bytes: float) -> str:
    """Write a round number of bytes, as on an axis, with the digits that it has.

    >>> round_size_text(2**20), round_size_text(512), round_size_text(1.5 * 2**10)
    ('1 MiB', '512 B', '1.5 KiB')
    """
    return _round(size_bytes, (*_SIZE_UNITS, (1.0, "B")))


def spread_text(mean: float, deviation: float | None) -> str:
    """Write a mean with its standard deviation, both to the digits that the latter supports.

    Without one, or where it is zero, the mean has three significant digits. What is below 1e-4 has
    two, and an exponent.

    >>> spread_text(0.34712, 0.0123), spread_text(0.00123456, None), spread_text(0.0, 0.0)
    ('0.347 ± 0.012', '0.00123', '0')
    >>> spread_text(3.31e-7, 1.7e-8)
    '3.3e-07 ± 1.7e-08'
    """
    if not deviation:
        return f"{mean:.3g}"
    if 0 < mean < 1e-4:
        return f"{mean:.1e} ± {deviation:.1e}"
    decimals = _decimals(mean, mean - deviation, mean + deviation)
    return f"{_rounded(mean, decimals)} ± {_rounded(deviation, decimals)}"


def factor_text(factor: float) -> str:
    """Write a factor with no more digits than one reading supports.

    >>> factor_text(5.2517), factor_text(41.84), factor_text(341.8), factor_text(5341.8)
    ('5.3', '42', '342', '5342')
    """
    return f"{factor:.1f}" if factor < 10 else f"{factor:.0f}"


def percent_text(share: float) -> str:
    """Write a share as a percentage with at most two significant digits.

    >>> percent_text(0.0173), percent_text(0.02), percent_text(0.005), percent_text(0.997)
    ('1.7 %', '2 %', '0.5 %', '100 %')
    """
    return f"{100 * share:.2g} %" if share < 0.995 else f"{100 * share:.0f} %"


def difference_text(share: float) -> str:
    """Write a difference as a percentage, as a factor where it is more than double.

    >>> difference_text(0.031), difference_text(4.2), difference_text(float("inf"))
    ('3.1 %', 'a factor of 5.2', 'any size')
    """
    if share == math.inf:
        return "any size"
    return percent_text(share) if share < 1 else f"a factor of {factor_text(1 + share)}"


def parse_seconds(option: str, text: str) -> float:
    """Read a duration: `10s`, `500ms`, `2m`, `1h`, or bare seconds.

    Raises UsageError, which names the option, where the text is no duration above zero.

    >>> parse_seconds("--max-time", "500ms"), parse_seconds("--max-time", "10")
    (0.5, 10.0)
    """
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h)?", text.strip())
    seconds = float(match[1]) * _SECONDS[match[2] or "s"] if match else 0.0
    if seconds <= 0:
        raise UsageError(
            f"{option} takes a time above zero such as 10s, 500ms or 2m, not {quoted(text)}"
        )
    return seconds


def span_text(seconds: float) -> str:
    """Write a length of time in its two largest units, rounded up to whole seconds.

    >>> span_text(0.2), span_text(75), span_text(3600 * 25 + 60)
    ('1 s', '1 min 15 s', '25 h 1 min')
    """
    minutes, left = divmod(math.ceil(seconds), 60)
    if minutes == 0:
        return f"{left} s"
    hours, minutes = divmod(minutes, 60)
    large, small = (f"{hours} h", f"{minutes} min") if hours else (f"{minutes} min", f"{left} s")
    return large if small.startswith("0 ") else f"{large} {small}"


def parse_size_bytes(option: str, text: str) -> int:
    """Read a size in memory: `4GiB`, `512M` (binary all the same), or bare bytes.

    Raises UsageError, which names the option.

    >>> parse_size_bytes("--memory-limit", "4GiB"), parse_size_bytes("--memory-limit", "512M")
    (4294967296, 536870912)
    """
    match = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)\s*([KMGT]?)(?:i?B)?", text.strip())
    size = math.floor(float(match[1]) * _BYTES[match[2]]) if match else 0
    if not 0 < size < 2**60:
        raise UsageError(f"{option} takes a size such as 4GiB or 512M, not {quoted(text)}")
    return size


def parse_share(option: str, text: str) -> float:
    """Read a share: `2%` or `0.02`.

    Raises UsageError, which names the option, where the text is no share between 0 and 1.

    >>> parse_share("--precision", "2%"), parse_share("--precision", "0.005")
    (0.02, 0.005)
    """
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*(%)?", text.strip())
    share = float(match[1]) / (100 if match[2] else 1) if match else 0.0
    if not 0 < share < 1:
        raise UsageError(
            f"{option} takes a share between 0 and 100 %, such as 2% or 0.02, not {quoted(text)}"
        )
    return share


def _scaled(number: float, units: tuple[tuple[float, str], ...]) -> str | None:
    for scale, unit in units:
        # 999.6 k would be written as 1000 k: it belongs to the next unit
        if number >= scale * 0.9995:
            value = number / scale
            return f"{value:.{max(0, 2 - math.floor(math.log10(max(value, 1))))}f} {unit}"
    return None


def _round(number: float, units: tuple[tuple[float, str], ...]) -> str:
    scale, unit = next((each for each in units if abs(number) >= each[0]), units[-1])
    return f"{number / scale:.6g} {unit}".rstrip()


def _decimals(mid: float, lo: float, hi: float) -> int:
    half = (hi - lo) / 2
    if math.isfinite(half) and half > 0:
        place = math.floor(math.log10(half))
        return max(_first_digit(mid), 1 - place if half < 2 * 10.0**place else -place)
    return 1 + _first_digit(mid)


def _first_digit(number: float) -> int:
    """The decimal place of the first digit that is not zero: 0 for ones, 1 for tenths."""
    return -math.floor(math.log10(abs(number))) if number else 0


def _rounded(number: float, decimals: int) -> str:
    return f"{round(number, decimals):.{max(decimals, 0)}f}"
