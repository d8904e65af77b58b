"""`gate ab` and `gate selftest`: two builds measured in turns, in two stages, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from gate import cause
from gate.judge import Judgement, Pass, judge, suspects
from gate.outcome import Infrastructure, conclude, own_code, rules, say
from gate.statistics import SCREEN_PAIRS
from reports.rules import Rules
from suites import ab as passes
from suites import builds, device_lock, replay, session
from suites.axes import Axes, UsageError
from suites.builds import Build

INJECTED = 3  # cases that the self-test slows down
PROBES = ("latency", "memory", "retention")
SAME = "base and head install the same Python files and csrc: there is nothing to build and nothing to measure"


def ab(base: str, head: str, smoke: bool, unstable_ok: bool, store: str, given: Mapping[str, Any]) -> int:
    """Exit code of the comparison of two builds; what installs the same is neither built nor measured."""
    known = rules(given["rules"])
    targets = session.targets(given["cpu"], given["gpu"])
    axes = _axes(given, passes.SMOKE if smoke else None)
    session.whole(axes, targets)  # complain before anything is built
    out = session.fresh_folder(given["out"])
    if builds.alike(base, head):
        return conclude(out, f"gate ab {base} {head}", {"builds": Judgement((), {"builds": SAME}, optional=True)})
    with ExitStack() as needed:
        sides = {side: _build(word, store, needed) for side, word in (("base", base), ("head", head))}
        files = builds.difference(sides["base"], sides["head"])
        judgements: dict[str, Judgement] = {}
        about: dict[str, object] = {side: _about(build) for side, build in sides.items()}
        for device, on in targets:
            run = _experiment(out / _folder(device), sides, axes, device, on, given, 0.03 if smoke else 0.1)
            _two_stages(run, known, given["pairs"] or SCREEN_PAIRS)
            same = {
                case.name: builds.unchanged(sides["base"], sides["head"], case.implementation) for case in run.cases
            }
            found = replace(judge(_passes(run), known, same), unstable_ok=unstable_ok)
            moved = [case for case in run.cases if case.name in found.moved()]
            judgements[device] = found.because(cause.of_kernels(moved, sides["base"], sides["head"], on), files)
            _merge(run)
        return conclude(out, f"gate ab {base} {head}", judgements, about)


def selftest(fraction: float | None, build: str | None, store: str, given: Mapping[str, Any]) -> int:
    """0 when nothing moved by itself and every injected slow-down was found; else 3."""
    known = rules(given["rules"])
    targets = session.targets(given["cpu"], given["gpu"])
    axes = _axes(given, passes.SMOKE)
    if "latency" not in axes.probes:
        raise UsageError(f"probe: expected latency among them, which is slowed down, got {', '.join(axes.probes)}")
    session.whole(axes, targets)
    out = session.fresh_folder(given["out"])
    if build is None:
        own_code()
    with ExitStack() as needed:
        one = builds.here() if build is None else _build(build, store, needed)
        judgements: dict[str, Judgement] = {}
        good = True
        for device, on in targets:
            by = fraction or (0.05 if on == "cuda" else 0.10)
            run = _experiment(out / _folder(device), {"base": one, "head": one}, axes, device, on, given, 0.05)
            slowed = _victims(run)
            run.slow = {case.key: by for case in slowed}
            _two_stages(run, known, given["pairs"] or SCREEN_PAIRS)
            judgements[device] = judge(_passes(run), known)
            good &= _tell(device, judgements[device], {case.name for case in slowed}, by)
        conclude(out, "gate selftest", judgements, {"build": _about(one)})
    say("self-test passed" if good else "self-test failed: this machine cannot be believed")
    return 0 if good else 3


def _victims(run: passes.Experiment) -> list[Any]:
    """Cases to slow down: spread over the plan, none of torch's own."""
    own = [case for case in run.cases if case.probe == "latency" and case.implementation not in ("torch", "copy")]
    return [own[(2 * place + 1) * len(own) // (2 * INJECTED)] for place in range(INJECTED)]


def _tell(device: str, judgement: Judgement, slowed: set[str], by: float) -> bool:
    """Print what the self-test found; whether it is good."""
    timed = [result for result in judgement.results if result.metric.startswith("time")]
    moved = {r.case for r in timed if r.verdict in ("REGRESSED", "IMPROVED", "ENVIRONMENT")}
    found = {r.case for r in timed if r.verdict == "REGRESSED"} & slowed
    others = [r.detectable for r in timed if r.case not in slowed and r.detectable is not None]
    say(f"{device}: {len(timed) - len(slowed)} cases against themselves: {len(moved - slowed)} false alarms")
    say(f"{device}: {by:.0%} injected in {len(slowed)} cases: {len(found)} found")
    for case in sorted(slowed):
        shown = next((r for r in timed if r.case == case), None)
        say(f"  {case}: " + (f"{shown.verdict} {shown.change or 0:+.1%}" if shown else "not measured"))
    if others:
        ordered = sorted(others)
        worst, middle = ordered[-1], ordered[len(ordered) // 2]
        say(f"{device}: minimum detectable effect: {middle:.1%} in the median case, {worst:.1%} in the worst")
    return found == slowed and moved <= slowed


def _build(word: str, store: str, needed: ExitStack) -> Build:
    try:
        return needed.enter_context(builds.built(word, Path(store), say))
    except builds.BuildError as error:
        raise Infrastructure(f"{word} does not build: {error}") from None


def _about(build: Build) -> dict[str, object]:
    return {"name": build.name, "commit": build.commit, "dirty": build.dirty, "parts": build.parts}


def _axes(given: Mapping[str, Any], preset: Axes | None) -> Axes:
    """The cases asked for, over the preset's or the profile's."""
    axes: dict[str, Any] = {"probes": PROBES, "profile": given["profile"]}
    if preset is not None:
        axes = dict(vars(preset))
    asked = {name: value for name, value in given.items() if value and isinstance(value, tuple)}
    return Axes(**{**axes, **asked, "network": given.get("network")})


def _folder(device: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in device)


def _experiment(
    out: Path, sides: Mapping[str, Build], axes: Axes, device: str, kind: str, given: Mapping[str, Any], seconds: float
) -> passes.Experiment:
    cases = passes.cases(axes, device, kind, sides)
    run = passes.Experiment(
        out, sides, cases, device, kind, seconds=given["seconds"] or seconds, seed=given["seed"],
        images=axes.preset.images, say=say,
    )  # fmt: skip
    say(f"{device}: {len(cases)} cases")
    return run


def _two_stages(run: passes.Experiment, known: Rules, screening: int) -> None:
    """Screen all cases, then measure the suspects again, with the controls, in fresh pairs."""
    try:
        with device_lock.held(run.device, say):
            run.pairs("screen", screening, run.cases)
            names, count = suspects(_passes(run), known)
            if not names:
                return
            say(f"{len(names)} suspects, {count} fresh pairs")
            again = [case for case in run.cases if case.name in names or known.is_control(case.name)]
            run.pairs("confirm", count, [case for case in again if case.probe in passes.REPEATED])
    except passes.Broken as error:
        raise Infrastructure(str(error)) from None


def _passes(run: passes.Experiment) -> list[Pass]:
    return [Pass(*found) for found in passes.passes(run.out)]


def _merge(run: passes.Experiment) -> None:
    """Each side as a run folder with pytest-benchmark's JSON."""
    passes.merge(run)
    for side in passes.SIDES:
        fault = replay.benchmark_json(run.out / side)
        if fault:
            say(f"{side}: benchmark.json was not written: {fault}")
