"""The networks that are converted, measured and trained: the papers' sizes, and that each learns in miniature."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from suites import models
from suites.networks import NETWORKS, resnet18, resnet50

pytestmark = pytest.mark.usefixtures("one_thread")


def test_residual_networks_are_the_papers() -> None:
    with torch.device("meta"):
        assert sum(p.numel() for p in resnet18(1000).parameters()) == 11_689_512
        assert sum(p.numel() for p in resnet50(1000).parameters()) == 25_557_032


@pytest.mark.parametrize("name", NETWORKS)
def test_each_learns_and_has_pools(name: str) -> None:
    torch.manual_seed(0)
    model = NETWORKS[name](classes=3, width=4)
    x = torch.randn(4, 3, *(16,) * (len(models.image(name)) - 1))
    shape = model(x).shape
    assert shape == ((4, 3, 16, 16) if name == "unet" else (4, 3))
    target = torch.arange(4).remainder(3) if name != "unet" else (x[:, 0] > 0).long()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    losses = []
    for _ in range(8):
        loss = nn.functional.cross_entropy(model(x), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert min(losses) < 0.95 * losses[0], losses
    assert all(p.grad is not None for p in model.parameters())
