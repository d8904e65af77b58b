"""One device of this machine for a run that is driven from another: what it is, its lock, its worker.

Lives in an actor, and knows no Ray: every method gives plain data, and may be called while another one waits.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path
from typing import Any

from suites import device_lock, machine, nvml, provenance, setting
from suites.axes import Axes
from suites.case import of_json
from suites.link import Died, Link, TimedOut


class Keeper:
    """Holds the one device of its kind that this process may see."""

    def __init__(self, kind: str, axes: dict[str, Any]) -> None:
        provenance.check()
        seen = nvml.listed() if kind == "cuda" else []
        if kind == "cuda" and len(seen) != 1:
            raise RuntimeError(f"expected to see one GPU, NVML lists {len(seen)}")
        self.device = seen[0].uuid if seen else "cpu"
        self._pictures = Path(tempfile.mkdtemp(prefix="adapool-"))
        self._setup = setting.setup(self.device, kind, of_json(Axes, axes), self._pictures)
        self._environment = setting.environment(self.device, kind)
        self._link: Link | None = None
        self._facts: dict[str, Any] = {}
        self._lock = contextlib.ExitStack()

    def about(self) -> dict[str, Any]:
        """The device, the machine and the code here."""
        return {"device": self.device, "machine": machine.identity(), "source": provenance.source()}

    def hold(self) -> bool:
        """Takes the device's lock if nobody has it."""
        with contextlib.ExitStack() as trial:
            if trial.enter_context(device_lock.held(self.device, lambda words: None, lambda: True)):
                self._lock = trial.pop_all()
                return True
        return False

    def release(self) -> None:
        self._lock.close()

    def start(self) -> dict[str, Any]:
        """Starts a worker unless there is one; its facts, or how it died."""
        try:
            if self._link is None:
                self._link = Link(self._setup, self._environment)
                self._facts = self._link.ready()
        except (Died, TimedOut) as error:
            self.stop(True)
            return {"died": str(error)}
        return {"facts": self._facts}

    def ask(self, request: dict[str, Any], timeout: float) -> dict[str, Any]:
        """The worker's reply and the pictures it made, or how it died, or that it took too long and was killed."""
        if self._link is None:
            return {"died": "the worker was stopped"}
        try:
            reply = self._link.ask(request, timeout)
        except TimedOut as error:
            return {"late": str(error)}
        except Died as error:
            return {"died": str(error)}
        made = sorted(self._pictures.glob("*.png"))
        pictures = {path.name: path.read_bytes() for path in made}
        for path in made:
            path.write_bytes(b"")  # the worker asks whether a picture is there before it makes it
        return {"reply": reply, "pictures": {name: content for name, content in pictures.items() if content}}

    def stop(self, kill: bool) -> None:
        link, self._link = self._link, None
        if link is not None and kill:
            link.kill()
        if link is not None:
            link.close()

    def leave(self) -> None:
        """The run is over."""
        self.stop(False)
        self.release()
        shutil.rmtree(self._pictures, ignore_errors=True)
