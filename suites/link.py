"""The engine's end of one worker: start, ask with a timeout, kill. Every way to die has a name.

Knows processes and pipes; nothing of cases.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any

from suites import setting
from suites.machine import private

START_SECONDS = 180.0


class Died(RuntimeError):
    """The worker is gone; the text says how."""


class TimedOut(RuntimeError):
    """The worker did not answer in time; it has been killed."""


class Gone(RuntimeError):
    """The worker's machine is lost, and the device with it; the text says how."""


class Link:
    """A worker process in a session of its own, so that Ctrl-C reaches the engine alone."""

    def __init__(self, setup: dict[str, Any], environment: dict[str, str]) -> None:
        self._read, write = os.pipe()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the worker)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "suites.worker"],
            stdin=subprocess.PIPE,
            stdout=self._errors,
            stderr=self._errors,
            pass_fds=(write,),
            env=setting.inherited(environment),
            start_new_session=True,
        )
        os.close(write)
        self._pending = b""
        try:
            self._tell({**setup, "answers": write})
        except Died:
            self.close()
            raise

    def ready(self) -> dict[str, Any]:
        """The device's facts, once the worker can measure; Died with the reason when it cannot."""
        message = self._answer(START_SECONDS)
        if "fault" in message:
            self.kill()
            raise Died(private(str(message["fault"])))
        return dict(message["facts"])

    def ask(self, request: dict[str, Any], timeout: float) -> dict[str, Any]:
        self._tell(request)
        return self._answer(timeout)

    def _tell(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            raise Died(self._post_mortem()) from None

    def _answer(self, timeout: float) -> dict[str, Any]:
        end = time.monotonic() + timeout
        while b"\n" not in self._pending:
            if not select.select([self._read], [], [], max(0.0, end - time.monotonic()))[0]:
                self.kill()
                raise TimedOut(f"no answer within {timeout:g} s; the worker was killed")
            chunk = os.read(self._read, 1 << 16)
            if not chunk:
                raise Died(self._post_mortem())
            self._pending += chunk
        line, _, self._pending = self._pending.partition(b"\n")
        return dict(json.loads(line))

    def _post_mortem(self) -> str:
        """How the process ended, with the last thing it said."""
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.kill()
            return "the worker closed its answers and was killed"
        if code < 0:
            name = signal.Signals(-code).name if -code in signal.Signals.__members__.values() else f"signal {-code}"
            hint = " (the system kills so when memory runs out)" if code == -signal.SIGKILL else ""
            return f"the worker died of {name}{hint}"
        return f"the worker exited with code {code}" + (f": {last}" if (last := self._last_words()) else "")

    def _last_words(self) -> str:
        size = os.fstat(self._errors.fileno()).st_size
        tail = os.pread(self._errors.fileno(), 2000, max(0, size - 2000)).decode(errors="replace")
        lines = [line for line in tail.splitlines() if line.strip()]
        return private(lines[-1])[:200] if lines else ""

    def kill(self) -> None:
        """End the process and what it started."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        """Let an idle worker leave by itself; whoever does not is killed."""
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=2)
        self.kill()
        os.close(self._read)
        self._errors.close()
