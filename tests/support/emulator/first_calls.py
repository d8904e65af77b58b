"""The kernels that a case of the suite says it needs, and those that it makes: run as a module.

Reads a case as JSON from each line and answers with two lists of names in a cache.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import torch

from suites import first_call
from suites.case import Case, of_json
from suites.subjects import build
from tests.support.emulator.tuned import forked


def said(case: Case) -> None:
    make = first_call.maker(0)
    assert sum(make(call) for call in first_call.words(case)) > 0


def run(case: Case) -> None:
    subject = build(case, torch.device("cpu"), 0)
    inputs = [t.requires_grad_(i in subject.wanted) for i, t in enumerate(subject.inputs)]
    with torch.set_grad_enabled(case.direction != "forward" and bool(subject.wanted)):
        y = subject.call(*inputs)
    if y.requires_grad:
        torch.autograd.grad(y, [inputs[i] for i in subject.wanted], torch.ones_like(y))


def kernels(case: Case) -> list[list[str]]:
    names = []
    for work in (said, run):
        with tempfile.TemporaryDirectory() as folder:
            cache = Path(folder, "cache")
            done = forked(lambda work=work: work(case) or "done", {"ADAPOOL_CACHE": str(cache)})
            names.append(sorted(path.name for path in cache.iterdir()) if "done" in done else [done])
    return names


if __name__ == "__main__":
    torch.set_num_threads(1)
    for line in sys.stdin:
        print(json.dumps(kernels(of_json(Case, json.loads(line)))), flush=True)
