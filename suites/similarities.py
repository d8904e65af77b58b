"""The measures that AdaPool's paper compares, each as an operator: what do they keep of a photograph?

    python runner.py bench --cpu --probe retention --method 'suites/similarities.py:*' --method avg,edscw,idw,softpool

Names end in `_vector` where the channel vectors of places are compared, as in the paper, not scalars, as in its code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from adapool import functional

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


def _by(method: str, measure: str, similarity: str) -> Callable[..., Tensor]:
    options: dict[str, Any] = {"measure": measure, "similarity": similarity, "implementation": "plain"}

    def pooled(x: Tensor, kernel_size: Any, stride: Any, padding: Any) -> Tensor:
        return functional.pool(x, method, kernel_size, stride, padding, **options)

    return pooled


edscw_cosine = _by("edscw", "cosine", "channel")
edscw_pce = _by("edscw", "pce", "channel")
edscw_dice_vector = _by("edscw", "dice", "vector")
edscw_cosine_vector = _by("edscw", "cosine", "vector")
edscw_pce_vector = _by("edscw", "pce", "vector")
idw_huber = _by("idw", "huber", "channel")
idw_l2_vector = _by("idw", "l2", "vector")
idw_l1_vector = _by("idw", "l1", "vector")
idw_huber_vector = _by("idw", "huber", "vector")
idw_chebyshev_vector = _by("idw", "chebyshev", "vector")
