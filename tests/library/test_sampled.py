"""S3Pool and S-DPP: what is drawn, that its expectation is the evaluation, seeds; gated pooling; lifting and back."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from adapool import DPPPool, GatedPool, LiftPool, S3Pool1d, S3Pool2d, S3Pool3d, StochasticDPPPool, pool
from adapool.sampled import Sampled, draw_places

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # torch's own, of its forward mode
    pytest.mark.filterwarnings("ignore:There is a performance drop"),
]


def sample(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_places_are_of_their_blocks_in_order_and_never_beyond_the_axis() -> None:
    for seed in range(200):
        u = torch.rand(3, 4, generator=seeded(seed))
        places = draw_places(u, 10, 2)
        assert places.shape == (6,) and places.diff().min() > 0 and places.max() < 10
        assert (places // 4).tolist() == [0, 0, 1, 1, 2, 2]
    assert draw_places(torch.tensor([[0.9, 0.1, 0.5, 0.4]]), 4, 2).tolist() == [1, 3]


@pytest.mark.parametrize(
    ("make", "grid"),
    [(lambda g: S3Pool2d(2, generator=g), 2), (lambda g: S3Pool2d(3, generator=g), 3),
     *((lambda g, full=full, even=even: StochasticDPPPool(2, 3, full=full, symmetric=even, generator=g), 2)
       for full in (False, True) for even in (True, False))],
    ids=["s3 2", "s3 3", "sdpp", "sdpp asym", "sdpp full", "sdpp full asym"],
)  # fmt: skip
@pytest.mark.parametrize("size", [6, 7])
def test_evaluation_is_the_expectation_of_training(make: Callable[..., Sampled], grid: int, size: int) -> None:
    """Within six standard errors at each of at most 54 cells, which a right layer leaves once in some nine million."""
    x = sample(2, 3, size, size)
    layer = make(seeded(1)).double()
    with torch.no_grad():
        everywhere = layer.everywhere(x)
        layer.everywhere = lambda _: everywhere  # once: nothing is drawn in the first step
        drawn = torch.stack([layer(x) for _ in range(400)])
        expected = layer.eval()(x)
    assert drawn.shape[1:] == expected.shape == (2, 3, size // grid, size // grid)
    error = drawn.std(0) / math.sqrt(len(drawn))
    assert ((drawn.mean(0) - expected).abs() <= 6 * error + 1e-12).all()
    assert (drawn.std(0) > 0).any(), "nothing is drawn"


def test_every_image_and_channel_has_the_same_places() -> None:
    x = torch.arange(36.0).reshape(1, 1, 6, 6).expand(2, 3, 6, 6)
    y = S3Pool2d(2, generator=seeded(0))(x)
    assert torch.equal(y, y[:1, :1].expand_as(y))
    whole = S3Pool2d((2, 3), grid=(6, 3), generator=seeded(0))(x)
    assert whole.shape == (2, 3, 3, 2) and whole[0, 0, :, 0].diff().min() > 0, "drawn without replacement, in order"


def test_a_seed_and_given_numbers_repeat_and_the_global_generator_is_left_alone() -> None:
    x, state = sample(1, 2, 4, 6, 8), torch.get_rng_state()
    first, second = (S3Pool3d(2, generator=seeded(3))(x) for _ in range(2))
    assert torch.equal(first, second) and torch.equal(torch.get_rng_state(), state)
    layer = S3Pool3d(2)
    u = torch.rand(layer.uniforms(x.shape[2:]))
    assert torch.equal(layer(x, u), layer(x, u)) and not torch.equal(S3Pool3d(2)(x), S3Pool3d(2)(x))
    with pytest.raises(ValueError, match="u: expected 18 numbers"):
        layer(x, u[:-1])


@pytest.mark.parametrize(
    ("layer", "shape"),
    [(S3Pool1d(2), (2, 3, 7)), (S3Pool2d(3, grid=6), (1, 2, 6, 6)), (StochasticDPPPool(2, 2), (1, 2, 4, 5))],
)
@pytest.mark.parametrize("training", [True, False])
def test_gradcheck(layer: Sampled, shape: tuple[int, ...], training: bool) -> None:
    layer, x = layer.double().train(training), sample(*shape).requires_grad_()
    u = torch.rand(layer.uniforms(shape[2:]), generator=seeded(0)) if training else None
    assert torch.autograd.gradcheck(lambda x: layer(x, u), (x,))
    torch.testing.assert_close(layer(x[0], u), layer(x, u)[0])


def test_refusals_name_the_argument() -> None:
    for words, call in (
        ("grid: expected multiples of the kernel (2, 2), got 3", lambda: S3Pool2d(2, grid=3)),
        (
            "x: expected spatial sizes of whole grids of (4, 4), got (6, 6)",
            lambda: S3Pool2d(2, grid=4)(torch.ones(1, 1, 6, 6)),
        ),
        ("x: expected even spatial sizes, got (1, 1, 5)", lambda: LiftPool(1, 1)(torch.ones(1, 1, 5))),
        ("bands: expected 4 tensors, got 1", lambda: LiftPool(2, 1).restore([torch.ones(1)])),
    ):
        with pytest.raises(ValueError) as raised:
            call()
        assert str(raised.value) == words


@pytest.mark.parametrize(
    "make",
    [
        lambda: S3Pool2d(2),
        lambda: StochasticDPPPool(2, 3, full=True),
        lambda: LiftPool(2, 3),
        lambda: GatedPool(2, 3, 3, 2, 1),
    ],
)
def test_programs(make: Callable[..., torch.nn.Module]) -> None:
    torch.compiler.reset()
    torch.manual_seed(0)
    layer, x = make().eval().double(), sample(2, 3, 6, 8)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), layer(x))
    torch.testing.assert_close(torch.export.export(layer, (x,)).module()(x), layer(x))


def test_training_compiles_without_a_graph_break() -> None:
    torch.compiler.reset()
    layer, x = S3Pool2d(2), sample(2, 3, 6, 8)
    u = torch.rand(layer.uniforms((6, 8)))
    torch.testing.assert_close(torch.compile(layer, fullgraph=True, backend="aot_eager")(x, u), layer(x, u))


def test_stochastic_dpp_with_equal_weights_averages_every_window() -> None:
    layer, x = StochasticDPPPool(1, 1), torch.tensor([[[0.0, 1.0, 2.0, 5.0]]])
    with torch.no_grad():
        layer.dpp.log_lam.fill_(-1e3)  # lam = 0
    torch.testing.assert_close(layer.eval()(x), torch.tensor([[[1.0, 4.25]]]))
    assert isinstance(layer.dpp, DPPPool)


def test_gated_gradients_and_limits() -> None:
    x = sample(2, 3, 5, 6).requires_grad_()
    for per_channel in (False, True):
        layer = GatedPool(2, 3, 3, 2, 1, per_channel=per_channel).double()
        call = lambda x, w, layer=layer: torch.func.functional_call(layer, {"mask": w}, (x,))  # noqa: E731
        assert torch.autograd.gradcheck(call, (x, layer.mask))
    with torch.no_grad():
        layer.mask.zero_()
    torch.testing.assert_close(layer(x), pool(x, "mixed", 3, 2, 1))
    positive, large = x.abs() + 0.1, GatedPool(2, 3).double()
    with torch.no_grad():
        large.mask.fill_(1e4)
    torch.testing.assert_close(large(positive), pool(positive, "max", 2))
    with torch.no_grad():
        large.mask.fill_(-1e4)
    torch.testing.assert_close(large(positive), pool(positive, "avg", 2))


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_lifting_is_undone_exactly_whatever_the_networks_are(rank: int) -> None:
    torch.manual_seed(rank)
    x = sample(2, 3, *(6, 4, 8)[:rank])
    lift = LiftPool(rank, 3).double()
    bands = lift.bands(x)
    torch.testing.assert_close(lift(x), pool(x, "sum", 2), rtol=1e-12, atol=1e-12)
    assert len(bands) == 2**rank and torch.equal(bands[0], x[(..., *(slice(0, None, 2),) * rank)])
    for parameter in lift.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    bands = lift.bands(x)
    assert all(band.shape == (2, 3, *(n // 2 for n in x.shape[2:])) for band in bands)
    assert not torch.allclose(bands[0], x[(..., *(slice(0, None, 2),) * rank)])
    torch.testing.assert_close(lift.restore(bands), x, rtol=0, atol=1e-12)
    torch.testing.assert_close(lift(x), torch.stack(bands).sum(0))
    names = dict(lift.named_parameters())
    small = x[:1].requires_grad_()
    call = lambda x, *values: torch.func.functional_call(lift, dict(zip(names, values, strict=True)), (x,))  # noqa: E731
    assert rank > 1 or torch.autograd.gradcheck(call, (small, *names.values()))
    processed = [2 * band for band in bands]
    assert lift.restore(processed).shape == x.shape
