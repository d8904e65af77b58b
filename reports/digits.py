"""Numbers as text: units a reader knows, and no more digits than the interval supports. Stdlib only."""

from __future__ import annotations

import math

NONE = "–"
MOST = 4  # significant digits, however narrow the interval is
UNSURE = 2  # significant digits of a sampled number without an interval
_SCALES = {
    "s": ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")),
    "B": ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B")),
    "J": ((1.0, "J"), (1e-3, "mJ"), (1e-6, "µJ"), (1e-9, "nJ")),
}
_FIXED = {"dB": 2, "1": 4}  # decimals of the metrics that are exact to 1e-4


def trimmed(value: float, lo: float = math.nan, hi: float = math.nan, exact: bool = False) -> str:
    """The value with its last digit where the interval's half-width begins, at most four significant digits.

    >>> trimmed(1.23456, 1.21, 1.26), trimmed(1.23456), trimmed(1234.56, 1100, 1400)
    ('1.23', '1.2', '1200')
    """
    if not math.isfinite(value):
        return NONE
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(value)))
    last = size - MOST + 1
    half = max(value - lo, hi - value)
    if half > 0:  # false for NaN, too
        last = max(last, min(size, math.floor(math.log10(half))))
    elif not exact and math.isnan(half):
        last = size - UNSURE + 1
    shown = round(value, -last)
    return f"{shown:.{max(0, -last)}f}"


def quantity(value: float, unit: str, lo: float = math.nan, hi: float = math.nan, n: int = 1) -> str:
    """A value in SI units as a reader writes it.

    >>> quantity(0.00123456, "s", 0.00121, 0.00126, 30), quantity(32.12345, "dB"), quantity(3211264, "B")
    ('1.23 ms', '32.12 dB', '3.211 MB')
    >>> quantity(0.0009996, "s"), quantity(0.0009996, "s", 0.0009995, 0.0009997)
    ('1.00 ms', '999.6 µs')
    """
    if not math.isfinite(value):
        return NONE
    if unit in _FIXED:
        return f"{value:.{_FIXED[unit]}f}" + ("" if unit == "1" else f" {unit}")

    def shown(scale: float) -> str:
        return trimmed(value / scale, lo / scale, hi / scale, exact=unit == "B" and n == 1)

    scale, _ = scale_of(value, unit)
    scale, name = scale_of(scale * float(shown(scale)), unit)  # rounded up, 999.6 µs are milliseconds
    return f"{shown(scale)} {name}"


def scale_of(value: float, unit: str) -> tuple[float, str]:
    """The factor and the name of the unit in which the value has one to three digits before the point."""
    for factor, name in _SCALES.get(unit, ((1.0, unit),)):
        if abs(value) >= factor:
            return factor, name
    return _SCALES.get(unit, ((1.0, unit),))[-1]


def rate(gbps: float) -> str | None:
    """Bytes per second of which a reader needs the size alone; None for what is not a number.

    >>> rate(2216.0), rate(80.1234), rate(0.5)
    ('2.22 TB/s', '80.1 GB/s', '500 MB/s')
    """
    if not math.isfinite(gbps):
        return None
    factor, name = next(((f, n) for f, n in ((1e3, "TB/s"), (1.0, "GB/s")) if gbps >= f), (1e-3, "MB/s"))
    size = gbps / factor
    return f"{size:.{max(0, 2 - math.floor(math.log10(size)))}f} {name}" if size > 0 else f"0 {name}"


def times(ratio: float, lo: float = math.nan, hi: float = math.nan, exact: bool = False) -> str:
    """A ratio as 1.94×."""
    text = trimmed(ratio, lo, hi, exact)
    if exact and "." in text:
        text = text.rstrip("0").rstrip(".")
    return text if text == NONE else f"{text}×"


def interval(lo: float, hi: float, unit: str) -> str:
    """The ends of an interval in one unit, with one digit more than the value they belong to has.

    >>> interval(0.00121, 0.00126, "s")
    '1.210 – 1.260 ms'
    >>> interval(0.0004, 0.024, "s")
    '0.4 – 24.0 ms'
    """
    if not (math.isfinite(lo) and math.isfinite(hi)):
        return "no interval (fewer than 6 samples)"
    scale, name = scale_of(hi, unit)
    width = (hi - lo) / scale
    places = max(0, 1 - math.floor(math.log10(width / 2))) if width > 0 else MOST - 1
    places = min(places, 6)
    while lo > 0 and places < MOST and round(lo / scale, places) == 0:
        places += 1  # no time is 0
    return f"{lo / scale:.{places}f} – {hi / scale:.{places}f} {'×' if unit == '1' else name}"
