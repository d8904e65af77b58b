"""One sampled metric of many cases, pair by pair: gate.statistics applied to named values.

Knows case names and numbers; nothing of records, fingerprints or exit codes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from gate.statistics import FAMILY, LEAST_PAIRS, Estimate, Flags, Floats, centred, confirmed, noise_floor, pairs_needed

Values = Mapping[str, Mapping[str, Mapping[tuple[str, int], float]]]  # case -> side -> (stage, pair) -> value


class Sampled:
    """`values` of each case in every pass; `margins` as fractions; `grain`: what no clock tells apart, in units."""

    def __init__(
        self, name: str, values: Values, margins: Mapping[str, float], controls: set[str], grain: float
    ) -> None:
        self.name, self.values = name, values
        self.pairs = self._pairs("screen")
        self.cases = [case for case in values if self._complete(case, self.pairs)]
        self.odd = [case for case in values if case not in set(self.cases)]  # without all the screening passes
        self.controls: Flags = np.array([case in controls for case in self.cases], bool)
        base, head = self._logs(self.cases, "base"), self._logs(self.cases, "head")
        self.screened = Estimate.of(centred(base, head, self.controls)) if len(self.pairs) > 1 else None
        given = np.array([math.log1p(margins[case]) for case in self.cases])
        self.margin: Floats = given
        if self.screened is not None and len(self.cases):
            self.margin = np.maximum(np.maximum(given, noise_floor(base, self.controls)), grain / np.exp(base.mean(1)))

    def _pairs(self, stage: str) -> list[tuple[str, int]]:
        base, head = ({at for case in self.values.values() for at in case[side]} for side in ("base", "head"))
        return sorted(at for at in base & head if at[0] == stage)

    def _complete(self, case: str, pairs: list[tuple[str, int]]) -> bool:
        return bool(pairs) and all(at in self.values[case][side] for side in ("base", "head") for at in pairs)

    def _logs(self, cases: list[str], side: str, pairs: list[tuple[str, int]] | None = None) -> Floats:
        at = self.pairs if pairs is None else pairs
        rows = [[math.log(max(self.values[case][side][k], 1e-12)) for k in at] for case in cases]
        return np.array(rows, float).reshape(len(cases), len(at))

    def _suspect(self) -> tuple[Flags, Flags]:
        """Which cases are suspected to be slower, and which to be faster."""
        if self.screened is None:
            return np.zeros(len(self.cases), bool), np.zeros(len(self.cases), bool)
        faster = Estimate(-self.screened.mean, self.screened.error, self.screened.df)
        return self.screened.beyond(self.margin), faster.beyond(self.margin)

    def suspects(self) -> tuple[set[str], int]:
        """Their names, and the fresh pairs they need."""
        slower, faster = self._suspect()
        names = {case for case, flag in zip(self.cases, slower | faster, strict=True) if flag}
        return names, pairs_needed(max(int(slower.sum()), int(faster.sum())))

    def verdicts(self) -> dict[str, dict[str, Any]]:
        """Verdict, numbers and note of every case."""
        found = {case: self._open("not measured in every pass") for case in self.odd}
        if self.screened is None:
            return found | {case: self._open("two screening pairs are the least") for case in self.cases}
        low, high = self.screened.interval(0.90)
        smallest = self.screened.detectable(self.margin)
        for i, case in enumerate(self.cases):
            found[case] = self._facts(
                case, self.screened.mean[i], low[i], high[i], self.margin[i], smallest[i], self.pairs
            )
        slower, faster = self._suspect()
        for flags, verdict, sign in ((slower, "REGRESSED", 1), (faster, "IMPROVED", -1)):
            self._confirm(found, flags, verdict, sign)
        return found

    def _confirm(self, found: dict[str, dict[str, Any]], flags: Flags, verdict: str, sign: int) -> None:
        """The verdicts of suspects, from their fresh pairs alone."""
        pairs = self._pairs("confirm")
        names = [case for case, flag in zip(self.cases, flags, strict=True) if flag]
        tested = [case for case in names if self._complete(case, pairs)]
        for case in set(names) - set(tested):
            found[case] |= self._open("suspect, without the fresh pairs that would confirm it")
        if not tested or len(pairs) < LEAST_PAIRS:
            for case in tested:
                found[case] |= self._open(f"suspect, with {len(pairs)} fresh pairs only")
            return
        controls = [case for case, flag in zip(self.cases, self.controls, strict=True) if flag]
        steady = [case for case in controls if self._complete(case, pairs)]
        cases = [*tested, *(case for case in steady if case not in tested)]
        d = centred(
            self._logs(cases, "base", pairs), self._logs(cases, "head", pairs), np.array([c in steady for c in cases])
        )[: len(tested)]
        at = [self.cases.index(case) for case in tested]
        margin = self.margin[at]
        sure, p = confirmed(sign * d, margin)
        estimate = Estimate.of(d)
        low, high = estimate.interval(0.90)
        smallest = estimate.detectable(margin, FAMILY / len(tested))
        for i, case in enumerate(tested):
            facts = self._facts(case, estimate.mean[i], low[i], high[i], margin[i], smallest[i], pairs)
            found[case] = facts | {"p": float(p[i])} | ({"verdict": verdict, "note": ""} if sure[i] else {})

    def _facts(
        self, case: str, mean: float, low: float, high: float, margin: float, smallest: float,
        pairs: list[tuple[str, int]],
    ) -> dict[str, Any]:  # fmt: skip
        inside = -margin <= low and high <= margin
        change, lo, hi, width, detectable = (math.expm1(min(v, 50.0)) for v in (mean, low, high, margin, smallest))
        base, head = (float(np.exp(np.median(self._logs([case], side, pairs)))) for side in ("base", "head"))
        return {
            "verdict": "EQUIVALENT" if inside else "INCONCLUSIVE",
            "note": "" if inside else f"would have found {detectable:+.1%}",
            "unit": self._unit(), "base": base, "head": head, "change": change, "lo": lo, "hi": hi, "margin": width,
            "detectable": detectable, "pairs": len(pairs),
        }  # fmt: skip

    def _open(self, why: str) -> dict[str, Any]:
        return {"verdict": "INCONCLUSIVE", "note": why, "unit": self._unit()}

    def _unit(self) -> str:
        return "J" if self.name.startswith("energy") else "s"
