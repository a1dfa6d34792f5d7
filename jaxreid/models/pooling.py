"""Pooling of a feature map to one vector: the mean, or the generalised mean of GeM."""

from typing import Literal

import jax.numpy as jnp
from flax import nnx
from jax import lax

from jaxreid.precision import at_least_float32
from jaxreid.types import Array

__all__ = ["GlobalPool", "Pooling", "generalized_mean"]

Pooling = Literal["average", "gem", "gem-learnt"]
"""How a map becomes a vector: the mean over its positions, or GeM with p = 3 or with a p of the
network's own."""

_SMALLEST = 1e-6
_POWER = 3.0


def generalized_mean(x: Array, p: Array | float) -> Array:
    """Generalised mean over the positions of a map, m = (mean_hw(max(x, 1e-6)^p))^(1/p).

    Radenovic et al., https://arxiv.org/abs/1711.02512, equation 3. Values below 1e-6 have no
    gradient. Powers are taken of x / max_hw(x), which is the same number: none overflows, and the
    mean is 1/n at least, where 1e-6^p alone would leave float32 and its gradient would be NaN.

    Args:
        x: [B,H,W,C] floating point.
        p: a number above 0, or [1]; 1 is the mean, large ones approach the maximum.

    Returns:
        [B,C] float32 at least.
    """
    x = at_least_float32(x)
    x = jnp.where(x < _SMALLEST, _SMALLEST, x)
    # A factor that cancels: the mean is homogeneous, so no gradient has to pass.
    largest = lax.stop_gradient(x.max((1, 2), keepdims=True))
    mean = ((x / largest) ** p).mean((1, 2))
    return largest[:, 0, 0] * mean ** (1 / p)


class GlobalPool(nnx.Module):
    """The pooling of a network; with "gem-learnt" it has a parameter p [1], 3 at first.

    Called with a map [B,H,W,C], it gives [B,C] float32 at least.
    """

    def __init__(self, pooling: Pooling) -> None:
        self.pooling = pooling
        if pooling == "gem-learnt":
            self.p = nnx.Param(jnp.full(1, _POWER))

    def __call__(self, x: Array) -> Array:
        """X [B,H,W,C] -> [B,C]."""
        if self.pooling == "average":
            return at_least_float32(x).mean((1, 2))
        power = at_least_float32(self.p[...]) if self.pooling == "gem-learnt" else _POWER
        return generalized_mean(x, power)
