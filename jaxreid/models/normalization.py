"""BatchNorm as PyTorch trains it, over one device or over all devices of a mapped axis."""

from functools import partial
from typing import Literal, get_args

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from jaxreid.collectives import Collective, varying_as
from jaxreid.errors import InputError
from jaxreid.models.cpu.layers import channel_means
from jaxreid.precision import at_least_float32
from jaxreid.types import Array

__all__ = ["BatchNorm", "Statistics"]

Statistics = Literal["running", "batch"]
"""Which mean and variance BatchNorm divides by: the stored ones, or those of the batch at hand."""

_EPSILON = 1e-5
_MOMENTUM = 0.1


class BatchNorm(nnx.Module):
    """Batch normalisation over all axes but the last.

    y = (x - mean) / sqrt(var + 1e-5) * scale + bias. With batch statistics the biased variance
    divides, and the running statistics move by 0.1 towards the batch's mean and its *unbiased*
    variance, as PyTorch's do (Flax's own BatchNorm keeps the biased one, which would let features
    drift apart from those of the same model trained in PyTorch). Statistics are float32 whatever
    the type of x. On batch statistics there is no forward-mode derivative (`jax.jvp`).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.BatchNorm2d.html.

    Args:
        features: channels C.
        axis_name: mapped axis (of pmap or shard_map) whose devices share their statistics; every
            device must hold a batch of the same size. Used with batch statistics only.
        dtype: of the result; parameters and statistics are float32.

    Returns:
        A module: (x [..., C], statistics) -> [..., C] of type dtype. With statistics "batch" the
        call updates mean and var in place.
    """

    def __init__(
        self, features: int, *, axis_name: str | None = None, dtype: jnp.dtype = jnp.float32
    ) -> None:
        self.scale = nnx.Param(jnp.ones(features))
        self.bias = nnx.Param(jnp.zeros(features))
        self.mean = nnx.BatchStat(jnp.zeros(features))
        self.var = nnx.BatchStat(jnp.ones(features))
        self.axis_name, self.dtype = axis_name, dtype

    def __call__(self, x: Array, statistics: Statistics) -> Array:
        """X [..., C] -> [..., C], normalised."""
        if statistics not in get_args(Statistics):
            raise InputError(f"BatchNorm runs on one of {get_args(Statistics)}, got {statistics!r}")
        x = at_least_float32(x)
        if statistics == "running":
            mean, factor = self._factor()
            return ((x - mean) * factor + self.bias[...]).astype(self.dtype)
        return self._on_batch(x).astype(self.dtype)

    def running(self) -> tuple[Array, Array]:
        """This layer on running statistics, y = factor x + shift.

        Returns:
            factor [C] and shift [C], float32.
        """
        mean, factor = self._factor()
        return factor, self.bias[...] - mean * factor

    def _factor(self) -> tuple[Array, Array]:
        """The running mean [C], and scale / sqrt(var + epsilon) [C]."""
        mean, var = at_least_float32(self.mean[...]), at_least_float32(self.var[...])
        return mean, self.scale[...] * lax.rsqrt(var + _EPSILON)

    def _on_batch(self, x: Array) -> Array:
        devices = Collective(self.axis_name)
        count = x.size // x.shape[-1] * devices.size
        if count < 2:
            raise InputError("BatchNorm on batch statistics needs more than one value per channel")
        scale, bias = varying_as(x, self.scale[...]), varying_as(x, self.bias[...])
        y, mean, var = _normalized(x, scale, bias, devices)
        unbiased = var * (count / (count - 1))
        for stored, here in ((self.mean, mean), (self.var, unbiased)):
            stored[...] = (1 - _MOMENTUM) * at_least_float32(stored[...]) + _MOMENTUM * here
        return y


def _channel_means(x: Array) -> Array:
    """Mean [C] over all axes but the last, on this device."""
    return lax.platform_dependent(x, cpu=channel_means, default=lambda x: x.mean(range(x.ndim - 1)))


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def _normalized(
    x: Array, scale: Array, bias: Array, devices: Collective
) -> tuple[Array, Array, Array]:
    """X [..., C] normalised by its own statistics; mean and biased variance have no gradient."""
    return _normalized_forward(x, scale, bias, devices)[0]


def _normalized_forward(
    x: Array, scale: Array, bias: Array, devices: Collective
) -> tuple[tuple[Array, Array, Array], tuple[Array, ...]]:
    mean = devices.mean(_channel_means(x))
    # Two passes: E[x^2] - E[x]^2 cancels in float32 where the mean is far from zero.
    var = devices.mean(_channel_means(jnp.square(x - mean)))
    inverse = lax.rsqrt(var + _EPSILON)
    y = (x - mean) * (inverse * scale) + bias
    return (y, mean, var), (x, mean, inverse, scale)


def _normalized_backward(
    devices: Collective, kept: tuple[Array, ...], gradients: tuple[Array, Array, Array]
) -> tuple[Array, Array, Array]:
    """With z = (x - mean) / sigma: dx = scale / sigma (dy - E[dy] - z E[z dy]).

    Ioffe and Szegedy, section 3, https://arxiv.org/abs/1502.03167, put together: two sums over the
    batch, where the derivative of each of its steps makes five.
    """
    x, mean, inverse, scale = kept
    dy, z = gradients[0], (x - mean) * inverse
    shift, slope = _channel_means(dy), _channel_means(z * dy)
    dx = (scale * inverse) * (dy - devices.mean(shift) - z * devices.mean(slope))
    count = x.size // x.shape[-1]
    return dx, count * slope, count * shift


_normalized.defvjp(_normalized_forward, _normalized_backward)
