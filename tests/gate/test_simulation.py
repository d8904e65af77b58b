"""The two-stage rule on 300 simulated cases, many suites over: no false alarm, and what is slower is found."""

from __future__ import annotations

import numpy as np
import pytest

from gate.statistics import (
    SCREEN_PAIRS,
    Estimate,
    Floats,
    centred,
    confirmed,
    noise_floor,
    pairs_needed,
)  # fmt: skip
from tests.support.gate_machine import CONTROLS, DEDICATED, MEASURED, SHARED, Machine, Noise

SUITES = 100
CONTROL = np.arange(MEASURED + CONTROLS) >= MEASURED


def suite(noise: Noise, slower: int, by: float, seed: int) -> tuple[int, int]:
    """(false alarms, slower cases found) of one suite."""
    effect = np.zeros(MEASURED + CONTROLS)
    effect[:slower] = np.log1p(by)
    machine = Machine(noise, effect, seed)
    everything = np.arange(MEASURED + CONTROLS)
    base, head = machine.pairs(SCREEN_PAIRS, everything)
    margin: Floats = np.maximum(np.maximum(np.log(1.01), noise_floor(base, CONTROL)), 0.3e-6 / np.exp(base.mean(1)))
    suspect = Estimate.of(centred(base, head, CONTROL)).beyond(margin) & ~CONTROL
    chosen = np.flatnonzero(suspect)
    again = np.concatenate([chosen, everything[CONTROL]])
    base, head = machine.pairs(pairs_needed(len(chosen)), again)
    if not len(chosen):
        return 0, 0
    d = centred(base, head, np.arange(len(again)) >= len(chosen))[: len(chosen)]
    regressed = chosen[confirmed(d, margin[chosen])[0]]
    return int((regressed >= slower).sum()), int((regressed < slower).sum())


def suites(noise: Noise, slower: int, by: float) -> tuple[float, float]:
    """(share of suites with a false alarm, share of the slower cases found)."""
    runs = [suite(noise, slower, by, 1000 * slower + seed) for seed in range(SUITES)]
    return sum(false > 0 for false, _ in runs) / SUITES, sum(found for _, found in runs) / max(1, SUITES * slower)


@pytest.mark.parametrize("noise", [DEDICATED, SHARED], ids=["dedicated", "shared"])
def test_nothing_is_slower(noise: Noise) -> None:
    alarms, _ = suites(noise, 0, 0.0)
    assert alarms <= 0.05


@pytest.mark.parametrize("slower", [5, 60, 300])
@pytest.mark.parametrize(
    ("noise", "by", "power"), [(DEDICATED, 0.05, 0.90), (SHARED, 0.10, 0.85)], ids=["dedicated", "shared"]
)
def test_slower_cases_are_found(noise: Noise, by: float, power: float, slower: int) -> None:
    alarms, found = suites(noise, slower, by)
    assert alarms <= 0.05
    assert found >= power


def test_the_machine_fools_a_rule_of_one_stage() -> None:
    """One pair, and whatever is 5 % slower: what the made machine must make look foolish."""
    everything = np.arange(MEASURED + CONTROLS)
    fooled = 0
    for seed in range(20):
        base, head = Machine(SHARED, np.zeros(MEASURED + CONTROLS), seed).pairs(1, everything)
        fooled += bool((head - base > np.log(1.05)).any())
    assert fooled > 10


if __name__ == "__main__":  # the table: python -m tests.gate.test_simulation
    for name, noise, by in (("dedicated", DEDICATED, 0.05), ("shared", SHARED, 0.10)):
        for slower in (0, 5, 60, 300):
            alarms, found = suites(noise, slower, by)
            print(f"{name:9} {slower:3} of 300 slower by {by:.0%}: false alarm in {alarms:.1%}, found {found:.1%}")
