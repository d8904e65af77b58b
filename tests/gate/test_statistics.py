"""The gate's statistics against SciPy, exact enumeration, and closed testing; never against themselves."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from scipy import special, stats

from gate import statistics


@pytest.mark.parametrize("x", [1e-3, 0.05, 0.5, 1.0, 1.5, 3.7, 40.0, 1e4])
def test_the_inverse_of_trigamma(x: float) -> None:
    assert statistics._trigamma_inverse(float(special.polygamma(1, x))) == pytest.approx(x, rel=1e-9)


@pytest.mark.parametrize("n", [1, 4, 7, 10])
def test_sign_flip_is_the_exact_enumeration(n: int) -> None:
    rows = np.random.default_rng(n).integers(-9, 12, (20, n))  # whole numbers: ties, and sums without rounding
    for row, p in zip(rows, statistics.sign_flip(rows.astype(float)), strict=True):
        sums = [sum(s * v for s, v in zip(signs, row, strict=True)) for signs in itertools.product((1, -1), repeat=n)]
        assert p == Fraction(sum(total >= row.sum() for total in sums), 2**n)


def test_sign_flip_agrees_with_scipy() -> None:
    x = np.random.default_rng(5).normal(0.3, 1.0, (4, 10))
    for row, p in zip(x, statistics.sign_flip(x), strict=True):
        expected = stats.permutation_test(
            (row,), np.sum, permutation_type="samples", alternative="greater", n_resamples=np.inf
        )
        assert p == pytest.approx(expected.pvalue, rel=1e-12)


def test_holm_is_closed_testing_with_bonferroni() -> None:
    rng = np.random.default_rng(3)
    for _ in range(50):
        p = np.round(rng.uniform(0, 0.2, 6), 2)
        every = [subset for size in range(1, 7) for subset in itertools.combinations(range(6), size)]
        adjusted = [
            max(min(1.0, len(subset) * min(p[list(subset)])) for subset in every if i in subset) for i in range(6)
        ]
        assert statistics.holm(p) == pytest.approx(adjusted)


@pytest.mark.parametrize("suspects", [1, 5, 51, 52, 60, 300, 5000])
def test_pairs_needed_lets_every_suspect_be_confirmed(suspects: int) -> None:
    n = statistics.pairs_needed(suspects)
    assert n >= 10
    assert suspects * 0.5**n <= 0.05
    shifted = np.full((suspects, n), 0.02)
    assert statistics.confirmed(shifted, np.full(suspects, 0.01))[0].all()


def test_ten_pairs_are_too_few_for_many_suspects() -> None:
    assert not statistics.confirmed(np.full((52, 10), 0.02), np.full(52, 0.01))[0].any()


@pytest.mark.parametrize(("df", "variance"), [(4.0, 2e-4), (20.0, 9e-6)])
def test_prior_finds_the_distribution_that_variances_were_drawn_from(df: float, variance: float) -> None:
    rng = np.random.default_rng(8)
    true = variance * df / rng.chisquare(df, 40_000)
    seen = true * rng.chisquare(3, 40_000) / 3
    prior = statistics.Prior.of(seen, 3)
    assert prior.df == pytest.approx(df, rel=0.15)
    assert prior.variance == pytest.approx(variance, rel=0.05)


def test_equal_variances_are_pooled() -> None:
    values = np.random.default_rng(1).normal(0, 0.01, (400, 4))
    variance, df = statistics.moderated(values)
    assert df > 25  # 3 of its own
    assert np.sqrt(variance) == pytest.approx(np.full(400, 0.01), rel=0.25)


def test_without_a_prior_the_screen_is_the_students_test() -> None:
    d = np.array([[0.021, 0.031, 0.012, 0.024], [0.008, 0.013, 0.004, 0.011]])  # two cases say nothing of a prior
    assert (statistics.pulled_in(d) == d).all()
    estimate = statistics.Estimate.of(d)
    margin = np.full(2, 0.01)
    p = stats.ttest_1samp(d, 0.01, axis=1, alternative="greater").pvalue
    assert list(estimate.beyond(margin)) == list(p < 0.10)
    low, high = estimate.interval(0.90)
    for row, lo, hi in zip(d, low, high, strict=True):
        assert (lo, hi) == pytest.approx(stats.ttest_1samp(row, 0).confidence_interval(0.90), rel=1e-9)


def test_screen_keeps_its_level_where_nothing_moved() -> None:
    d = np.random.default_rng(4).normal(0, 0.01, (20_000, 4))
    assert statistics.Estimate.of(d).beyond(np.zeros(20_000)).mean() == pytest.approx(0.10, abs=0.01)


def test_detectable_effect_is_let_through_nine_times_in_ten() -> None:
    rng = np.random.default_rng(6)
    margin = np.full(20_000, 0.01)
    quiet = rng.normal(0, 0.02, (20_000, 4))
    smallest = float(np.median(statistics.Estimate.of(quiet).detectable(margin)))
    assert statistics.Estimate.of(quiet + smallest).beyond(margin).mean() == pytest.approx(0.90, abs=0.01)


def test_controls_take_off_what_moves_everything() -> None:
    rng = np.random.default_rng(7)
    base = rng.normal(-9, 0.001, (20, 4))
    head = base + np.array([0.1, -0.2, 0.05, 0.3])
    head[0] += 0.04
    controls = np.arange(20) >= 10
    d = statistics.centred(base, head, controls)
    assert d[0] == pytest.approx(np.full(4, 0.04))
    assert np.abs(d[1:]).max() < 1e-12


def test_a_disturbed_pass_is_pulled_in_and_the_others_are_left() -> None:
    d = np.random.default_rng(9).normal(0.02, 0.01, (50, 4))
    d[3, 2] = 0.9
    pulled = statistics.pulled_in(d)
    assert pulled[3, 2] < 0.15
    assert (np.delete(pulled[3], 2) == np.delete(d[3], 2)).all()
    assert (pulled != d).mean() < 0.05


def test_one_disturbed_pair_does_not_hide_a_change() -> None:
    d = np.random.default_rng(10).normal(0.05, 0.005, (1, 10))
    d[0, 4] = 0.8
    assert statistics.confirmed(d, np.array([0.01]))[0].all()


def test_confirmation_keeps_its_level_under_heavy_tails() -> None:
    rng = np.random.default_rng(12)
    alarms = sum(
        statistics.confirmed(0.01 + 0.02 * rng.standard_t(2, (5, 10)), np.full(5, 0.01))[0].any() for _ in range(400)
    )
    assert alarms <= 0.05 * 400 + 2 * math.sqrt(0.05 * 0.95 * 400)
