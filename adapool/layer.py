"""What every layer of this library is: checked when it is made, and not for torch.jit.script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeVar

from torch import Tensor, nn

from adapool.arguments import check_choice, check_choices, check_number, unknown_option
from adapool.registry import Method
from adapool.window import WHOLE, Ints, Sizes, Window

Made = TypeVar("Made", bound=nn.Module)
WINDOWLESS = ("implementation", "gradient", "similarity", "measure", "generator")
CHOICES = (*WINDOWLESS, "dilation")


class Layer(nn.Module):
    """A layer of `rank` spatial axes; None: as many as its input has."""

    rank: ClassVar[int | None] = None
    operands: ClassVar[tuple[str, ...]] = ()  # parameters that are no weights, so that nothing decays them

    def __prepare_scriptable__(self) -> None:
        """Called by torch.jit.script, whose language lacks keyword operands."""
        raise NotImplementedError(
            f"{type(self).__name__}: torch.jit.script is not supported; use torch.jit.trace or torch.export, which "
            "keep batch and spatial sizes open"
        )

    def checked_kernel(
        self, kernel_size: Sizes, stride: Ints | None, padding: Ints, ceil_mode: bool, dilation: Ints = 1
    ) -> Sizes:
        """The kernel as the layer keeps it; ValueError or TypeError for sizes that no input fits."""
        given = [v for v in (kernel_size, stride, padding, dilation) if isinstance(v, Sequence)]
        rank = self.rank or max((len(v) for v in given), default=1)
        window = Window.make(rank, kernel_size, stride, padding, ceil_mode, dilation)
        if self.rank is None or kernel_size is None:
            return kernel_size
        return tuple(None if k == WHOLE else k for k in window.kernel)


def check_options(entry: Method, options: Mapping[str, Any], choices: Sequence[str] = CHOICES) -> None:
    """TypeError or ValueError for a keyword that the method's calls would refuse, or that nothing takes."""
    specs = {spec.name: spec for spec in entry.operands}
    for name, value in options.items():
        if name in specs:
            if specs[name].kind == "cell" and value is not None and not isinstance(value, Tensor):
                check_number(specs[name], value)
        elif name not in choices:
            raise unknown_option(entry, name)
    check_choice("implementation", options.get("implementation", "auto"), ("auto", "native", "plain"))
    check_choices(entry, options.get("gradient", "exact"), options.get("similarity", "channel"), options.get("measure"))


def ranks(layer: type[Made]) -> tuple[type[Made], type[Made], type[Made]]:
    """`layer` for 1-D, 2-D and 3-D input."""
    made = [
        type(
            f"{layer.__name__}{rank}d",
            (layer,),
            {"rank": rank, "__module__": layer.__module__, "__doc__": layer.__doc__},
        )
        for rank in (1, 2, 3)
    ]
    return made[0], made[1], made[2]
