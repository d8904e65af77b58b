"""The right derivative or one sentence: compiled operators under every transform, against their rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.autograd.forward_ad as fwd
from torch import Tensor

import adapool
from adapool import get, native, pool
from tests.support.native_places import DEVICES, need
from tests.support.problems import of_each_kind

pytestmark = [
    pytest.mark.filterwarnings("ignore:There is a performance drop"),  # torch has no batching rule for unfold's adjoint
    pytest.mark.filterwarnings("ignore:Attempted to insert a get_attr Node"),  # torch.func.linearize's own
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
METHODS = sorted(native.METHODS)
WEIGHTED = [name for name in METHODS if get(name).extra == "weights"]
WINDOW = ((3, 2), (2, 2), (1, 0))
SECOND = "first derivatives only; for a second derivative use implementation='plain'"

Function = Callable[..., Tensor]
Transform = Callable[[Function, tuple[Tensor, ...]], Any]


@pytest.fixture(autouse=True)
def _compiled() -> None:
    need("cpu")
    torch.compiler.reset()


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def operands(method: str, device: str) -> dict[str, Tensor]:
    """Every operand of the method as a tensor, per channel where it is one for a cell."""
    found = {}
    for seed, spec in enumerate(get(method).operands, 1):
        shape = {"cell": (2, 1, 1), "input": (3, 2, 6, 7), "random": (3, 2, 3, 3)}[spec.kind]
        found[spec.name] = (random(*shape, seed=seed).sigmoid() + (spec.least or 0)).to(device)
    return found


def pooling(method: str, implementation: str, device: str = "cpu", **more: Any) -> tuple[Function, tuple[Tensor, ...]]:
    """The method as a function of x and its operands, and values for them."""
    given = operands(method, device)

    def call(x: Tensor, *tensors: Tensor) -> Tensor:
        named = dict(zip(given, tensors, strict=True))
        return pool(x, method, *WINDOW, implementation=implementation, **named, **more)  # type: ignore[arg-type]

    x = random(3, 2, 6, 7).to(device)
    return call, (x.abs() if method == "lp" else x, *given.values())


def unpooling(method: str, implementation: str, device: str = "cpu") -> tuple[Function, tuple[Tensor, ...]]:
    """The same of the inverse, from a guide or, for "weights", from stored ones."""
    y = random(3, 2, 3, 3, seed=8).to(device)
    if method == "weights":
        weights = random(3, 2, 3, 3, 6, seed=9).to(device)
        options: dict[str, Any] = {"output_size": (6, 7), "implementation": implementation}
        return lambda y, weights: adapool.unpool_weights(y, weights, *WINDOW, **options), (y, weights)
    given = operands(method, device)

    def call(y: Tensor, x: Tensor, *tensors: Tensor) -> Tensor:
        named = dict(zip(given, tensors, strict=True))
        return adapool.unpool(y, x, method, *WINDOW, implementation=implementation, **named)  # type: ignore[arg-type]

    return call, (y, random(3, 2, 6, 7).to(device), *given.values())


def numbers(f: Function) -> Function:
    return lambda *args: f(*args).square().sum()


def trained(f: Function, args: tuple[Tensor, ...]) -> Any:
    leaves = [t.detach().clone().requires_grad_() for t in args]
    return torch.autograd.grad(numbers(f)(*leaves), leaves, materialize_grads=True)


def every(args: tuple[Tensor, ...]) -> tuple[int, ...]:
    return tuple(range(len(args)))


def ones(args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(torch.ones_like(t) for t in args)


def dual(f: Function, args: tuple[Tensor, ...]) -> Any:
    with fwd.dual_level():
        made = [fwd.make_dual(t, torch.ones_like(t)) for t in args]
        return fwd.unpack_dual(f(*made)).tangent


def mapped(f: Function, args: tuple[Tensor, ...]) -> Function:
    """One sample at a time: what lies as x does is mapped, operands per channel are shared."""
    dims = tuple(0 if t.dim() == args[0].dim() or t.shape[0] == 3 else None for t in args)
    return torch.vmap(lambda *one: f(*(t if d is None else t[None] for t, d in zip(one, dims, strict=True)))[0], dims)


def mapped_grad(f: Function, args: tuple[Tensor, ...]) -> Any:
    dims = tuple(0 if t.dim() == args[0].dim() or t.shape[0] == 3 else None for t in args)

    def one(*sample: Tensor) -> Tensor:
        return numbers(f)(*(t if d is None else t[None] for t, d in zip(sample, dims, strict=True)))

    return torch.vmap(torch.func.grad(one, every(args)), dims)(*args)


TRANSFORMS: dict[str, Transform] = {
    "backward": trained,
    "vmap, then backward": lambda f, a: trained(mapped(f, a), a),
    "grad": lambda f, a: torch.func.grad(numbers(f), every(a))(*a),
    "grad of vmap": lambda f, a: torch.func.grad(numbers(mapped(f, a)), every(a))(*a),
    "vmap of grad": mapped_grad,
    "jacrev of vmap": lambda f, a: torch.func.jacrev(lambda *b: mapped(f, a)(*b).sum((0, 2, 3)), every(a))(*a),
    "value within a grad": lambda f, a: torch.func.grad(
        lambda *b: torch.func.grad_and_value(numbers(f))(*b)[1], every(a)
    )(*a),
    "jvp": lambda f, a: torch.func.jvp(f, a, ones(a))[1],
    "jvp of vmap": lambda f, a: torch.func.jvp(mapped(f, a), a, ones(a))[1],
    "linearize": lambda f, a: torch.func.linearize(f, *a)[1](*ones(a)),
    "jacfwd": lambda f, a: torch.func.jacfwd(lambda *b: f(*b).sum((0, 2, 3)), every(a))(*a),
    "dual level": dual,
    "grad of jvp": lambda f, a: torch.func.grad(lambda x: torch.func.jvp(f, (x, *a[1:]), ones(a))[1].square().sum())(
        a[0]
    ),
}


def same(found: Any, expected: Any) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("method", METHODS)
def test_pooling(method: str, transform: str, device: str) -> None:
    need(device)
    run = TRANSFORMS[transform]
    same(run(*pooling(method, "native", device)), run(*pooling(method, "plain", device)))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("method", [*WEIGHTED, "weights"])
def test_unpooling(method: str, transform: str, device: str) -> None:
    need(device)
    run = TRANSFORMS[transform]
    same(run(*unpooling(method, "native", device)), run(*unpooling(method, "plain", device)))


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("method", ["ada", "lip", "dpp"])
def test_constant_weights(method: str, transform: str) -> None:
    run = TRANSFORMS[transform]
    same(*(run(*pooling(method, implementation, gradient="detached")) for implementation in ("native", "plain")))


REFUSED: dict[str, Transform] = {
    "hessian": lambda f, a: torch.func.hessian(numbers(f))(*a),
    "jvp of grad": lambda f, a: torch.func.jvp(torch.func.grad(numbers(f), every(a)), a, ones(a)),
    "jacrev of jacrev": lambda f, a: torch.func.jacrev(torch.func.jacrev(numbers(f)))(*a),
    "double backward": lambda f, a: torch.autograd.functional.hessian(numbers(f), a),
    "dual level": lambda f, a: dual(torch.func.grad(numbers(f)), a),
}


@pytest.mark.parametrize("transform", REFUSED)
@pytest.mark.parametrize("make", [pooling, unpooling])
def test_second_derivatives_are_refused_in_one_sentence(make: Any, transform: str) -> None:
    with pytest.raises(RuntimeError, match=SECOND) as raised:
        REFUSED[transform](*make("ada", "native"))
    assert "\n" not in str(raised.value)


COMPILED = ("backward", "vmap, then backward", "grad", "grad of vmap", "vmap of grad", "jvp", "jacfwd")
INDUCTOR = ("backward", "grad", "vmap of grad", "jvp")  # what comes to Inductor is the same graph in other orders


@pytest.mark.parametrize(
    ("transform", "backend"), [*((t, "aot_eager") for t in COMPILED), *((t, "inductor") for t in INDUCTOR)]
)
def test_compiled(transform: str, backend: str) -> None:
    """As eagerly, where the row's answer has been compared above; several methods in one graph where that can be."""
    names = of_each_kind(METHODS)
    if transform in ("jvp", "jacfwd"):  # which trace the row
        names = ["ada", "max"] if backend == "aot_eager" else ["ada"]
    cases = [pooling(name, "native") for name in names]
    cases += [unpooling(name, "native") for name in ("ada", "weights") if len(names) > 1]
    run = TRANSFORMS[transform]
    expected = [run(*case) for case in cases]
    if transform.endswith("backward"):  # forward compiled, backward by autograd: what a training script does
        found = []
        for f, args in cases:
            torch.compiler.reset()
            whole = mapped(f, args) if "vmap" in transform else f
            found.append(trained(torch.compile(whole, backend=backend, fullgraph=True), args))
    else:
        found = torch.compile(lambda: [run(*case) for case in cases], backend=backend)()
    same(found, expected)


