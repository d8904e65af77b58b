"""Trained networks told from their records: intervals, claims, floors and doubts, on numbers known by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from reports import trials


def test_the_interval_covers_the_mean_of_few_seeds() -> None:
    """Plain percentiles of five values cover 83 %; expanded ones at least 92 of 100."""
    rng = np.random.default_rng(5)
    inside = 0
    for _ in range(200):
        low, high = trials.interval(list(rng.normal(0, 1, 5)))
        inside += low <= 0 <= high
    assert 0.88 <= inside / 200 <= 0.99


def test_four_seeds_give_no_interval() -> None:
    assert all(map(math.isnan, trials.interval([1.0, 2.0, 3.0, 4.0])))
    low, high = trials.interval([1.0, 2.0, 3.0, 4.0, 5.0])
    assert 1 <= low < 3 < high <= 5
    assert trials.interval([1.0, 2.0, 3.0, 4.0, 5.0]) == (low, high)


@pytest.mark.parametrize(
    ("ada", "verdict"), [([0.3, 0.2, 0.3, 0.2, 0.3], "holds"), ([-0.3, -0.2, -0.3, -0.2, -0.3], "reversed"),
                         ([0.3, -0.2, 0.3, -0.2, 0.1], "open"), ([0.3, 0.2, 0.3, 0.2], "open")],
)  # fmt: skip
def test_a_claim_needs_an_interval_beside_zero(ada: list[float], verdict: str) -> None:
    """Differences count, not values: seeds differ by far more than subjects do."""
    base = [10.0, 50.0, 20.0, 90.0, 40.0]
    scores = {
        "avg": dict(enumerate(base)),
        "ada": {seed: base[seed] + value for seed, value in enumerate(ada)},
    }
    (claim,) = trials.claims(scores)
    assert (claim.better, claim.worse, claim.verdict) == ("ada", "avg", verdict)
