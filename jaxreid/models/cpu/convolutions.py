"""Convolutions as matrix products, where XLA's CPU backend is faster at those.

It is slow at 1x1 and strided convolutions and at their gradients, and a 3x3 convolution of many
channels has fewer products in Winograd's form.
"""

from collections.abc import Callable
from typing import Literal

import jax.numpy as jnp

from jaxreid.types import Array

__all__ = ["METHODS", "Method", "method_for", "winograd", "winograd_bank"]

Method = Literal["plain", "pointwise", "gathered", "winograd"]
"""How a convolution is computed: as written ("plain"), or by a function of METHODS."""

# Below this many channels the transforms of Winograd's method cost more than they save.
_WINOGRAD_CHANNELS = 128


def _pointwise(x: Array, kernel: Array, *, stride: int, padding: int) -> Array:
    """1x1 convolution as one matrix product; a strided one drops the unused pixels first."""
    return x[:, ::stride, ::stride] @ kernel[0, 0]


def _gathered(x: Array, kernel: Array, *, stride: int, padding: int) -> Array:
    """Convolution as one matrix product of all windows, side by side, with the kernel."""
    taps = kernel.shape[0]
    rows, columns = (size + 2 * padding - taps + 1 for size in x.shape[1:3])
    x = jnp.pad(x, [(0, 0), (padding, padding), (padding, padding), (0, 0)])
    shifted = [
        x[:, i : i + rows : stride, j : j + columns : stride]
        for i in range(taps)
        for j in range(taps)
    ]
    return jnp.concatenate(shifted, -1) @ kernel.reshape(-1, kernel.shape[-1])


def _winograd_input(rows: list[Array]) -> list[Array]:
    return [rows[0] - rows[2], rows[1] + rows[2], rows[2] - rows[1], rows[1] - rows[3]]


def _winograd_kernel(rows: list[Array]) -> list[Array]:
    outer, inner = 0.5 * (rows[0] + rows[2]), 0.5 * rows[1]
    return [rows[0], outer + inner, outer - inner, rows[2]]


def _winograd_output(rows: list[Array]) -> list[Array]:
    return [rows[0] + rows[1] + rows[2], rows[1] - rows[2] - rows[3]]


def winograd_bank(kernel: Array) -> tuple[Array, ...]:
    """What Winograd's method makes of a kernel before it sees an image.

    Args:
        kernel: [3,3,C,K].

    Returns:
        16 matrices [C,K] of the same type, one per product.
    """
    return tuple(
        tap for row in _winograd_kernel(list(kernel)) for tap in _winograd_kernel(list(row))
    )


def winograd(x: Array, bank: tuple[Array, ...], *, padding: int) -> Array:
    """3x3 convolution with stride 1 as Winograd's F(2x2, 3x3): 16 products for 36.

    Source: Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, CVPR 2016,
    https://arxiv.org/abs/1509.09308.

    Args:
        x: images [B,H,W,C] floating point.
        bank: 16 matrices [C,K] of the same type, `winograd_bank` of the kernel.
        padding: pixels of zeros on every side.

    Returns:
        [B,H',W',K] of the same type.
    """
    B = x.shape[0]
    H, W = (n + 2 * padding - 2 for n in x.shape[1:3])
    h, w = -(-H // 2), -(-W // 2)
    x = jnp.pad(x, [(0, 0), (padding, padding + 2 * h - H), (padding, padding + 2 * w - W), (0, 0)])
    rows = _winograd_input([x[:, i : i + 2 * h - 1 : 2] for i in range(4)])
    tiles = [
        tile
        for row in rows
        for tile in _winograd_input([row[:, :, j : j + 2 * w - 1 : 2] for j in range(4)])
    ]
    # One product after the other: a batched one would need the tiles copied side by side.
    products = [tile @ matrix for tile, matrix in zip(tiles, bank, strict=True)]
    columns = [_winograd_output(products[j::4]) for j in range(4)]
    halves = [_winograd_output(list(row)) for row in zip(*columns, strict=True)]
    y = jnp.stack([jnp.stack(half, axis=3) for half in halves], axis=2)
    return y.reshape(B, 2 * h, 2 * w, -1)[:, :H, :W]


def _winograd(x: Array, kernel: Array, *, stride: int, padding: int) -> Array:
    return winograd(x, winograd_bank(kernel), padding=padding)


METHODS: dict[Method, Callable[..., Array]] = {
    "pointwise": _pointwise,
    "gathered": _gathered,
    "winograd": _winograd,
}
"""name -> function (images [B,H,W,C], kernel [h,w,C,K], *, stride, padding) -> [B,H',W',K]."""


def method_for(
    kernel_shape: tuple[int, ...],
    *,
    stride: int,
    padding: int,
    dtype: jnp.dtype,
    outputs: tuple[int, int] | None = None,
) -> Method:
    """Picks the fastest way to compute one convolution.

    Args:
        kernel_shape: (h, w, C, K).
        stride: pixels between outputs, both directions.
        padding: pixels of zeros on every side.
        dtype: of the computation; Winograd's sums are only accurate enough in float32 and wider.
        outputs: (H', W') in pixels, where they are known.

    Returns:
        A key of METHODS, or "plain".
    """
    size, channels = kernel_shape[0], min(kernel_shape[2:])
    if size == 1 and padding == 0:
        return "pointwise"
    if size == stride and padding == 0:
        return "plain"
    if size == 3 and stride == 1 and channels >= _WINOGRAD_CHANNELS and jnp.finfo(dtype).bits >= 32:
        return "winograd"
    # XLA's gradient to the images is dozens of times slower where its kernel is larger than it.
    if stride > 1 and outputs is not None and min(outputs) < size:
        return "gathered"
    return "plain"
