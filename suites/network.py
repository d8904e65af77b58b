"""The network probe: a model with its pools exchanged, its forward, its training step, and what of that the pools are.

A training step is forward, loss, backward and a step of SGD; the loss is the mean square of the output, whatever that
is. 16-bit types are autocast over float32 weights. Verified against the same model with plain rows, in float64.
"""

from __future__ import annotations

import copy
import math
import time
from collections import defaultdict
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from adapool import convert, parameter_groups
from adapool.learned import LEARNED
from suites import cuda_graph, energy, memory, models, spent
from suites.case import ORIGINAL, Case
from suites.clocks import Measured, quiet
from suites.finding import Finding
from suites.numbers import Numbers
from suites.sampling import Samples
from suites.span import Span
from suites.stamps import Stamps
from suites.subject import Unavailable, needs_kernel
from suites.timed import Outputs

VERIFIED = 8  # images of the batch that are verified, in float64 too
EXACT = 1e-8  # of itself is as far as a result may be from the plain rows', both in float64
SLACK = 4  # times the plain rows' own distance from float64 is as far as it may be in the case's type,
FLOOR = {"float64": EXACT, "float32": 0.02, "float16": 0.1, "bfloat16": 0.1}  # or this share, where a relu tips over
WATCHED = 5  # steps in which the pools' own time is taken
RATE, MOMENTUM = 1e-3, 0.9


class Network:
    """The model of a case on its device, its images and its optimizer."""

    def __init__(self, case: Case, device: torch.device, seed: int) -> None:
        if case.implementation == "native" and case.method not in LEARNED:
            needs_kernel(case.method, torch.empty(0, device=device))
        self.case, self.device = case, device
        torch.manual_seed(seed)
        self.model = models.make(case.network or "")
        options: Any = {} if case.method in (ORIGINAL, *LEARNED) else {"implementation": case.implementation}
        where, what = (self.model, case.method) if case.method != ORIGINAL else (copy.deepcopy(self.model), "softpool")
        self.places = convert(where, what, strided=case.strided, example=torch.zeros(1, *case.shape[1:]), **options)
        wide = torch.float64 if case.dtype == "float64" else torch.float32
        self.model.to(device=device, dtype=wide)
        x = torch.zeros(case.shape, dtype=wide, device=device)
        if case.layout == "channels_last":
            last = torch.channels_last if x.dim() == 4 else torch.channels_last_3d
            self.model.to(memory_format=last)  # type: ignore[call-overload]
            x = x.contiguous(memory_format=last)
        self.x = x
        self.optimizer = torch.optim.SGD(parameter_groups(self.model), RATE, MOMENTUM)

    def output(self, x: Tensor) -> Tensor:
        """The first tensor that the model gives, under autocast for a 16-bit type."""
        narrow = self.case.dtype.endswith("16")
        with torch.autocast(self.device.type, getattr(torch, self.case.dtype), enabled=narrow):
            y: Any = self.model(x)
        while not isinstance(y, Tensor):  # logits of transformers, a tuple, a dict
            y = y.logits if hasattr(y, "logits") else next(iter(y.values() if hasattr(y, "values") else y))
        return y

    def loss(self, x: Tensor) -> Tensor:
        y = self.output(x)
        return y.to(torch.promote_types(y.dtype, torch.float32)).square().mean()

    def pools(self) -> dict[str, nn.Module]:
        """The pools by the names of their places; a strided convolution as it was has none."""
        found = {place.name: self.model.get_submodule(place.name) for place in self.places.replaced}
        own = {name: getattr(module, "pool", module) for name, module in found.items()}
        return {name: module for name, module in own.items() if not isinstance(module, nn.modules.conv._ConvNd)}


