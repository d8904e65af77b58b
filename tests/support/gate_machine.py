"""A made machine for the gate's simulation: log times of passes with the noise that real machines have.

Every pass has an offset of its own (process), every case in a pass another (memory layout), with heavy tails; the
machine drifts and wanders between passes; neighbours slow down a stretch of cases in the order in which they ran. A
pass runs its cases twice, in two orders, and keeps the faster: what `suites.ab` does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Noise:
    """Standard deviations and sizes as fractions of the time."""

    process: float  # of all cases of a pass
    layout: float  # of one case in one pass
    tail: float  # Student's t with 3 degrees of freedom, of one case in one pass
    drift: float  # from the first to the last of a hundred passes
    wander: float  # step of a random walk from pass to pass
    bursts: float  # expected neighbours per pass
    burst: float  # the most that a neighbour slows down a case


DEDICATED = Noise(process=0.003, layout=0.004, tail=0.002, drift=0.02, wander=0.001, bursts=0.1, burst=0.05)
SHARED = Noise(process=0.02, layout=0.010, tail=0.008, drift=0.10, wander=0.01, bursts=0.5, burst=0.40)
MEASURED = 300
CONTROLS = 12


class Machine:
    """Runs passes one after the other; `slower` maps a case's position to ln(1 + what head is slower by)."""

    def __init__(self, noise: Noise, slower: Floats, seed: int) -> None:
        self.noise, self.slower = noise, slower
        self.rng = np.random.default_rng(seed)
        self.level = self.rng.uniform(np.log(2e-5), np.log(5e-3), MEASURED + CONTROLS)
        self.steady = np.exp(self.rng.normal(0, 0.4, MEASURED + CONTROLS))  # some cases are noisier than others
        self.walk, self.passes = 0.0, 0

    def one_pass(self, head: bool, cases: NDArray[np.int_]) -> Floats:
        """Log time of each of `cases`."""
        noise, rng, n = self.noise, self.rng, len(cases)
        self.passes += 1
        self.walk += rng.normal(0, noise.wander)
        shift = rng.normal(0, noise.process) + self.walk + noise.drift * self.passes / 100
        own = rng.normal(0, noise.layout, n)
        rounds = []
        for _ in range(2):
            found = own + noise.tail * rng.standard_t(3, n)
            order = rng.permutation(n)
            for _ in range(rng.poisson(noise.bursts / 2)):
                begin, length = rng.integers(n), max(1, int(n * rng.uniform(0.02, 0.30)))
                found[order[begin : begin + length]] += rng.uniform(0.05, 1.0) * noise.burst
            rounds.append(self.level[cases] + shift + found * self.steady[cases])
        return np.minimum(*rounds) + (self.slower[cases] if head else 0.0)

    def pairs(self, count: int, cases: NDArray[np.int_]) -> tuple[Floats, Floats]:
        """(base, head), each [cases, pairs], in ABBA order that begins with either side by chance."""
        sides: list[list[Floats]] = [[], []]
        first = False
        for pair in range(count):
            first = bool(self.rng.integers(2)) if pair % 2 == 0 else not first
            for head in (first, not first):
                sides[head].append(self.one_pass(head, cases))
        return np.array(sides[0]).T, np.array(sides[1]).T
