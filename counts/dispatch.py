"""What a call costs in things that can be counted: dispatched operators, bytes saved for backward, graph breaks.

Also whether the compiled operators ran, so that a method that silently fell back to its row is seen. Counts repeat
exactly for one version of torch. Knows subjects; nothing of baselines.
"""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Sequence
from itertools import product
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from suites.case import INVERSES, Case
from suites.memory import saved_bytes
from suites.subject import Unavailable
from suites.subjects import build
from suites.timed import Timed

SHAPE = (2, 4, 13, 15)
WINDOWS = {"k2s2p0": ((2, 2), (2, 2), (0, 0)), "k3s2p1": ((3, 3), (2, 2), (1, 1))}
DTYPES = ("float32", "bfloat16")


class Operators(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the operators that reach the dispatcher's end, apart from views, which cost nothing."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not func.is_view:
            self.seen[str(func)] += 1
        return func(*args, **(kwargs or {}))

    @property
    def native(self) -> int:
        return sum(count for name, count in self.seen.items() if name.startswith("adapool."))


def rows(methods: Sequence[str] = ()) -> tuple[dict[str, dict[str, int]], dict[str, str]]:
    """Counts of every method and window, and the rows that failed with their reason."""
    found: dict[str, dict[str, int]] = {}
    failed: dict[str, str] = {}
    for key, case in cases(methods).items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found[key] = count(case)
        except Unavailable:
            continue
        except Exception as error:
            failed[key] = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return found, failed


def known() -> tuple[str, ...]:
    """The methods whose calls are counted."""
    from adapool import registry
    from adapool.learned import LEARNED

    return (*registry.names(), *LEARNED, *(name for name in INVERSES if name != "max_unpool"))


def cases(methods: Sequence[str]) -> dict[str, Case]:
    """Every method as it runs by itself (auto) and on its row (plain); learned modules and inverses as they are."""
    from adapool import registry

    found = {}
    for method in methods or known():
        direction = "inverse" if method in INVERSES else "forward"
        dtypes, ways = (DTYPES, ("auto", "plain")) if method in registry.names() else (DTYPES[:1], ("auto",))
        for (name, window), dtype, how in product(WINDOWS.items(), dtypes, ways):
            kernel, stride, padding = window
            case = Case("memory", method, how, direction, kernel, stride, padding, False, SHAPE, dtype, "nchw")
            found[f"{method}/{how}/{dtype}/{name}"] = case
    return found


def count(case: Case) -> dict[str, int]:
    """The counts of one case on the CPU."""
    device = torch.device("cpu")
    subject = build(case, device, seed=0)
    leaves = [t.detach().requires_grad_(i in subject.wanted) for i, t in enumerate(subject.inputs)]
    with Operators() as forward:
        y = subject.call(*leaves)
    found = {"forward": sum(forward.seen.values()), "native_forward": forward.native}
    if subject.wanted:
        grad = torch.ones_like(y)
        with Operators() as backward:
            torch.autograd.grad(y, [leaves[i] for i in subject.wanted], grad, allow_unused=True)
        saved, _ = saved_bytes(Timed(subject, case, 0))
        found |= {"backward": sum(backward.seen.values()), "native_backward": backward.native, "saved": int(saved)}
    if case.dtype == "float32" and case.window == "k2s2p0" and os.environ.get("TORCHDYNAMO_DISABLE") != "1":
        found["breaks"] = breaks(subject.call, leaves)
    return found


def breaks(call: Any, leaves: list[torch.Tensor]) -> int:
    """Places where torch.compile has to leave the graph."""
    import torch._dynamo as dynamo

    dynamo.reset()
    explained: Any = dynamo.explain(call)(*leaves)
    return int(explained.graph_break_count)
