"""When sampling stops, why it says so, and what it warns of."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from suites import sampling
from suites.sampling import Rule, Samples


def taken(values: Callable[[int], float], seconds: float, step: float = 0.01, **limits: Any) -> Samples:
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


def test_a_plan_gets_the_samples_it_counted_on() -> None:
    def noisy(n: int) -> float:
        return 1.0 + 0.1 * (n * 7 % 11)

    rule = Rule(30, 100.0, 0.02)
    assert len(taken(noisy, 0.05, rule=rule).values) == 30
    assert len(taken(noisy, 0.05).values) < 10, "which the time alone does not give"
    even = taken(lambda n: 1.0 + 1e-3 * (n % 3), 0.0, rule=rule)
    assert len(even.values) == 10 and even.warnings == [], "an interval of 2 % needs no thirty"
    assert 12 <= len(taken(noisy, 0.05, rule=Rule(30, 0.15, 0.02)).values) <= 17, "nor does it go on for ever"
    assert len(taken(lambda n: 1.0, 100.0, rule=Rule(77)).values) == 80, "precise, but not before what was asked for"