@pytest.mark.soak
@pytest.mark.parametrize("name", METHODS)
def test_compiled_tangents_of_every_row(name: str) -> None:
    """A method is a word to a graph, but for jvp, which traces its row."""
    f, args = pooling(name, "native")
    same(torch.compile(lambda: TRANSFORMS["jvp"](f, args), backend="aot_eager")(), TRANSFORMS["jvp"](f, args))


def test_compiled_without_a_graph_break() -> None:
    f, args = pooling("ada", "native")
    slope = torch.func.grad(numbers(f), every(args))
    same(torch.compile(slope, backend="aot_eager", fullgraph=True)(*args), slope(*args))


OPS = torch.ops.adapool
FRAME = ([3, 2], [2, 2], [1, 0], False)


def bare(x: Tensor, beta: Tensor) -> dict[str, Callable[[], Any]]:
    """The four operators, as a program that knows nothing of this library's Python calls them."""
    size, tensor = list(x.shape[2:]), [native.TENSOR]
    y, guide = random(3, 2, 3, 3, seed=3), random(3, 2, 6, 7, seed=4)
    return {
        "pool": lambda: OPS.pool(x, [beta], "ada", *FRAME, tensor, False)[0],
        "pool_backward": lambda: OPS.pool_backward(y, x, [beta], "ada", *FRAME, tensor, False, [1, 1])[0],
        "unpool": lambda: OPS.unpool(y, x, [beta], "ada", size, *FRAME, tensor, True),
        "unpool_backward": lambda: OPS.unpool_backward(guide, y, x, [beta], "ada", *FRAME, tensor, True, [1, 1, 1])[1],
    }


