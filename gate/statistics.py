"""The gate's two-stage rule on arrays of log times: which cases are suspect, and which suspects are confirmed.

A pair is one pass of each side; d = ln(head / base) of a case, less the median d of the pair's controls. Arrays are
[cases, pairs]. Knows nothing of records, names or verdicts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

SCREEN_PAIRS = 4
SCREEN_P = 0.10
FAMILY = 0.05  # chance of any false alarm that is accepted (Holm)
LEAST_PAIRS = 10
POWER = 0.90  # the chance with which the minimum detectable effect would be found


def centred(base: Floats, head: Floats, controls: Flags) -> Floats:
    """d of every case and pair; without controls, no shift is taken off."""
    d: Floats = head - base
    return d - np.median(d[controls], axis=0) if controls.any() else d


def pulled_in(d: Floats, reach: float = 3.0) -> Floats:
    """d with the outliers of each row drawn to `reach` robust deviations from its median: a pass that was disturbed."""
    middle = np.median(d, axis=1, keepdims=True)
    spread = 1.4826 * np.median(np.abs(d - middle), axis=1, keepdims=True)
    usual = 1.4826 * np.median(np.abs(d - middle)) if d.size else 0.0
    limit = reach * np.maximum(spread, usual)
    return np.asarray(np.clip(d, middle - limit, middle + limit))


def _trigamma_inverse(y: float) -> float:
    """The x > 0 with trigamma(x) = y. It lies between 1 / sqrt(y) and 1 / sqrt(y) + 1 / y, trigamma's own bounds."""
    ends = 0.5 / math.sqrt(y), 1 / math.sqrt(y) + 1 / y + 1
    return float(optimize.brentq(lambda x: special.polygamma(1, x) - y, *ends, xtol=1e-14, rtol=1e-12))


@dataclass(frozen=True)
class Prior:
    """What the variances of all cases say of each: `df` observations' worth of `variance` (empirical Bayes)."""

    df: float
    variance: float

    @classmethod
    def of(cls, variances: Floats, df: int) -> Prior:
        """Moments of the log variances against a scaled F distribution (Smyth 2004, equations 6.1 and 6.2)."""
        positive = variances[variances > 0]
        if len(positive) < 3:
            return cls(0.0, 0.0)
        floor = 1e-5 * float(np.median(positive))
        logs = np.log(np.maximum(variances, floor)) - special.digamma(df / 2) + math.log(df / 2)
        middle, spread = float(logs.mean()), float(logs.var(ddof=1)) - special.polygamma(1, df / 2)
        if spread <= 0:
            return cls(math.inf, math.exp(middle))
        prior = 2 * _trigamma_inverse(spread)
        return cls(prior, math.exp(middle + special.digamma(prior / 2) - math.log(prior / 2)))

    def moderate(self, variances: Floats, df: int) -> tuple[Floats, float]:
        """Each variance drawn towards the prior, and the degrees of freedom that it then has."""
        if math.isinf(self.df):
            return np.full_like(variances, self.variance), math.inf
        mixed: Floats = (self.df * self.variance + df * variances) / (self.df + df)
        return mixed, self.df + df


def moderated(values: Floats) -> tuple[Floats, float]:
    """Variance of each row, moderated over all rows, and its degrees of freedom."""
    df = values.shape[1] - 1
    variances: Floats = values.var(axis=1, ddof=1)
    return Prior.of(variances, df).moderate(variances, df)


def noise_floor(base: Floats, controls: Flags) -> Floats:
    """What the base build against itself shows: one standard error of the mean d of the confirming pairs."""
    level = base - np.median(base[controls], axis=0) if controls.any() else base
    variance, _ = moderated(pulled_in(level))
    return np.asarray(np.sqrt(2 * variance / LEAST_PAIRS))


@dataclass(frozen=True)
class Estimate:
    """Mean d of each case, its standard error, and the degrees of freedom of that."""

    mean: Floats
    error: Floats
    df: float  # of Student's t, whose quantiles special.stdtrit gives; inf is the normal

    @classmethod
    def of(cls, d: Floats) -> Estimate:
        d = pulled_in(d)
        variance, df = moderated(d)
        return cls(d.mean(axis=1), np.sqrt(variance / d.shape[1]), df)

    def interval(self, confidence: float) -> tuple[Floats, Floats]:
        half = special.stdtrit(self.df, 0.5 + confidence / 2) * self.error
        return self.mean - half, self.mean + half

    def beyond(self, margin: Floats, p: float = SCREEN_P) -> Flags:
        """Where the one-sided moderated t test says, at level `p`, that d is above the margin."""
        return np.asarray(self.mean - margin > special.stdtrit(self.df, 1 - p) * self.error)

    def detectable(self, margin: Floats, p: float = SCREEN_P) -> Floats:
        """The smallest d that a one-sided t test at level `p` (the screen's) finds with the chance POWER."""
        both = special.stdtrit(self.df, 1 - p) + special.stdtrit(self.df, POWER)
        return np.asarray(margin + both * self.error)


def pairs_needed(suspects: int) -> int:
    """Fresh pairs with which that many suspects can all be confirmed; 0 for none.

    With n pairs the smallest p of a sign-flip test is 2^-n, and Holm asks it to be under FAMILY / suspects.
    """
    return max(LEAST_PAIRS, math.ceil(math.log2(suspects / FAMILY)) + 1) if suspects else 0


def sign_flip(x: Floats) -> Floats:
    """P of each row by exact enumeration: the share of all sign patterns whose sum is at least the one seen.

    Exact when the row is symmetric about zero or below, whatever its distribution.
    """
    n = x.shape[1]
    if n > 20:
        raise ValueError(f"x: expected at most 20 pairs, got {n}")
    left, right = (_sums(np.abs(half)) for half in np.array_split(x, 2, axis=1))
    right.sort(axis=1)
    found = np.empty(len(x))
    for i, row in enumerate(x):
        seen = row.sum() - 1e-12 * np.abs(row).sum()
        found[i] = (right.shape[1] - np.searchsorted(right[i], seen - left[i], side="left")).sum() / 2.0**n
    return found


def _sums(size: Floats) -> Floats:
    """The sums of every pattern of signs, [rows, 2^n]."""
    sums = np.zeros((len(size), 1))
    for column in size.T:
        sums = np.concatenate([sums + column[:, None], sums - column[:, None]], axis=1)
    return sums


def holm(p: Floats) -> Floats:
    """Holm's adjusted p: at most `level` for what may be rejected with a family-wise error of `level`."""
    order = np.argsort(p, kind="stable")
    scaled = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(scaled, 1.0)
    return adjusted


def confirmed(d: Floats, margin: Floats) -> tuple[Flags, Floats]:
    """Which suspects are above their margin in their fresh pairs, and Holm's adjusted p of each."""
    if not len(d):
        return np.zeros(0, bool), np.zeros(0)
    x = d - margin[:, None]
    limit = 2 * np.median(np.abs(x), axis=1, keepdims=True)  # by sizes alone, so that signs stay exchangeable
    adjusted = holm(sign_flip(np.clip(x, -limit, limit)))
    return adjusted <= FAMILY, adjusted
