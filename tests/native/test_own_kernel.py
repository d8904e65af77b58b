"""A person's own struct, compiled: right under every window and transform, or refused in one sentence."""

from __future__ import annotations

import re
import textwrap
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad

from adapool import method, native, native_own, pool, pool_with_extra, registry, unpool
from counts import cuda as static
from suites import own
from tests.support.emulator.build import compiler
from tests.support.gem import FACTS, GEM, declare, declare_sharp, gem
from tests.support.native_places import tensors_of
from tests.support.problems import DTYPES, TOLERANCE, Problem

pytestmark = [
    pytest.mark.skipif(compiler() is None, reason="no C++ compiler"),
    pytest.mark.skipif(native.status()["cpu"] != "ok", reason="no compiled operators"),
]


@pytest.fixture(scope="module", autouse=True)
def apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is declared here is forgotten, and what is compiled goes into a cache of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "_METHODS", dict(registry._METHODS))
        kept: dict[str, bytes] = {}
        compiled = native_own._compiled

        def quick(entry: registry.Method, command: list[str], *rest: str) -> bytes:
            usual = entry.kernel is not None and entry.kernel.text == GEM
            return compiled(entry, command if usual else [*command, "-O0"], *rest)

        patch.setattr(native_own, "_compiled", quick)
        patch.setattr(native_own, "_kept", kept.get)
        patch.setattr(native_own, "_keep", kept.__setitem__)
        declare()
        declare_sharp()
        yield


