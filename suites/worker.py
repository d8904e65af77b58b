"""One process for one device: reads a case a line, measures it, answers a line. Dies alone when a case kills it.

Started by the engine as `python -m suites.worker`; the first line on stdin is the setup, answers go to the descriptor
that the setup names, so that whatever an operator prints cannot spoil them. A setup may name a `build`, the folder from
which adapool comes, and cases to `slow` down by a fraction. Knows nothing of plans or records.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import json
import os
import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from suites.case import Case
    from suites.finding import Finding


class Workbench:
    """The device, its clocks and its watch, kept for all the cases of this process."""

    def __init__(self, setup: dict[str, Any]) -> None:
        import torch

        from suites import machine, nvml

        self.setup = setup
        self.device = machine.device(setup["kind"])
        torch.set_num_threads(setup["threads"])
        self.stack = contextlib.ExitStack()
        self.watch: nvml.Watch | None = None
        if setup["kind"] == "cuda":
            module = self.stack.enter_context(nvml.session())
            self.watch = nvml.Watch(module, setup["device"]) if module is not None else None
            facts = {"kind": "cuda", **(self.watch.facts() if self.watch else {}), "uuid": setup["device"]}
        else:
            facts = machine.cpu()
        if self.device.type == "cuda":
            from suites.cuda_clocks import CudaClocks

            more = torch.cuda.get_device_properties(0)
            facts |= {"sm_count": more.multi_processor_count, "l2_bytes": more.L2_cache_size, "name": more.name}
            self.clocks: Any = CudaClocks(machine.flush_bytes(facts))
        else:
            from suites.clocks import CpuClocks

            self.clocks = CpuClocks(machine.flush_bytes(facts))
        self.facts = {**facts, "software": machine.software(), "threads": torch.get_num_threads()}
        self.health()
        gc.collect()
        gc.freeze()  # torch's objects are no garbage: collecting between cases must not walk them

    def health(self) -> None:
        """A small sum with a known answer; raises when the device does not give it."""
        import torch

        total = float(torch.arange(1000.0, device=self.device).sum())
        if total != 499500.0:
            raise RuntimeError(f"health check: expected 499500, the device gave {total}")

    def prepare(self, request: dict[str, Any]) -> list[Any]:
        """What the first call of each case takes; none where the device compiles nothing."""
        from adapool import native
        from suites import first_call
        from suites.case import Case, of_json

        if self.device.type != "cuda" or native.status()["cuda"] != "ok":
            return [None for _ in request["prepare"]]
        cases = [of_json(Case, case) for case in request["prepare"]]
        return first_call.prepare(cases, first_call.maker(0), self.setup["threads"])

    def measure(self, request: dict[str, Any]) -> list[Any]:
        from suites import latency, machine, spent
        from suites.case import Case, of_json
        from suites.nvml import warnings as said
        from suites.sampling import Rule

        case, seed = of_json(Case, request["case"]), self.setup["seed"]
        before = self.watch.state() if self.watch else None
        work = machine.work()
        if case.probe == "latency":
            self.clocks.rule = Rule(**request.get("rule", {}))
            slower = self.setup.get("slow", {}).get(case.key, 0.0)
            found = latency.measure(case, self.device, self.clocks, request["seconds"], seed, slower)
        elif case.probe == "network":
            from suites import network

            self.clocks.rule = Rule(**request.get("rule", {}))
            found = network.measure(case, self.device, self.clocks, self.watch, request["seconds"], seed)
        else:
            with spent.on(case.probe):
                found = self._apart(case, seed)
        after = self.watch.state() if self.watch else None
        for finding in found:
            if self.watch and case.probe in ("latency", "network"):
                finding.how |= {"state_before": before, "state_after": after}
                finding.warnings += said(before, after)
            if finding.clock and self.device.type == "cpu":
                others = machine.others(work, machine.work())
                finding.how["others_cpu"] = others
                finding.warnings += ["busy machine"] * (others is not None and others > machine.BUSY)
            if case.probe in ("latency", "memory", "network"):
                finding.how["threads"] = self.setup["threads"]
        return found

    def _apart(self, case: Case, seed: int) -> list[Finding]:
        """The probes that no clock belongs to."""
        from suites import energy, memory, retention
        from suites.subjects import build
        from suites.timed import Timed

        if case.probe == "memory":
            return memory.measure(case, self.device, seed)
        if case.probe == "energy":
            return energy.measure(lambda: Timed(build(case, self.device, seed), case, seed), self.watch, self.device)
        gallery, shown = self.setup["gallery"], self.setup["shown"]
        return retention.measure(
            case, self.device, seed, self.setup["images"], Path(gallery) if gallery else None, shown
        )


def answer(bench: Workbench, request: dict[str, Any]) -> dict[str, Any]:
    """The findings of one case, or the status and reason that it ended with instead."""
    import torch

    from suites import numbers, nvml, spent, verify
    from suites.subject import Unavailable

    begin = time.perf_counter()
    kept = [store for store in (numbers.kept, verify.known) if len(store)]  # by the cases before this one
    lost = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if "prepare" in request:
                return {"prepared": bench.prepare(request), "seconds": time.perf_counter() - begin}
            found = [dataclasses.asdict(finding) for finding in bench.measure(request)]
        return {"findings": found, "seconds": time.perf_counter() - begin, "spent": spent.collect()}
    except Unavailable as reason:
        status, text = "skipped", str(reason)
    except NotImplementedError as error:  # torch's own has no such dtype here: that is no fault of a case
        status, text = ("skipped" if request["case"]["implementation"] == "torch" else "failed"), str(error)
    except nvml.Lost as error:
        status, text, lost = "failed", str(error), True
    except (torch.OutOfMemoryError, MemoryError) as error:
        status, text = "oom", str(error) or "out of memory"
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
        status = "oom" if "can't allocate memory" in text or "out of memory" in text else "failed"
    sticky = "CUDA error" in text or "device-side assert" in text
    if status == "oom":
        numbers.kept.clear()
        verify.known.clear()
        if bench.device.type == "cuda":
            torch.cuda.empty_cache()
        if kept:  # which may be what it lacked
            return answer(bench, request)
    seconds = time.perf_counter() - begin
    return {
        "status": status, "reason": text, "restart": sticky, "lost": lost, "seconds": seconds, "spent": spent.collect(),
    }  # fmt: skip


def main() -> None:
    lines = map(json.loads, sys.stdin)
    setup = next(lines)
    with os.fdopen(setup["answers"], "w") as out:

        def say(message: dict[str, Any]) -> None:
            out.write(json.dumps(message) + "\n")
            out.flush()

        try:
            if setup.get("build") is not None:
                from suites.build_import import enter

                enter(setup["build"])
            bench = Workbench(setup)
        except Exception as error:
            say({"fault": f"{type(error).__name__}: {error}"})
            return
        say({"ready": True, "facts": bench.facts})
        for request in lines:
            say(answer(bench, request))


if __name__ == "__main__":
    main()
