"""Mean 0 and variance 1 for each token, and layer normalisation."""

from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from jaxreid.types import Array

__all__ = ["LayerNorm", "standardize"]


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def standardize(x: Array, epsilon: float) -> Array:
    """Values of each token less their mean, over their deviation.

    (x - E[x]) / sqrt(Var[x] + epsilon), with the biased variance. Its gradient to x is written out,
    (dy - E[dy] - y E[y dy]) / sqrt(Var[x] + epsilon): two sums, where the derivative of each of its
    steps makes five. There is no forward-mode derivative (`jax.jvp`).

    Args:
        x: [...,C], float32 or wider.
        epsilon: above 0, in squared units of x.

    Returns:
        [...,C].
    """
    return _forward(x, epsilon)[0]


def _forward(x: Array, epsilon: float) -> tuple[Array, tuple[Array, Array]]:
    # Two passes: E[x^2] - E[x]^2 cancels where the mean is far from zero.
    centred = x - _means(x)
    inverse = lax.rsqrt(_means(jnp.square(centred)) + epsilon)
    y = centred * inverse
    return y, (y, inverse)


def _backward(epsilon: float, kept: tuple[Array, Array], dy: Array) -> tuple[Array]:
    y, inverse = kept
    return (inverse * (dy - _means(dy) - y * _means(y * dy)),)


standardize.defvjp(_forward, _backward)


def _means(x: Array) -> Array:
    """E[x], [...,1]; for a CPU as a product, for XLA adds the values of a row one by one."""
    ones = jnp.full((x.shape[-1], 1), 1 / x.shape[-1], x.dtype)
    return lax.platform_dependent(
        x, cpu=lambda x: x @ ones, default=lambda x: x.mean(-1, keepdims=True, dtype=x.dtype)
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
        x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        x = standardize(x, self.epsilon)
        return (x * self.scale[...] + self.bias[...]).astype(self.dtype)
