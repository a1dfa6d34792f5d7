"""BatchNorm as PyTorch trains it, over one device or over all devices of a mapped axis."""

from typing import Literal, get_args

import jax.numpy as jnp
from flax import nnx
from jax import lax

from jaxreid.errors import InputError
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
    the type of x.

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
        x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        if statistics == "running":
            mean, var = self.mean[...], self.var[...]
        else:
            mean, var = self._batch(x)
        scale = self.scale[...] * lax.rsqrt(var + _EPSILON)
        return ((x - mean) * scale + self.bias[...]).astype(self.dtype)

    def running(self) -> tuple[Array, Array]:
        """The function that running statistics make of this layer, y = factor x + shift.

        Returns:
            factor [C] and shift [C], float32.
        """
        factor = self.scale[...] * lax.rsqrt(self.var[...] + _EPSILON)
        return factor, self.bias[...] - self.mean[...] * factor

    def _batch(self, x: Array) -> tuple[Array, Array]:
        axes = tuple(range(x.ndim - 1))
        devices = 1 if self.axis_name is None else lax.axis_size(self.axis_name)
        count = x.size // x.shape[-1] * devices
        if count < 2:
            raise InputError("BatchNorm on batch statistics needs more than one value per channel")
        mean = self._across(x.mean(axes))
        # Two passes: E[x^2] - E[x]^2 cancels in float32 where the mean is far from zero.
        var = self._across(jnp.square(x - mean).mean(axes))
        unbiased = var * (count / (count - 1))
        self.mean[...] = lax.stop_gradient((1 - _MOMENTUM) * self.mean[...] + _MOMENTUM * mean)
        self.var[...] = lax.stop_gradient((1 - _MOMENTUM) * self.var[...] + _MOMENTUM * unbiased)
        return mean, var

    def _across(self, value: Array) -> Array:
        return value if self.axis_name is None else lax.pmean(value, self.axis_name)
