"""Mean 0 and variance 1 for each token or channel of an image, and layer normalisation."""

from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from jaxreid.precision import at_least_float32
from jaxreid.types import Array

__all__ = ["LayerNorm", "Over", "standardize"]

Over = Literal["channels", "pixels"]
"""What has mean 0 and variance 1: the channels of each token, or the pixels of each channel."""


@partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def standardize(x: Array, epsilon: float, over: Over) -> Array:
    """Values less their mean, over their deviation: (x - E[x]) / sqrt(Var[x] + epsilon).

    With the biased variance. Its gradient to x is written out,
    (dy - E[dy] - y E[y dy]) / sqrt(Var[x] + epsilon): two sums, where the derivative of each of its
    steps makes five. There is no forward-mode derivative (`jax.jvp`).

    Args:
        x: [...,T,C], float32 or wider.
        epsilon: above 0, in squared units of x.
        over: "channels" for the C values of each token, "pixels" for the T of each channel.

    Returns:
        [...,T,C].
    """
    return _forward(x, epsilon, over)[0]


def _forward(x: Array, epsilon: float, over: Over) -> tuple[Array, tuple[Array, Array]]:
    # Two passes: E[x^2] - E[x]^2 cancels where the mean is far from zero.
    centred = x - _means(x, over)
    inverse = lax.rsqrt(_means(jnp.square(centred), over) + epsilon)
    y = centred * inverse
    return y, (y, inverse)


def _backward(epsilon: float, over: Over, kept: tuple[Array, Array], dy: Array) -> tuple[Array]:
    y, inverse = kept
    return (inverse * (dy - _means(dy, over) - y * _means(y * dy, over)),)


standardize.defvjp(_forward, _backward)


def _means(x: Array, over: Over) -> Array:
    """E[x], [...,T,1] or [...,1,C]; for a CPU as a product, for XLA adds value after value."""
    axis = -1 if over == "channels" else -2

    def product(x: Array) -> Array:
        share = 1 / x.shape[axis]
        if over == "channels":
            return x @ jnp.full((x.shape[-1], 1), share, x.dtype)
        # A row for each image: as a product of one row with all images it takes twice as long as
        # the sum that it is to replace.
        return jnp.full((*x.shape[:-2], 1, x.shape[-2]), share, x.dtype) @ x

    return lax.platform_dependent(
        x, cpu=product, default=lambda x: x.mean(axis, keepdims=True, dtype=x.dtype)
    )


class LayerNorm(nnx.Module):
    """Layer normalisation: each token by its own mean and variance, then a scale and a shift.

    y = (x - E[x]) / sqrt(Var[x] + epsilon) * scale + bias over the channels of a token, with the
    biased variance. Ba et al., https://arxiv.org/abs/1607.06450;
    https://docs.pytorch.org/docs/stable/generated/torch.nn.LayerNorm.html.

    Args:
        features: channels C.
        epsilon: above 0.
        dtype: of the result; parameters and statistics are float32 at least.
        rngs: source of the initial parameters.

    Returns:
        A module: x [...,C] -> [...,C] of type dtype.
    """

    def __init__(self, features: int, *, epsilon: float, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        init = jax.nn.initializers
        self.scale = nnx.Param(init.ones(rngs.params(), (features,), jnp.float32))
        self.bias = nnx.Param(init.zeros(rngs.params(), (features,), jnp.float32))
        self.epsilon, self.dtype = epsilon, dtype

    def __call__(self, x: Array) -> Array:
        """X [...,C] -> [...,C], normalised."""
        x = at_least_float32(x)
        x = standardize(x, self.epsilon, "channels")
        return (x * self.scale[...] + self.bias[...]).astype(self.dtype)
