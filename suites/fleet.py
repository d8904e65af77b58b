"""A run on the devices of a Ray cluster: an actor for each, the plan shared out among machines that are alike.

The engine drives every device from here, as if it were local, and makes and writes its records here. Every kind of
machine measures the whole plan, so that each has a complete column in the report. Ray is imported when it is asked for.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reports import store
from reports.fleet import fingerprint
from suites import machine, records, shard
from suites.axes import Axes, UsageError
from suites.link import START_SECONDS, Gone
from suites.node import Node, shell

if TYPE_CHECKING:
    from suites.case import Case
    from suites.engine import Device, Run
    from suites.tally import Tally

STORE_BYTES = 80_000_000  # of a cluster of one's own; a reply is a few kilobytes
LOST = "no machine of this kind is left"


@dataclass
class Team:
    """Nodes that are alike, and the cases that wait for one of them."""

    kind: str
    nodes: list[Node] = field(default_factory=list)
    cases: list[Case] = field(default_factory=list)
    moved: list[str] = field(default_factory=list)  # how the nodes were lost that had these cases before

    def devices(self, axes: Axes) -> list[Device]:
        """The waiting cases shared out, what is compared one after the other: so the loss of a node costs little."""
        from suites.engine import Device

        alive = [node for node in self.nodes if node.lost is None]
        made = []
        parts = shard.shares(self.cases, len(alive), axes, self.kind) if alive else []
        moved = {"moved": "; ".join(self.moved)} if self.moved else {}
        for node, part in zip(alive, parts, strict=True):
            if part:
                cases = tuple(case for group in shard.groups(part) for case in group)
                note = {"node": node.number, **moved}
                made.append(Device(node.about["device"], self.kind, cases, {}, {}, node, node.source, note))
        return made


def connect(address: str) -> Fleet:
    """The cluster at this address, or one of this machine alone for `local`; UsageError when there is none."""
    if importlib.util.find_spec("ray") is None:
        raise UsageError("ray: Ray is not installed; python -m pip install 'ray>=2.40' brings it (adapool[ray])")
    os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"  # a thread that outlives the run must not start a cluster
    import ray

    given: dict[str, Any] = {"address": address, "log_to_driver": False, "logging_level": logging.CRITICAL}
    if address == "local":
        given |= {"object_store_memory": STORE_BYTES, "include_dashboard": False}
    before = signal.getsignal(signal.SIGTERM)
    try:
        host, _, port = address.rpartition(":")
        if host and "/" not in address:  # Ray would try for a minute before it says so
            socket.create_connection((host, int(port)), timeout=10).close()
        ray.init(**given)
    except Exception as error:
        why = str(error).strip().splitlines() or [type(error).__name__]
        raise UsageError(f"ray: expected local or the address of a cluster, got {address!r} ({why[0]})") from None
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)  # Ray's own would end the run without its report
    return Fleet(address)


class Fleet:
    """The cluster that this process is connected to."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._nodes: list[Node] = []

    def _machines(self) -> list[dict[str, Any]]:
        import ray

        alive = [node for node in ray.nodes() if node["Alive"]]
        return sorted(alive, key=lambda node: str(node["NodeID"]))

    def targets(self, cpu: bool, gpu: str | None) -> list[tuple[str, str]]:
        """(id, kind) of the kinds of device that are meant; UsageError where the cluster has no such device."""
        if gpu not in (None, "all"):
            raise UsageError(f"gpu: expected all beside --ray (Ray gives the GPUs out), got {gpu!r}")
        there = sum(int(node["Resources"].get("GPU", 0)) for node in self._machines())
        if gpu and not there:
            raise UsageError("gpu: expected a GPU in the cluster, Ray lists none")
        found = [("gpu", "cuda")] if gpu or (there and not cpu) else []
        return [*found, ("cpu", "cpu")] if cpu or not found else found

    def nodes(self, kinds: Sequence[str], axes: Axes, say: Callable[[str], object]) -> list[Node]:
        """An actor with a worker for each GPU, or one for each machine that may compute; those that do not start are
        said. UsageError when none does.
        """
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        actor = ray.remote(shell(str(machine.ROOT)))
        made: list[Node] = []
        for there in self._machines():
            for kind in kinds:
                processors = there["Resources"].get("CPU", 0)
                count = int(there["Resources"].get("GPU", 0)) if kind == "cuda" else int(processors >= 1)
                options = {"num_gpus": 1, "num_cpus": 0} if kind == "cuda" else {"num_gpus": 0, "num_cpus": processors}
                pinned = NodeAffinitySchedulingStrategy(there["NodeID"], soft=False)
                for _ in range(count):
                    placed = actor.options(max_concurrency=4, scheduling_strategy=pinned, **options)
                    made.append(Node(len(made) + 1, kind, placed.remote(kind, asdict(axes))))
        self._nodes = made
        good = self._started(made, say)
        if not good:
            raise UsageError("ray: no device of the cluster could be started")
        same: dict[str, set[Any]] = {}
        for node in good:
            same.setdefault(machine.key(node.facts), set()).add(node.about["machine"])
        for node in good:
            if len(same[machine.key(node.facts)]) > 1:
                node.mark = {"node": node.about["machine"]}
        return good

    def _started(self, nodes: list[Node], say: Callable[[str], object]) -> list[Node]:
        """The nodes whose worker is there. Once there is one, the others have START_SECONDS."""
        import ray

        waiting = {node.actor.call.remote("start"): node for node in nodes}
        good: list[Node] = []
        end, told = time.monotonic() + START_SECONDS, False
        while waiting and (not good or time.monotonic() < end):
            for ready in ray.wait(list(waiting), timeout=5.0)[0]:
                node = waiting.pop(ready)
                try:
                    answer = ray.get(ready)
                    if "died" in answer:
                        raise Gone(answer["died"])
                    node.about, node.facts = node.call("about"), answer["facts"]
                    node.source = node.about["source"]
                    good.append(node)
                except Exception as error:
                    say(f"{node} is not used: {machine.private(str(error)[-300:])}")
            if waiting and not told:
                told = True
                say(f"waiting for {len(waiting)} of {len(nodes)} devices of the cluster")
        for node in waiting.values():
            say(f"{node} is not used: Ray has not given it out within {START_SECONDS:.0f} s")
        return sorted(good, key=lambda node: node.number)

    def measure(
        self, run: Run, plans: Sequence[tuple[str, Sequence[Case]]], folder: Path, entries: dict[str, Any]
    ) -> Tally:
        """Measures what the run has no record of, round after round, as long as nodes are lost and others are left."""
        nodes = self.nodes([kind for kind, _ in plans], run.axes, run.progress.say)
        teams: dict[str, Team] = {}
        for node in nodes:
            node.gallery = folder / "gallery"
            teams.setdefault(node.team, Team(node.kind)).nodes.append(node)
        past, last = measured(folder, entries)
        for name, team in teams.items():
            done = past.get(name, set()) - {last}
            plan = next(cases for kind, cases in plans if kind == team.kind)
            team.cases = [c for group in shard.groups(plan) if not {c.key for c in group} <= done for c in group]
            run.progress.more(len(team.cases))
        while any(team.cases for team in teams.values()) and not run.stop.is_set():
            devices = [device for team in teams.values() for device in team.devices(run.axes)]
            for team in teams.values():
                team.cases, team.moved = [], []
            run.go(devices, parallel=True)
            self._give_again(run, teams)
        return run.tally

    def _give_again(self, run: Run, teams: dict[str, Team]) -> None:
        """What lost nodes have left goes to the others of their team; without any it is recorded as failed."""
        gone, run.gone = run.gone, []
        for device, _, why in gone:
            device.place.lost = why
        for device, done, why in gone:
            team = teams[device.place.team]
            at = _start(device.cases, done)
            left = device.cases[at:]
            run.progress.more(done - at)
            if any(node.lost is None for node in team.nodes):
                run.progress.say(f"{why}; another measures its last {len(left)} cases")
                team.cases += left
                team.moved.append(why)
                continue
            run.progress.say(f"{why}; {LOST} for its last {len(left)} cases")
            key = machine.key({**device.place.facts, **device.place.mark})
            origin = records.Origin(device.id, key, device.place.source, run.axes.seed, device.note)
            for case in left:
                run.write(case, records.ended(case, "failed", f"{LOST}: {why}"), origin)

    def close(self) -> None:
        """Lets the workers leave, and the cluster go."""
        import ray

        for node in self._nodes:
            node.over.set()
        with contextlib.suppress(Exception):  # whoever is lost has left
            leaving = [node.actor.call.remote("leave") for node in self._nodes]
            ray.wait(leaving, num_returns=len(leaving), timeout=5.0)
        ray.shutdown()


def _start(cases: Sequence[Case], done: int) -> int:
    """Where the group begins that was being measured: its cases are compared, so it is measured whole elsewhere."""
    at = 0
    for group in shard.groups(cases):
        if at + len(group) > done:
            break
        at += len(group)
    return at


def measured(folder: Path, entries: dict[str, Any]) -> tuple[dict[str, set[str]], str | None]:
    """The cases that every kind of machine has a record of, and the last of all, which may have been cut short."""
    found: dict[str, set[str]] = {}
    last = None
    for record in store.read(folder):
        last = records.unit_of(record)
        name = fingerprint(entries.get(record.machine, {}), record.commit, record.dirty, record.version)
        if not (record.reason or "").startswith(LOST):
            found.setdefault(name, set()).add(last)
    return found, last
