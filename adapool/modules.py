"""Layers without parameters: one call to the functions. Signatures follow torch.nn and the released packages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor

from adapool import named
from adapool.arguments import check_flag
from adapool.forms import Ratio, adaptive_pool, fractional_kernel, fractional_pool, output_sizes
from adapool.functional import run
from adapool.layer import WINDOWLESS, Layer, check_options, ranks
from adapool.registry import get
from adapool.unpooling import max_unpool, sized_window
from adapool.window import Ints, Sizes


class Pool(Layer):
    """Any method of `adapool.names()` as a layer; its operands are plain attributes.

    `Pool("softpool", 2)`; keywords are `adapool.functional.pool`'s. In training mode "stochastic" draws, in
    evaluation mode it takes the expectation. Shape: `(N, C, *spatial)` to `(N, C, *out)`.

    >>> Pool("avg", 2)(torch.ones(1, 1, 4, 4)).shape
    torch.Size([1, 1, 2, 2])
    """

    def __init__(
        self,
        method: str,
        kernel_size: Sizes,
        stride: Ints | None = None,
        padding: Ints = 0,
        ceil_mode: bool = False,
        **options: Any,
    ) -> None:
        super().__init__()
        check_options(get(method), options)
        self.kernel_size = self.checked_kernel(kernel_size, stride, padding, ceil_mode, options.get("dilation", 1))
        self.method, self.stride = method, stride
        self.expectation = get(method).expectation or method
        self.padding, self.ceil_mode, self.options = padding, ceil_mode, options

    def forward(self, x: Tensor) -> Tensor:
        method = self.method if self.training else self.expectation
        return run(
            x, self.rank, method, False, {},
            self.kernel_size, self.stride, self.padding, self.ceil_mode, **self.options,
        )[0]  # fmt: skip

    def extra_repr(self) -> str:
        shown = f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"
        shown += f", ceil_mode={self.ceil_mode}" + "".join(f", {k}={v!r}" for k, v in self.options.items())
        return shown if type(self) is not Pool else f"{self.method!r}, {shown}"


class AdaptivePool(Layer):
    """Any method of `adapool.names()` to a given output size, see `adapool.adaptive_pool`.

    `AdaptivePool("ada", 7)`; keywords are `adapool.pool`'s. None in output_size keeps an axis; evaluation as in `Pool`.
    Shape: `(N, C, *spatial)` to `(N, C, *output_size)`, or both without N when `output_size` is a tuple.

    >>> AdaptivePool("softpool", (3, None))(torch.ones(1, 1, 7, 5)).shape
    torch.Size([1, 1, 3, 5])
    """

    def __init__(self, method: str, output_size: Sizes, **options: Any) -> None:
        super().__init__()
        check_options(get(method), options, WINDOWLESS)
        output_sizes(output_size, len(output_size) if isinstance(output_size, Sequence) else 1)
        self.method, self.output_size, self.options = method, output_size, options
        self.expectation = get(method).expectation or method

    def forward(self, x: Tensor) -> Tensor:
        method = self.method if self.training else self.expectation
        y: Tensor = adaptive_pool(x, method, self.output_size, **self.options)
        return y

    def extra_repr(self) -> str:
        return f"{self.method!r}, {self.output_size}" + "".join(f", {k}={v!r}" for k, v in self.options.items())


class FractionalPool(Layer):
    """Any method of `adapool.names()` with windows at pseudo-random steps, see `adapool.fractional_pool`.

    `FractionalPool("ada", 2, output_ratio=0.7)`; keywords are `adapool.pool`'s and `samples`. It draws in evaluation as
    in training, as torch.nn.FractionalMaxPool2d does. Shape: `(N, C, *spatial)` to `(N, C, *out)`.

    >>> FractionalPool("ada", 2, output_size=3)(torch.ones(1, 1, 7, 5)).shape
    torch.Size([1, 1, 3, 3])
    """

    def __init__(
        self,
        method: str,
        kernel_size: Ints,
        output_size: Ints | None = None,
        output_ratio: Ratio | None = None,
        *,
        samples: Tensor | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        check_options(get(method), options, WINDOWLESS)
        given = [v for v in (kernel_size, output_size, output_ratio) if isinstance(v, Sequence)]
        kernel = fractional_kernel(max((len(v) for v in given), default=1), kernel_size, output_size, output_ratio)
        self.kernel_size = kernel if given else kernel_size
        self.method, self.output_size, self.output_ratio = method, output_size, output_ratio
        self.samples, self.options = samples, options
        self.expectation = get(method).expectation or method

    def forward(self, x: Tensor) -> Tensor:
        method = self.method if self.training else self.expectation
        sizes = (self.kernel_size, self.output_size, self.output_ratio)
        y: Tensor = fractional_pool(x, method, *sizes, samples=self.samples, **self.options)
        return y

    def extra_repr(self) -> str:
        return (
            f"{self.method!r}, kernel_size={self.kernel_size}, output_size={self.output_size}, "
            f"output_ratio={self.output_ratio}" + "".join(f", {k}={v!r}" for k, v in self.options.items())
        )


class _NamedPool(Pool):
    """A layer with a fixed method and the released signature."""

    name: ClassVar[str]
    function: ClassVar[str]  # in `named`, less its rank

    def __init__(
        self,
        kernel_size: Sizes = 2,
        stride: Ints | None = None,
        return_mask: bool = False,
        native: bool = False,
        *,
        padding: Ints = 0,
        ceil_mode: bool = False,
        **options: Any,
    ) -> None:
        check_flag("return_mask", return_mask, named.PADDING_HINT)
        super().__init__(self.name, kernel_size, stride, padding, ceil_mode, **options)
        self.return_mask = return_mask

    def forward(self, x: Tensor) -> Any:
        if not self.return_mask:
            return super().forward(x)
        function = getattr(named, f"{self.function}{self.rank}d")
        window = {"padding": self.padding, "ceil_mode": self.ceil_mode}
        return function(x, self.kernel_size, self.stride, True, **window, **self.options)


class MaxUnpool(Layer):
    """torch.nn.MaxUnpool2d, deterministic where regions share an index: the last region wins.

    >>> y, indices = adapool.max_pool2d(torch.ones(1, 1, 4, 4), 2, return_indices=True)
    >>> MaxUnpool2d(2)(y, indices).shape
    torch.Size([1, 1, 4, 4])
    """

    rank: ClassVar[int]

    def __init__(self, kernel_size: Ints, stride: Ints | None = None, padding: Ints = 0) -> None:
        super().__init__()
        window = sized_window(self.rank, kernel_size, stride, padding)
        self.kernel_size, self.stride, self.padding = window.kernel, window.stride, window.padding

    def forward(self, x: Tensor, indices: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        size = None if output_size is None else tuple(output_size)[-self.rank :]
        return max_unpool(x, indices, self.kernel_size, self.stride, self.padding, output_size=size)


class EDSCWPool(_NamedPool):
    """`softmax_i(dice(a_i, mean a))`-weighted pooling (eDSCW), see `adapool.edscwpool2d`.

    >>> EDSCWPool2d(2)(torch.ones(1, 1, 4, 4)).unique()
    tensor([1.])
    """

    name, function = "edscw", "edscwpool"


class EMPool(_NamedPool):
    """Exponential maximum pooling (eM), see `adapool.empool2d`.

    >>> EMPool2d(2)(torch.arange(4.0).reshape(1, 1, 2, 2)).item()
    2.492...
    """

    name, function = "softpool", "empool"


class IDWPool(_NamedPool):
    """Inverse distance weighted pooling, see `adapool.idwpool2d`.

    >>> IDWPool2d(2)(torch.arange(4.0).reshape(1, 1, 2, 2)).item()
    1.5
    """

    name, function = "idw", "idwpool"


class SoftPool(Pool):
    """`EMPool` under SoftPool's released name and signature; `force_inplace` changes nothing, see `soft_pool2d`.

    >>> SoftPool2d(2)(torch.ones(1, 1, 4, 4)).unique()
    tensor([1.])
    """

    def __init__(
        self,
        kernel_size: Sizes = 2,
        stride: Ints | None = None,
        force_inplace: bool = False,
        **options: Any,
    ) -> None:
        check_flag("force_inplace", force_inplace, named.PADDING_HINT)
        super().__init__("softpool", kernel_size, stride, **options)


class StochasticPool(Pool):
    """Stochastic pooling (Zeiler & Fergus 2013): draws a tap in training, takes the expectation in evaluation.

    >>> StochasticPool2d(2).eval()(torch.arange(4.0).reshape(1, 1, 2, 2)).item()
    2.333...
    """

    def __init__(
        self,
        kernel_size: Sizes = 2,
        stride: Ints | None = None,
        padding: Ints = 0,
        ceil_mode: bool = False,
        **options: Any,
    ) -> None:
        super().__init__("stochastic", kernel_size, stride, padding, ceil_mode, **options)


EDSCWPool1d, EDSCWPool2d, EDSCWPool3d = ranks(EDSCWPool)
EMPool1d, EMPool2d, EMPool3d = ranks(EMPool)
IDWPool1d, IDWPool2d, IDWPool3d = ranks(IDWPool)
MaxUnpool1d, MaxUnpool2d, MaxUnpool3d = ranks(MaxUnpool)
SoftPool1d, SoftPool2d, SoftPool3d = ranks(SoftPool)
StochasticPool1d, StochasticPool2d, StochasticPool3d = ranks(StochasticPool)