class Call:
    """What a clock calls: a forward in evaluation mode, or a training step; as `suites.timed.Timed` is called."""

    grad = None

    def __init__(self, network: Network, training: bool, seed: int) -> None:
        self.network, self.case, self.training, self.seed, self.turn = network, network.case, training, seed, 0
        self.inputs = [network.x]
        network.model.train(training)
        self.refill()

    def __call__(self) -> Outputs:
        network = self.network
        if not self.training:
            with torch.no_grad():
                return (network.output(network.x),)
        network.optimizer.zero_grad(set_to_none=True)
        loss = network.loss(network.x)
        loss.backward()  # type: ignore[no-untyped-call]
        network.optimizer.step()
        return (loss.detach(),)

    def stage(self) -> list[Tensor]:
        numbers = Numbers(self.seed, self.turn + 1, self.network.device)
        return [numbers.normal(self.case.shape).to(self.network.x.dtype)]

    def refill(self, staged: list[Tensor] | None = None) -> None:
        values = self.stage() if staged is None else staged
        self.turn += 1
        self.network.x.copy_(values[0])

    def state(self) -> list[Tensor]:
        return [self.network.x.clone()]


def measure(case: Case, device: torch.device, clocks: Any, watch: Any, seconds: float, seed: int) -> list[Finding]:
    """Everything of one model with one method; where it computes something wrong, that and no speed."""
    with spent.on("inputs"):
        network = Network(case, device, seed)
        start = {name: value.clone() for name, value in network.model.state_dict().items()}
    with spent.on("verifying"):
        fault, how = verify(network, seed)
    how |= {"places": [_place(place) for place in network.places.replaced], "left": len(network.places.left)}
    if fault is not None:
        return [Finding(metric, status="incorrect", reason=fault, how=how) for metric in ("forward", "step")]
    found = []
    for metric, training in (("forward", False), ("step", True)):
        network.model.load_state_dict(start)
        call = Call(network, training, seed)
        for clock in case.clocks:
            try:
                with spent.on("sampling"):
                    graphed = clock == "graph"
                    measured = graph(call, clocks, seconds) if graphed else clocks.run(call, clock, seconds)
            except Unavailable as reason:
                found.append(Finding(metric, clock=clock, status="skipped", reason=str(reason), how=how))
                continue
            found.append(judged(metric, clock, measured, how))
    call = Call(network, True, seed)
    found += _pools(call, clocks, how)
    network.optimizer.zero_grad(set_to_none=True)  # the step's own gradients count
    peak, source = (memory.cuda_peak if device.type == "cuda" else memory.cpu_peak)(call)  # type: ignore[arg-type]
    found.append(Finding("peak_bytes", value=peak, how={**how, **source}))
    # Less weights and input, which are there anyhow, as the peak is.
    _, source = memory.saved_by(lambda: network.loss(network.x), {network.x, *network.model.parameters()})
    found.append(Finding("saved_bytes", value=float(source["own_bytes"]), how={**how, **source}))
    found.append(Finding("parameters", value=float(sum(p.numel() for p in network.model.parameters())), how=how))
    if watch is not None:
        step = lambda: Call(network, True, seed)  # noqa: E731
        found += energy.measure(step, watch, device, judge=lambda *_: (None, True))
    return found


def judged(metric: str, clock: str, measured: Measured, how: dict[str, Any]) -> Finding:
    """The samples; incorrect where the last timed call gave no finite numbers."""
    facts = {**measured.samples.how, **how}
    if not all(bool(out.isfinite().all()) for out in measured.snapshot):
        reason = f"{metric}: expected finite numbers from the last timed call, got NaN or inf"
        return Finding(metric, clock=clock, status="incorrect", reason=reason, how=facts)
    return Finding(metric, measured.samples, clock=clock, how=facts, warnings=measured.samples.warnings)


def _place(place: Any) -> dict[str, str]:
    return {"name": place.name, "was": place.was.partition("(")[0], "now": place.now, "note": place.note}


