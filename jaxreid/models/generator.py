"""A small network that draws a change of an image, for attacks that are learned once."""

import jax
import jax.numpy as jnp
from flax import nnx

from jaxreid.models.layers import Conv, relu
from jaxreid.types import Array

__all__ = ["ChangeGenerator"]

_CHANNELS, _WIDTH, _GROUPS = 3, 16, 4
_BRIGHTEST = 2.0  # pixels of [0, 1] become such of [-1, 1]


class _Layer(nnx.Module):
    """A 3x3 convolution, normalised per image in groups of channels, and ReLU."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1, rngs: nnx.Rngs) -> None:
        self.conv = Conv(inputs, outputs, 3, stride=stride, padding=1, bias=True, rngs=rngs)
        self.norm = nnx.GroupNorm(outputs, num_groups=_GROUPS, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        return relu(self.norm(self.conv(x)))


class ChangeGenerator(nnx.Module):
    """Images [B,H,W,3] in [0, 1] -> changes [B,H,W,3] in [-1, 1], by tanh: to be taken times eps.

    Two scales with a shortcut between them, 22 thousand parameters, for images of any size. Each
    image is normalised by itself: its change does not depend on its batch.
    """

    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.first = _Layer(_CHANNELS, _WIDTH, rngs=rngs)
        self.down = _Layer(_WIDTH, 2 * _WIDTH, stride=2, rngs=rngs)
        self.middle = _Layer(2 * _WIDTH, 2 * _WIDTH, rngs=rngs)
        self.last = _Layer(3 * _WIDTH, _WIDTH, rngs=rngs)
        self.out = Conv(_WIDTH, _CHANNELS, 3, padding=1, bias=True, rngs=rngs)

    def __call__(self, images: Array) -> Array:
        """Changes of a batch of images."""
        fine = self.first(_BRIGHTEST * images - 1)
        coarse = self.middle(self.down(fine))
        shape = (*fine.shape[:3], coarse.shape[3])
        grown = jax.image.resize(coarse, shape, "nearest")
        joined = jnp.concatenate([fine, grown], axis=3)
        return jnp.tanh(self.out(self.last(joined)))
