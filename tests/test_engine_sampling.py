"""When sampling stops, why it says so, and what it warns of."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from suites import sampling
from suites.sampling import Samples


def taken(values: Callable[[int], float], seconds: float, step: float = 0.01, **limits: int) -> Samples:
    """Samples of a device whose calls take what `values` says, on a clock that moves by `step` at each look."""
    clock = itertools.count()
    number = itertools.count()
    return sampling.take(lambda: values(next(number)), seconds, now=lambda: next(clock) * step, **limits)


def test_precise_samples_stop_at_thirty() -> None:
    found = taken(lambda n: 1.0 + 1e-4 * (n % 7), 100.0)
    assert (found.stop, len(found.values), found.warnings) == ("precise", 30, [])


def test_noise_goes_on_until_the_budget_is_spent() -> None:
    found = taken(lambda n: 1.0 + 0.02 * (n * 7 % 11), 0.5)
    assert found.stop == "budget" and 45 <= len(found.values) <= 55
    assert found.warnings == []


def test_few_samples_and_unstable_ones_are_warned_of() -> None:
    few = taken(lambda n: 1.0, 0.05)
    assert few.stop == "budget" and len(few.values) < 30 and few.warnings == ["few samples"]
    wild = taken(lambda n: 1.0 + n % 2, 0.4)
    assert wild.warnings == ["unstable"]
    assert taken(lambda n: 1.0 + n % 2, 0.1).warnings == ["few samples", "unstable"]


def test_no_time_still_gives_three_and_endless_noise_ends() -> None:
    assert len(taken(lambda n: 1.0, 0.0).values) == 3
    endless = taken(lambda n: 1.0 + 0.02 * (n * 7 % 11), 1e9, most=200)
    assert (endless.stop, len(endless.values)) == ("max samples", 200)


def test_the_median_is_of_what_was_kept() -> None:
    found = Samples(values=[5.0, 1.0, 2.0, 3.0], kept=[False, True, True, True])
    assert found.median == pytest.approx(2.0)