def verify(network: Network, seed: int) -> tuple[str | None, dict[str, Any]]:
    """Output and gradients of a training forward against the same model with plain rows: both in float64 to the last
    digits, and the model that is timed, in its type, as near as rounding lets a network be.
    """
    case, device = network.case, network.device
    if case.method == ORIGINAL:
        return None, {"verified": False, "verified_against": "nothing: this is the model as it was"}
    count = min(VERIFIED, case.shape[0])
    x = Numbers(seed, -1, device).normal((count, *case.shape[1:]))
    plain = replace(case, implementation="plain")
    timed, near, wide, right = (
        _results(one, x)
        for one in (
            network,
            Network(plain, device, seed),
            Network(replace(case, dtype="float64"), device, seed),
            Network(replace(plain, dtype="float64"), device, seed),
        )
    )
    worst = 0.0
    for what, value in right.items():
        rounded = SLACK * _apart(near[what], value) + FLOOR[case.dtype]
        for name, found, allowed in (("float64", wide, EXACT), (case.dtype, timed, rounded)):
            off = _apart(found[what], value)
            worst = max(worst, off / allowed if math.isfinite(off) else math.inf)
            if not off <= allowed:
                said = f"{off:.2g} of itself from the plain rows in float64, expected at most {allowed:.2g}"
                return f"{what}, in {name}: {said}", {}
    how = {"verified": True, "verified_against": "the same model with plain rows in float64"}
    return None, {**how, "verify_error": float(f"{worst:.3g}")}


def _results(network: Network, x: Tensor) -> dict[str, Tensor]:
    """The output, the gradients of all weights as one vector, and those of the pools' operands each."""
    network.model.train()
    network.optimizer.zero_grad(set_to_none=True)
    output = network.output(x.to(network.x.dtype))
    output.double().square().mean().backward()  # type: ignore[no-untyped-call]
    named = {p: name for name, p in network.model.named_parameters()}
    weights, *operands = [group["params"] for group in network.optimizer.param_groups]
    grads = [p.grad.double().flatten() for p in weights if p.grad is not None]
    found = {"output": output.detach().double(), "gradient of the weights": torch.cat(grads)}
    for p in operands[0] if operands else ():
        found[f"gradient of {named[p]}"] = p.grad.double()
    network.optimizer.zero_grad(set_to_none=True)
    return found


def _apart(found: Tensor, right: Tensor) -> float:
    norm = float(torch.linalg.vector_norm(right))
    off = float(torch.linalg.vector_norm(found - right))
    return off / norm if norm > 0 else off


def _pools(call: Call, clocks: Any, how: dict[str, Any]) -> list[Finding]:
    """The pools' own time in a training step, where they stand: a sample is a step, of all pools together."""
    pools = call.network.pools()
    if not pools:
        return []
    stamps = Stamps(call.network.device)
    hooks = [hook for name, pool in pools.items() for hook in stamps.around(name, pool)]
    totals: list[float] = []
    each: dict[str, list[float]] = defaultdict(list)
    try:
        begin = time.perf_counter()
        call()  # once before, which may compile
        queued = time.perf_counter() - begin
        with quiet():
            for _ in range(WATCHED):
                stamps.clear()
                if call.network.device.type == "cuda":
                    clocks.block(2 * queued)  # so that the device waits for nobody between two stamps
                call()
                took = stamps.seconds()
                totals.append(sum(took.values()))
                for name, seconds in took.items():
                    each[name].append(seconds)
    except RuntimeError as error:
        return [Finding("pools", status="skipped", reason=f"a pool's hook cannot be set here: {error}", how=how)]
    finally:
        for hook in hooks:
            hook.remove()
    shares = {name: sorted(seconds)[len(seconds) // 2] for name, seconds in each.items()}
    samples = Samples(totals, [True] * len(totals), "max samples", warnings=["few samples"])
    return [Finding("pools", samples, how={**how, "each_s": shares}, warnings=samples.warnings)]


def graph(call: Call, clocks: Any, seconds: float) -> Measured:
    """Replays of a CUDA graph of the whole call: what launching costs is left out."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(stream)
    held: Any = torch.cuda.CUDAGraph()
    outputs = cuda_graph.captured(held, stream, call)

    def sample() -> float:
        clocks.block(1e-4)
        with Span() as span:
            held.replay()
        return span.seconds()

    measured = cuda_graph.replayed(call, outputs, sample, seconds, clocks.rule)
    measured.samples.tell(1, 6, seconds, 0)
    return measured
