"""One device of a Ray cluster, as a loop of the engine reaches it: a place, a worker behind an actor.

Every error of Ray is the loss of the device. Knows no plan.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reports import store
from reports.fleet import fingerprint
from suites.link import Died, Gone, TimedOut

if TYPE_CHECKING:
    from suites.engine import Device

POLL_SECONDS = 1.0


def shell(root: str) -> Any:
    """The actor's class, sent by value: a machine needs the checkout at the same path, or on its PYTHONPATH."""

    class Shell:
        def __init__(self, kind: str, axes: dict[str, Any]) -> None:
            import sys

            sys.path.insert(0, root)
            from suites.remote import Keeper

            self.keeper = Keeper(kind, axes)

        def call(self, name: str, *arguments: Any) -> Any:
            return getattr(self.keeper, name)(*arguments)

    return Shell


class Node:
    """One device of the cluster behind its actor: a place as the engine knows them."""

    shared = True
    starts = 3

    def __init__(self, number: int, kind: str, actor: Any) -> None:
        self.number, self.kind, self.actor = number, kind, actor
        self.about: dict[str, Any] = {}
        self.source: dict[str, Any] = {}  # the code that runs there, as records state it
        self.facts: dict[str, Any] = {}
        self.mark: dict[str, Any] = {}  # what tells it from nodes that differ in nothing else
        self.gallery: Path | None = None
        self.lost: str | None = None
        self.over = threading.Event()

    def __str__(self) -> str:
        return f"node {self.number}"

    @property
    def team(self) -> str:
        code = self.source
        return fingerprint(self.facts, code["commit"], code["dirty"], code["version"])

    def call(self, name: str, *arguments: Any) -> Any:
        """What the keeper's method gives; Gone when there is no keeper any more."""
        import ray

        try:
            answer = self.actor.call.remote(name, *arguments)
            while not self.over.is_set():
                with contextlib.suppress(ray.exceptions.GetTimeoutError):
                    return ray.get(answer, timeout=POLL_SECONDS)
        except Exception as error:  # Ray's errors are many, and an unknown one leaves the device as lost
            raise Gone(f"{self} was lost ({type(error).__name__})") from None
        raise Gone("the run was stopped")

    def tell(self, name: str, *arguments: Any) -> None:
        """Calls without waiting, whether or not there is anyone to hear it."""
        with contextlib.suppress(Exception):
            self.actor.call.remote(name, *arguments)

    @contextmanager
    def held(self, device: Device, say: Callable[[str], object], stopped: Callable[[], bool]) -> Iterator[bool]:
        """The lock of the device on its own machine, after waiting for whoever has it."""
        mine = self.call("hold")
        if not mine:
            say(f"{self}: {device.id} of its machine is being measured; waiting until that ends")
        while not mine and not stopped():
            time.sleep(POLL_SECONDS)
            mine = self.call("hold")
        try:
            yield mine
        finally:
            self.tell("release")

    def link(self, device: Device) -> Remote:
        return Remote(self)


class Remote:
    """A worker behind an actor, with the methods of a Link."""

    def __init__(self, node: Node) -> None:
        self.node = node

    def ready(self) -> dict[str, Any]:
        answer = self.node.call("start")
        if "died" in answer:
            raise Died(answer["died"])
        return {**answer["facts"], **self.node.mark}

    def ask(self, request: dict[str, Any], timeout: float) -> dict[str, Any]:
        answer = self.node.call("ask", request, timeout)
        if "late" in answer:
            raise TimedOut(answer["late"])
        if "died" in answer:
            raise Died(answer["died"])
        for name, content in answer["pictures"].items():
            if self.node.gallery is not None and not (self.node.gallery / name).exists():
                store.write_file(self.node.gallery / name, content)
        return dict(answer["reply"])

    def kill(self) -> None:
        self.node.over.set()
        self.node.tell("stop", True)

    def close(self) -> None:
        with contextlib.suppress(Gone):
            self.node.call("stop", False)
