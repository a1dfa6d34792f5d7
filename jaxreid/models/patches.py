"""From an image to its patches' tokens: one convolution, or a few before it."""

import math
from typing import Any

import jax.numpy as jnp
from flax import nnx

from jaxreid.models.instance_norm import IBN
from jaxreid.models.layers import Conv, relu
from jaxreid.models.normalization import BatchNorm, Statistics
from jaxreid.types import Array

__all__ = ["ConvStem", "PatchEmbed", "Patches"]


class Patches(Conv):
    """A convolution of patches without padding, whose windows may overlap, as a matrix product."""

    def __call__(self, x: Array) -> Array:
        """Images [B,H,W,C] -> [B,h,w,K]."""
        size = self.kernel.shape[0]
        if size == self.stride:
            return super().__call__(x)
        # In cells of which patches and steps are multiples, windows are few slices, and wide ones.
        side = math.gcd(size, self.stride)
        cells, steps = size // side, self.stride // side
        B, H, W, C = x.shape
        rows, columns = ((length - size) // self.stride + 1 for length in (H, W))
        x = x[:, : H // side * side, : W // side * side].astype(self.dtype)
        x = x.reshape(B, H // side, side, W // side, side, C).transpose(0, 1, 3, 2, 4, 5)
        x = x.reshape(B, H // side, W // side, side * side * C)
        windows = [
            x[:, i : i + (rows - 1) * steps + 1 : steps, j : j + (columns - 1) * steps + 1 : steps]
            for i in range(cells)
            for j in range(cells)
        ]
        kernel = self.kernel[...].astype(self.dtype)
        kernel = kernel.reshape(cells, side, cells, side, C, -1).transpose(0, 2, 1, 3, 4, 5)
        y = jnp.concatenate(windows, -1) @ kernel.reshape(size * size * C, -1)
        return y if self.bias is None else y + self.bias[...].astype(self.dtype)


class PatchEmbed(nnx.Module):
    """One linear layer on the pixels of each patch.

    Source: equation 1 of https://arxiv.org/abs/2010.11929; patches that overlap:
    He et al., TransReID, section 3.1, https://arxiv.org/abs/2102.04378.

    Args:
        width: channels of a token.
        patch: side of a patch in pixels.
        stride: pixels from one patch to the next.
        dtype: of the computation; parameters are float32.
        rngs: source of the initial parameters.

    Returns:
        A module: (images [B,H,W,3], statistics) -> tokens [B,h*w,width] in row-major order,
        h = floor((H - patch) / stride) + 1.
    """

    def __init__(
        self, width: int, *, patch: int, stride: int, dtype: jnp.dtype, rngs: nnx.Rngs
    ) -> None:
        self.proj = Patches(3, width, patch, stride=stride, bias=True, dtype=dtype, rngs=rngs)

    def __call__(self, images: Array, statistics: Statistics) -> Array:
        """Images [B,H,W,3] -> tokens [B,h*w,width]."""
        x = self.proj(images)
        return x.reshape(x.shape[0], -1, x.shape[-1])


class _ReLU(nnx.Module):
    def __call__(self, x: Array) -> Array:
        return relu(x)


class ConvStem(nnx.Module):
    """Three convolutions with IBN-a or BatchNorm and ReLU, then a linear layer on each patch.

    7x7 of stride 2, 3x3 and 3x3, the first two followed by IBN-a; patches of half the side on that
    map. Luo et al., Self-Supervised Pre-Training for Transformer-Based Person Re-Identification,
    section 3.4 ("ICS"), https://arxiv.org/abs/2111.12084; attributes have the names of its
    authors' files.

    Args:
        width: channels of a token.
        patch: side of a patch in pixels, even.
        channels: of the convolutions.
        axis_name: mapped axis over which BatchNorm's batch statistics are shared.
        dtype: of the computation; parameters are float32.
        rngs: source of the initial parameters.

    Returns:
        A module: (images [B,H,W,3], statistics) -> tokens [B,h*w,width] in row-major order.
    """

    def __init__(
        self,
        width: int,
        *,
        patch: int,
        channels: int,
        axis_name: str | None,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
    ) -> None:
        options: dict[str, Any] = {"dtype": dtype, "rngs": rngs}
        norm: dict[str, Any] = {"axis_name": axis_name, "dtype": dtype}
        self.conv = nnx.List(
            [
                Conv(3, channels, 7, stride=2, padding=3, **options),
                IBN(channels, **norm),
                _ReLU(),
                Conv(channels, channels, 3, padding=1, **options),
                IBN(channels, **norm),
                _ReLU(),
                Conv(channels, channels, 3, padding=1, **options),
                BatchNorm(channels, **norm),
                _ReLU(),
            ]
        )
        self.proj = Patches(channels, width, patch // 2, stride=patch // 2, bias=True, **options)

    def __call__(self, images: Array, statistics: Statistics) -> Array:
        """Images [B,H,W,3] -> tokens [B,h*w,width]."""
        x = images
        for place in range(0, len(self.conv), 3):
            conv, norm, active = self.conv[place : place + 3]
            x = active(norm(conv(x), statistics))
        x = self.proj(x)
        return x.reshape(x.shape[0], -1, x.shape[-1])
