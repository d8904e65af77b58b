"""An honest operator, and cheats that any device may meet: the text of a file of one's own operators."""

from __future__ import annotations

SHARED_CHEATS = """
import torch
import adapool

def honest(x, kernel_size, stride, padding):
    return adapool.pool(x, "softpool", kernel_size, stride, padding, implementation="plain")
honest.oracle = "softpool"

def mutates(x, k, s, p):
    y = honest(x, k, s, p)
    x.data.clamp_(min=0)
    return y
mutates.oracle = "softpool"

class _WrongBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, k, s, p):
        ctx.args = k, s, p
        ctx.save_for_backward(x)
        return honest(x, k, s, p)
    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            y = adapool.pool(leaf, "softpool", *ctx.args, implementation="plain", gradient="detached")
            return (*torch.autograd.grad(y, leaf, g), None, None, None)

def wrong_backward(x, k, s, p):
    return _WrongBackward.apply(x, k, s, p)
wrong_backward.oracle = "softpool"
"""