@pytest.mark.parametrize("operator", ["pool", "pool_backward", "unpool", "unpool_backward"])
@pytest.mark.parametrize("through", ["x", "beta"])
def test_a_bare_operator_returns_no_result_without_its_gradient_or_tangent(operator: str, through: str) -> None:
    x, beta = random(3, 2, 6, 7), random(2, 1, 1, seed=1).sigmoid()
    leaf = (x if through == "x" else beta).requires_grad_()
    out = bare(x, beta)[operator]()
    assert out.requires_grad
    if operator.endswith("backward"):
        with pytest.raises(RuntimeError, match=SECOND):
            out.sum().backward()
    else:
        assert torch.autograd.grad(out.square().sum(), leaf)[0].abs().sum() > 0
    leaf.requires_grad_(False)
    with fwd.dual_level():
        made = fwd.make_dual(leaf, torch.ones_like(leaf))
        call = bare(made if through == "x" else x, made if through == "beta" else beta)[operator]
        if operator.endswith("backward"):
            with pytest.raises(RuntimeError, match=SECOND):
                call()
        else:
            assert fwd.unpack_dual(call()).tangent.abs().sum() > 0
    with torch.no_grad():
        assert not bare(x.requires_grad_(), beta)[operator]().requires_grad


def test_inference_mode_and_what_is_excluded_stay_as_they_were() -> None:
    key = torch._C.DispatchKey.AutogradFunctionality
    x = torch.randn(1, 1, 4, 4, requires_grad=True)
    with torch.inference_mode():
        assert pool(x, "ada", 2).is_inference()
        assert torch._C._dispatch_tls_is_dispatch_key_excluded(key)
    with torch.no_grad(), pytest.raises(RuntimeError):
        OPS.pool(x, [], "nosuch", *FRAME, [], False)
    assert not torch._C._dispatch_tls_is_dispatch_key_excluded(key)
    assert pool(x, "ada", 2).requires_grad
