"""Instance normalisation, alone and beside BatchNorm (IBN-a)."""

import jax.numpy as jnp
from flax import nnx

from jaxreid.models.normalization import BatchNorm, Statistics
from jaxreid.models.standardization import standardize
from jaxreid.precision import at_least_float32
from jaxreid.types import Array

__all__ = ["IBN", "InstanceNorm"]

_EPSILON = 1e-5


class InstanceNorm(nnx.Module):
    """Instance normalisation: each channel of each image by its own mean and variance.

    y = (x - mean_hw(x)) / sqrt(var_hw(x) + 1e-5) * scale + bias, with the biased variance, on the
    image's own statistics in training and afterwards. Ulyanov et al.,
    https://arxiv.org/abs/1607.08022;
    https://docs.pytorch.org/docs/stable/generated/torch.nn.InstanceNorm2d.html with affine=True.

    Args:
        features: channels C.
        dtype: of the result; parameters and statistics are float32 at least.

    Returns:
        A module: x [B,H,W,C] -> [B,H,W,C] of type dtype.
    """

    def __init__(self, features: int, *, dtype: jnp.dtype = jnp.float32) -> None:
        self.scale = nnx.Param(jnp.ones(features))
        self.bias = nnx.Param(jnp.zeros(features))
        self.dtype = dtype

    def __call__(self, x: Array) -> Array:
        """X [B,H,W,C] -> [B,H,W,C], normalised."""
        x = at_least_float32(x)
        pixels = x.reshape(len(x), -1, x.shape[-1])
        y = standardize(pixels, _EPSILON, "pixels").reshape(x.shape)
        return (y * self.scale[...] + self.bias[...]).astype(self.dtype)


class IBN(nnx.Module):
    """IBN-a: instance normalisation of the first half of the channels, BatchNorm of the second.

    Pan et al., Two at Once, https://arxiv.org/abs/1807.09441, figure 3(a). The attributes have the
    names IN and BN of its authors' code.

    Args:
        features: channels C; the first C // 2 are normalised by image.
        axis_name: mapped axis over which BatchNorm's batch statistics are shared.
        dtype: of the result.

    Returns:
        A module: (x [B,H,W,C], statistics) -> [B,H,W,C] of type dtype.
    """

    def __init__(
        self, features: int, *, axis_name: str | None = None, dtype: jnp.dtype = jnp.float32
    ) -> None:
        self.half = features // 2
        self.IN = InstanceNorm(self.half, dtype=dtype)
        self.BN = BatchNorm(features - self.half, axis_name=axis_name, dtype=dtype)

    def __call__(self, x: Array, statistics: Statistics) -> Array:
        """X [B,H,W,C] -> [B,H,W,C], normalised."""
        by_image, by_batch = self.IN(x[..., : self.half]), self.BN(x[..., self.half :], statistics)
        return jnp.concatenate([by_image, by_batch], axis=-1)

    def running(self) -> tuple[Array, Array]:
        """What of this layer does not depend on the image: y = factor x + shift, BN's half.

        Returns:
            factor [C] and shift [C], float32; 1 and 0 in the half that is normalised by image.
        """
        factor, shift = self.BN.running()
        one = jnp.ones(self.half, factor.dtype)
        return jnp.concatenate([one, factor]), jnp.concatenate([0 * one, shift])