@pytest.fixture
def anew(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Declares gem once more, by another row or kernel, for this test alone."""
    native_own._made.clear()  # the library has the new one under its name, so that the old one is made anew as well
    monkeypatch.setattr(registry, "_METHODS", {k: v for k, v in registry._METHODS.items() if k != "gem"})
    monkeypatch.setattr(native_own, "_made", {})
    native_own._number.cache_clear()

    def again(row: Callable[..., Any] = gem, kernel: str = GEM) -> None:
        row.__name__ = "gem"
        declare(row, kernel)

    yield again
    native_own._number.cache_clear()


@pytest.mark.parametrize(
    ("name", "dtype"), [*(("gem", dtype) for dtype in DTYPES), ("sharp", torch.float32), ("sharp", torch.bfloat16)]
)
def test_every_window_rank_and_layout(name: str, dtype: torch.dtype) -> None:
    assert native.has_kernel(name, dtype, "cpu")
    for seed in range(12):
        one = Problem(seed, name, dtype, seed % 2 == 1)
        for gradient in ("exact", "detached")[: 1 + (one.entry.extra == "weights")]:
            x, operands = tensors_of(one, "cpu")
            wide, wide_operands = one.leaves()
            y = pool(x, name, *one.options(), implementation="native", gradient=gradient, **operands)
            want = pool(wide, name, *one.options(), implementation="plain", gradient=gradient, **wide_operands)
            grad = torch.linspace(-1, 1, want.numel(), dtype=torch.float64).reshape(want.shape).to(dtype)
            leaves = [n for n, v in operands.items() if isinstance(v, Tensor)]
            found = torch.autograd.grad(y, [x, *(operands[n] for n in leaves)], grad, allow_unused=True)
            truth = torch.autograd.grad(
                want, [wide, *(wide_operands[n] for n in leaves)], grad.double(), allow_unused=True
            )
            for got, true in zip((y, *found), (want, *truth), strict=True):
                if true is None or not true.numel():
                    assert got is None or not got.any()
                    continue
                assert got is not None and got.shape == true.shape
                within = max(TOLERANCE[dtype], TOLERANCE[got.dtype]) * max(1.0, float(true.detach().abs().max()))
                assert (got.double() - true).detach().abs().max() <= within, one.names


def test_weights_and_their_inverse() -> None:
    x = torch.randn(2, 3, 9, 7, generator=torch.Generator().manual_seed(1))
    for how in ("native", "plain"):
        y, weights = pool_with_extra(x, "sharp", 3, 2, 1, tau=1.5, implementation=how)
        back = unpool(y, x, "sharp", 3, 2, 1, tau=1.5, implementation=how)
        if how == "native":
            first = (y, weights, back)
    for got, true in zip(first, (y, weights, back), strict=True):
        torch.testing.assert_close(got, true)


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_every_transform() -> None:
    x = torch.rand(2, 3, 8, 8, dtype=torch.float64)
    p = torch.tensor([2.5], dtype=torch.float64)

    def loss(x: Tensor, p: Tensor, how: Any) -> Tensor:
        return pool(x, "gem", (3, 3), 2, p=p, implementation=how).sin().sum()

    gradients = torch.func.grad(loss, (0, 1))
    alone = [torch.stack(parts) for parts in zip(*(gradients(one, p, "plain") for one in x), strict=True)]
    each = torch.func.vmap(gradients, (0, None, None))(x, p, "native")
    for got, true in zip(each, alone, strict=True):
        torch.testing.assert_close(got, true)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(x, torch.ones_like(x))
        tangents = [forward_ad.unpack_dual(loss(dual, p, how)).tangent for how in ("native", "plain")]
    torch.testing.assert_close(*tangents)
    whole = torch.compile(lambda x, p: loss(x, p, "auto"), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(whole(x, p), loss(x, p, "plain"))


def test_a_first_call_may_be_a_compiled_one(anew: Callable[..., None]) -> None:
    anew()
    whole = torch.compile(lambda x: pool(x, "gem", 2), fullgraph=True, backend="aot_eager")
    with torch.inference_mode():
        whole(torch.rand(1, 1, 4, 4))
    assert native_own._made == {("gem", "cpu", False): True}


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_a_program_for_elsewhere_is_refused() -> None:
    class Net(torch.nn.Module):
        how = "auto"

        def forward(self, x: Tensor) -> Tensor:
            return pool(x, "gem", 2, implementation=self.how)

    net, x = Net(), torch.rand(1, 1, 4, 4)
    says = "method 'gem' is compiled from a source of one's own, .*; export it with implementation='plain'"
    with pytest.raises(Exception, match=says):
        torch.export.export(net, (x,))
    with pytest.raises(ValueError, match=says):
        torch.jit.trace(net, x)
    net.how = "plain"
    torch.testing.assert_close(torch.export.export(net, (x,)).module()(x), net(x))


def fault_of() -> str:
    """What is said, by the second call as by the first."""
    said = []
    for _ in range(2):
        with pytest.raises((ValueError, RuntimeError)) as fault:
            native.has_kernel("gem", torch.float32, "cpu")
        said.append(str(fault.value))
    assert said[0] == said[1]
    return said[0]


ROWS: dict[str, Callable[..., Any]] = {
    "the value": lambda region, p: gem(region, p) * 1.01,
    "the gradient of x": lambda region, p: gem(region, p).detach() + 0 * p * region.max(region.values).squeeze(-1),
    "the gradient of p": lambda region, p: gem(region, p.detach()) + 0 * p,
    "the value nan": lambda region, p: gem(region, p).nan_to_num(1.0),
}


@pytest.mark.parametrize("what", ROWS)
def test_another_definition_than_the_kernel_s_is_refused(what: str, anew: Callable[..., None]) -> None:
    anew(ROWS[what])
    assert fault_of().startswith(f"method 'gem': its kernel gives {what}")


def test_a_planted_wrong_slope_is_refused(anew: Callable[..., None]) -> None:
    anew(kernel=GEM.replace("p - V(1)", "p"))
    assert re.fullmatch(
        r"method 'gem': its kernel gives the gradient of x \S+ where its row, the definition, gives \S+ "
        r"\(cpu, float32, kernel \(3, 3\), stride \(2, 2\), padding \(1, 1\), signed values\)",
        fault_of(),
    )


def test_the_compiler_s_words_have_the_person_s_lines(tmp_path: Path, anew: Callable[..., None]) -> None:
    broken = GEM.replace("V(1) / p", "V(1) / q")
    line = next(number for number, text in enumerate(broken.splitlines(), 1) if "/ q" in text)
    file = tmp_path / "mine.py"
    file.write_text(MINE.format(kernel=f'"""{broken}"""'))
    anew(kernel=GEM)
    registry._METHODS.pop("gem")
    own.load(f"{file}:gem")
    said = fault_of()
    before = file.read_text().partition(broken)[0].count("\n")
    assert f"mine.py:{before + line}:" in said and "'q' was not declared" in said
    assert said.startswith("method 'gem': its kernel does not compile for the CPU with ")


MINE = textwrap.dedent(
    """
    from adapool import Operand, method
    from adapool.region import per_tap

    @method("a formula", "a paper", operands=(Operand("p", default=3.0),), kernel={kernel})
    def gem(region, p):
        return region.mean(region.values.clamp(min=1e-6) ** per_tap(p)).squeeze(-1) ** (1 / p)
    """
)


def test_a_file_beside_the_row(tmp_path: Path, anew: Callable[..., None]) -> None:
    registry._METHODS.pop("gem", None)
    file = tmp_path / "mine.py"
    file.write_text(MINE.format(kernel="'gem.h'"))
    with pytest.raises(ValueError, match=r"kernel: expected C\+\+ as text or a file beside mine.py, got 'gem.h'"):
        own.load(f"{file}:gem")
    (tmp_path / "gem.h").write_text(GEM)
    own.load(f"{file}:gem")
    own.load(f"{file}:gem")  # as every case of a worker does
    kernel = registry.get("gem").kernel
    assert kernel is not None and (kernel.text, kernel.line) == (GEM, 1) and kernel.file.endswith("/gem.h")
    assert own.is_compiled(f"{file}:gem")


def test_a_name_is_declared_once() -> None:
    for name in ("gem", "ada"):
        row = lambda region: region.values[..., 0]  # noqa: E731
        row.__name__ = name
        with pytest.raises(ValueError, match=f"method '{name}' is declared twice"):
            method("a formula", "a paper", kernel=GEM)(row)
    with pytest.raises(ValueError, match="kernel: expected a method without variants, got other"):
        method("a formula", "a paper", kernel=GEM, other={})(gem)
    with pytest.raises(TypeError, match=r"kernel: expected C\+\+ as text or the name of its file, got int"):
        method("a formula", "a paper", kernel=3)(lambda region: region)  # type: ignore[arg-type]


def test_without_a_compiler_the_row_runs_and_that_is_said_once(
    anew: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    anew()
    monkeypatch.setenv("CXX", "/nowhere/g++")
    x = torch.rand(1, 1, 4, 4)
    with pytest.warns(RuntimeWarning, match="method 'gem' runs as its row on the CPU: no C\\+\\+ compiler was found"):
        y = pool(x, "gem", 2)
    torch.testing.assert_close(y, pool(x, "gem", 2, implementation="plain"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not native.has_kernel("gem", torch.float32, "cpu")
        with pytest.raises(ValueError, match="no compiled kernel for method 'gem'"):
            pool(x, "gem", 2, implementation="native")


def test_it_is_compiled_once_and_again_for_another_text(
    anew: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def wants(*_: object) -> bytes:
        raise RuntimeError("compiles")

    monkeypatch.setattr(native_own, "_compiled", wants)
    anew()
    assert native.has_kernel("gem", torch.float32, "cpu")
    monkeypatch.setattr(native_own, "_made", {})
    registry._METHODS.pop("gem")
    anew(kernel=GEM + "// another\n")
    native_own._number.cache_clear()
    assert fault_of() == "compiles"


def test_nvrtc_compiles_it_for_every_architecture() -> None:
    try:
        static.nvrtc()
    except static.Missing as reason:
        pytest.skip(str(reason))
    for name in ("gem", "sharp"):
        assert native_own._make_shape(registry.get(name), False)
    assert native_own._told(registry.get("gem"), False) == FACTS
    calls = [
        "gem backward float32 nchw 3x3/2x2+1x1 8x16x28x28 scalar",
        "sharp backward float32 nchw 9/4+0 8x16x99 number",
    ]
    kernels = [kernel for kernel in static.kernels(calls) if not kernel.name.startswith("totals")]
    assert {kernel.name.split()[0] for kernel in kernels} == {"gem", "sharp"}
    for architecture in static.ARCHITECTURES:
        rows, failed = static.counts(kernels, architecture)
        assert not failed
        assert all(row["spill_stores"] == 0 and row["fp64"] == 0 for row in rows.values())
