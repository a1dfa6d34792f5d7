"""Non-local blocks as re-ID networks have them: one inner channel, and no softmax."""

from collections.abc import Callable

import jax.numpy as jnp
from flax import nnx

from jaxreid.models.layers import Conv
from jaxreid.models.normalization import BatchNorm, Statistics
from jaxreid.types import Array

__all__ = ["NonLocal"]


class NonLocal(nnx.Module):
    """Every position of a map, changed by what all positions hold.

    z_i = x_i + BN(w y_i + b), y_i = 1/n sum_j theta(x_i) phi(x_j) g(x_j), where theta, phi and g
    give each of the n positions one number by a 1x1 convolution, and w and b bring y_i back to the
    C channels: Wang et al., https://arxiv.org/abs/1711.07971, equation 4 with the dot product, as
    AGW (https://arxiv.org/abs/2001.04193) and fast-reid have it. The attributes have fast-reid's
    names. Fresh, it changes nothing: the BatchNorm's scale is 0, as section 4.1 there has it.

    Args:
        channels: C.
        conv: (channels in, channels out, size, bias=) -> convolution.
        norm: channels -> BatchNorm.

    Returns:
        A module: (x [B,H,W,C], statistics) -> [B,H,W,C].
    """

    def __init__(
        self, channels: int, conv: Callable[..., Conv], norm: Callable[[int], BatchNorm]
    ) -> None:
        self.g, self.theta, self.phi = (conv(channels, 1, 1, bias=True) for _ in range(3))
        last = norm(channels)
        last.scale[...] = jnp.zeros(channels)
        self.W = nnx.List([conv(1, channels, 1, bias=True), last])

    def __call__(self, x: Array, statistics: Statistics) -> Array:
        """X [B,H,W,C] -> [B,H,W,C]."""
        conv, norm = self.W
        # All positions are summed up before theta, which only multiplies: n products, not n x n.
        products = (self.phi(x) * self.g(x)).astype(jnp.promote_types(x.dtype, jnp.float32))
        mean = products.mean((1, 2), keepdims=True).astype(x.dtype)
        return x + norm(conv(self.theta(x) * mean), statistics)
