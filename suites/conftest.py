"""Collects a run's cases for pytest-benchmark: `--replay RUN` shows a run there is, else the engine measures first.

Without a run the smoke profile is measured, only the cases that are selected (-k works as usual) and as many of them
as its time allows. The numbers always come from the engine's workers; pytest-benchmark tabulates, stores and compares
them.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

RUN = pytest.StashKey[Path]()
RECORDS = pytest.StashKey[dict[str, dict[str, Any]]]()
CASES = pytest.StashKey[list[Any]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("adapool", "the measuring engine")
    group.addoption("--replay", metavar="RUN", help="show this run folder's records instead of measuring")


def pytest_configure(config: pytest.Config) -> None:
    folder = config.getoption("--replay")
    if folder is None:
        return
    if not (Path(folder) / "records.jsonl").is_file():
        raise pytest.UsageError(f"--replay: expected the folder of a run, got {folder!r} without records.jsonl")
    config.stash[RUN] = Path(folder)
    config.stash[RECORDS] = _read(Path(folder))


def _read(folder: Path) -> dict[str, dict[str, Any]]:
    """Records by probe, then by test name."""
    from reports.store import read

    found: dict[str, dict[str, Any]] = {}
    for record in read(folder):
        metric = None if record.probe == "latency" else record.metric
        words = [record.case, record.clock, metric, record.device if record.device != "cpu" else ""]
        found.setdefault(record.probe, {})["-".join(word for word in words if word)] = record
    return found


def planned(config: pytest.Config) -> list[Any]:
    """The cases measured when there is no run to replay."""
    if CASES not in config.stash:
        from suites import session
        from suites.axes import Axes

        found = session.cases(Axes(profile="smoke"), [("cpu", "cpu")])["cpu"]
        config.stash[CASES] = [case for case in found if case.probe in ("latency", "memory", "retention", "energy")]
    return config.stash[CASES]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    probe, config = metafunc.function.__name__.removeprefix("test_"), metafunc.config
    if "record" not in metafunc.fixturenames:
        return
    if RECORDS in config.stash:
        found = config.stash[RECORDS].get(probe, {})
        metafunc.parametrize("record", list(found), indirect=True)
    else:
        cases = [case for case in planned(config) if case.probe == probe]
        metafunc.parametrize("record", [case.key for case in cases], ids=[case.name for case in cases], indirect=True)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Measure what was selected, once, by the engine."""
    config = session.config
    if RECORDS in config.stash or config.getoption("collectonly"):
        return
    wanted = {item.callspec.params["record"] for item in session.items if hasattr(item, "callspec")}
    if not wanted:
        config.stash[RECORDS] = {}
        return
    from suites import fit
    from suites.axes import Axes
    from suites.session import Session

    folder, axes = Path(tempfile.mkdtemp(prefix="adapool-suites-")), Axes(profile="smoke")
    run = Session(folder, axes, [("cpu", "cpu")])
    plan = fit.fitted([case for case in planned(config) if case.key in wanted], axes, "cpu")
    run.plan, run.left, run.said = {"cpu": plan.cases}, {"cpu": plan.left}, {}  # what is left out is a skipped test
    capture = config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        run.run()
    config.stash[RUN] = folder
    config.stash[RECORDS] = _read(folder)


@pytest.fixture
def record(request: pytest.FixtureRequest) -> list[Any]:
    """The records of one test: the replayed one, or those that its case gave; skipped or failed as they say. Known by
    name, which benchmark.json has room for.
    """
    from suites.records import unit_of

    given = request.param
    held = request.config.stash[RECORDS].get(request.function.__name__.removeprefix("test_"), {})
    found = [held[given]] if given in held else [r for r in held.values() if unit_of(r) == given]
    assert found, f"the engine left no record of {given}"
    for one in found:
        if one.status == "skipped":
            pytest.skip(f"{one.case}: {one.reason}")
        if one.status != "ok":
            pytest.fail(f"{one.case}: {one.status}: {one.reason}\n{one.command}", pytrace=False)
    return found


def _machine(config: pytest.Config) -> dict[str, Any]:
    """The run's machine.json; nothing where there is none."""
    from reports.store import read_machine

    try:
        return read_machine(config.stash[RUN])
    except (OSError, ValueError, KeyError):
        return {}


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_generate_machine_info(config: pytest.Config) -> dict[str, Any]:
    """The devices of the run, without host name; another device makes pytest-benchmark's comparison say so."""
    return {"devices": _machine(config).get("devices", {}), "node": "", "machine": sys.platform, "system": sys.platform}


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_generate_commit_info(config: pytest.Config) -> dict[str, Any]:
    held = _machine(config).get("run", {})
    return {"id": held.get("commit"), "dirty": held.get("dirty"), "project": "adapool", "time": held.get("time")}
