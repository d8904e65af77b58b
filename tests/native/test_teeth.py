"""The checks fail on wrong operators: each planted fault must be found by the checks that guard against it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from adapool import get, pool
from adapool.region import Region
from adapool.window import Window
from tests.library import test_rows
from tests.support import oracle


def _off_by_one(self: Window, x: Tensor) -> Tensor:
    return UNFOLD(self, x.roll(1, -1))


def _transposed_stride(self: Window, x: Tensor) -> Tensor:
    flipped = Window(self.kernel, self.stride[::-1], self.padding, self.ceil_mode)
    y = UNFOLD(flipped, x) if min(x.shape[-2:]) > 0 else x
    size = (*x.shape[:-2], *self.output(x.shape[-2:]), self.taps)
    return y.flatten().repeat(2)[: torch.Size(size).numel()].reshape(size)


def _lost_last_row(self: Window, x: Tensor) -> Tensor:
    taps = UNFOLD(self, x).clone()
    taps[..., -1, :, :] = taps[..., -2, :, :]
    return taps


def _padding_counted(self: Window, spatial: object, device: object) -> None:
    return None


UNFOLD = Window.unfold


def definition(name: str) -> None:
    test_rows.test_definition_at_every_cell(name, (3, 2), (2, 1), (1, 0), False)


@pytest.mark.parametrize("fault", [_off_by_one, _transposed_stride, _lost_last_row])
@pytest.mark.parametrize("name", ["avg", "softpool", "ada"])
def test_a_wrong_window_is_found(monkeypatch: pytest.MonkeyPatch, name: str, fault: Callable[..., Tensor]) -> None:
    if pool(torch.ones(1, 1, 4, 4), name, 2, implementation="plain").numel() == 0:
        pytest.fail("the row did not run")
    definition(name)
    monkeypatch.setattr(Window, "unfold", fault)
    monkeypatch.setattr("adapool.functional.Plan.native", False)
    with pytest.raises(AssertionError):
        definition(name)


def test_padding_counted_as_zeros_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Window, "inside", _padding_counted)
    monkeypatch.setattr("adapool.functional.Plan.native", False)
    with pytest.raises(AssertionError):
        definition("avg")


def test_a_dropped_beta_gradient_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    row = get("ada").row

    def frozen(region: Region, beta: Tensor, similarity: str = "channel") -> tuple[Tensor, Tensor]:
        beta = beta.detach() if isinstance(beta, Tensor) else beta
        y, weights = row(region, beta, similarity)
        return y + 0 * region.values.sum(-1), weights

    object.__setattr__(get("ada"), "row", frozen)
    monkeypatch.setattr("adapool.functional.Plan.native", False)
    try:
        with pytest.raises((AssertionError, RuntimeError)):
            test_rows.test_gradcheck_operands("ada")
    finally:
        object.__setattr__(get("ada"), "row", row)


def test_the_detached_gradient_fails_gradcheck() -> None:
    x = test_rows.sample(1, 1, 6).requires_grad_()
    with pytest.raises(RuntimeError, match="Jacobian mismatch"):
        torch.autograd.gradcheck(lambda x: pool(x, "edscw", 3, gradient="detached"), (x,))


def test_the_oracle_counts_windows_itself() -> None:
    assert [oracle.cells(n, 3, 2, 1, c) for n in (5, 6) for c in (False, True)] == [3, 3, 3, 4]
    assert len(list(oracle.regions((4, 4), (2, 2), (2, 2), (0, 0), False))) == 4
