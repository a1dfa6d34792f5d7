"""Convolutions with PyTorch's geometry, and the one place that picks how each is computed.

XLA's CPU backend is slow at 1x1 and strided convolutions and at their gradients, so on a CPU they
become matrix products; on an accelerator the vendor's convolution is the fast one. Every method
computes the same function (to rounding), so the choice is only ever one of speed.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax

from jaxreid.errors import InputError
from jaxreid.models.platform import on_cpu
from jaxreid.types import Array

__all__ = [
    "METHODS",
    "Conv",
    "convolve",
    "max_pool",
    "method_for",
    "winograd",
    "winograd_bank",
]

# Below this many channels the transforms of Winograd's method cost more than they save.
_WINOGRAD_CHANNELS = 128


def _plain(x: Array, kernel: Array, *, stride: int, padding: int) -> Array:
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        [(padding, padding)] * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def _pointwise(x: Array, kernel: Array, *, stride: int, padding: int) -> Array:
    """1x1 convolution as one matrix product; a strided one drops the unused pixels first."""
    return x[:, ::stride, ::stride] @ kernel[0, 0]


def _space_to_depth(x: Array, block: int) -> Array:
    """[B, H, W, C] -> [B, H/block, W/block, block*block*C]."""
    B, H, W, C = x.shape
    x = x.reshape(B, H // block, block, W // block, block, C)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(B, H // block, W // block, -1)


def _patches(x: Array, kernel: Array, *, stride: int, padding: int) -> Array:
    """Convolution whose kernel is as large as its stride: cut into patches, one matrix product."""
    H, W = (size // stride * stride for size in x.shape[1:3])
    return _space_to_depth(x[:, :H, :W], stride) @ kernel.reshape(-1, kernel.shape[-1])


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


METHODS: dict[str, Callable[..., Array]] = {
    "plain": _plain,
    "pointwise": _pointwise,
    "patches": _patches,
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
) -> str:
    """Picks the fastest way to compute one convolution on the default device.

    Args:
        kernel_shape: (h, w, C, K).
        stride: pixels between outputs, both directions.
        padding: pixels of zeros on every side.
        dtype: of the computation; Winograd's sums are only accurate enough in float32 and wider.
        outputs: (H', W') in pixels, where they are known.

    Returns:
        A key of METHODS.
    """
    size, channels = kernel_shape[0], min(kernel_shape[2:])
    if size == stride and padding == 0:
        return "pointwise" if size == 1 else "patches"
    if not on_cpu():
        return "plain"
    if size == 1 and padding == 0:
        return "pointwise"
    if size == 3 and stride == 1 and channels >= _WINOGRAD_CHANNELS and jnp.finfo(dtype).bits >= 32:
        return "winograd"
    # XLA's gradient to the images is dozens of times slower where its kernel is larger than it.
    if stride > 1 and outputs is not None and min(outputs) < size:
        return "gathered"
    return "plain"


def convolve(
    images: Array, kernel: Array, *, stride: int = 1, padding: int = 0, method: str | None = None
) -> Array:
    """Two-dimensional cross-correlation with PyTorch's geometry.

    y[b, i, j, k] = sum_{u,v,c} x[b, i*stride + u - padding, j*stride + v - padding, c] *
    kernel[u, v, c, k], zeros outside the image; H' = floor((H + 2*padding - h) / stride) + 1, as
    https://docs.pytorch.org/docs/stable/generated/torch.nn.Conv2d.html.

    Args:
        images: [B,H,W,C] floating point.
        kernel: [h,h,C,K] of the same type.
        stride: pixels between outputs, both directions.
        padding: pixels of zeros on every side.
        method: a key of METHODS; by default the fastest on the default device.

    Returns:
        [B,H',W',K] of the same type.

    Raises:
        InputError: the channels of images and kernel differ.
    """
    if images.ndim != 4 or images.shape[-1] != kernel.shape[2]:
        raise InputError(
            f"expected images [B,H,W,{kernel.shape[2]}] ({kernel.shape[2]} channels last), "
            f"got shape {tuple(images.shape)}"
        )
    if min(images.shape[1:3]) + 2 * padding < kernel.shape[0]:
        raise InputError(
            f"images of {images.shape[1]}x{images.shape[2]} pixels are smaller than the "
            f"{kernel.shape[0]}x{kernel.shape[1]} kernel they meet"
        )
    geometry = {"stride": stride, "padding": padding}
    height, width = ((n + 2 * padding - kernel.shape[0]) // stride + 1 for n in images.shape[1:3])
    chosen = method or method_for(
        kernel.shape, **geometry, dtype=images.dtype, outputs=(height, width)
    )
    return METHODS[chosen](images, kernel, **geometry)


def _larger(first: Array, second: Array) -> Array:
    """Maximum whose gradient goes to the first of two equal values, as PyTorch's; NaN wins."""
    return jnp.where((second > first) | jnp.isnan(second), second, first)


def _pool_windows(x: Array, pads: list[tuple[int, int]]) -> Array:
    """The largest of three shifted slices, along the rows and then across them."""
    # Columns first: with equal values, row-major order is the order in which PyTorch looks.
    for axis, pad in ((2, pads[1]), (1, pads[0])):
        amounts = [(0, 0)] * 4
        amounts[axis] = pad
        x = jnp.pad(x, amounts, constant_values=-jnp.inf)
        count = (x.shape[axis] - 3) // 2 + 1
        shifted = [lax.slice_in_dim(x, i, i + 2 * count - 1, 2, axis) for i in range(3)]
        x = _larger(_larger(shifted[0], shifted[1]), shifted[2])
    return x


def max_pool(images: Array, *, padded: bool = True) -> Array:
    """Maximum over 3x3 windows at stride 2.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.MaxPool2d.html, (3, 2,
    padding=1) if padded, else (3, 2, ceil_mode=True). Where values tie, the gradient goes to the
    first of them.

    Args:
        images: [B,H,W,C] floating point.
        padded: one pixel around the image, or none and a last window that may hang over.

    Returns:
        [B,H',W',C] of the same type.

    Raises:
        InputError: the images are too small for one window.
    """
    if min(images.shape[1:3]) < (1 if padded else 2):
        raise InputError(f"images of {images.shape[1:3]} pixels are too small to pool")
    # Without padding, the last window hangs over by one pixel where the size is even.
    pads = [(1, 1) if padded else (0, (size - 3) % 2) for size in images.shape[1:3]]
    if on_cpu():
        # XLA's gradient of reduce_window is a scatter, four times slower on a CPU.
        return _pool_windows(images, pads)
    return lax.reduce_window(
        images, -np.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), [(0, 0), *pads, (0, 0)]
    )


class Conv(nnx.Module):
    """Convolution layer; the kernel is drawn from N(0, 2 / (h*h*K)), torchvision's choice.

    Source: He et al., Delving Deep into Rectifiers, https://arxiv.org/abs/1502.01852.

    Args:
        inputs: channels C that come in.
        outputs: channels K that go out.
        size: height and width h of the kernel, in pixels.
        stride: pixels between outputs, both directions.
        padding: pixels of zeros on every side.
        bias: whether a bias [K] (zeros at first) is added.
        dtype: of the computation; parameters are float32.
        rngs: source of the initial kernel.

    Returns:
        A module: images [B,H,W,C] -> [B,H',W',K] of type dtype.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: int,
        *,
        stride: int = 1,
        padding: int = 0,
        bias: bool = False,
        dtype: jnp.dtype = jnp.float32,
        rngs: nnx.Rngs,
    ) -> None:
        init = jax.nn.initializers.variance_scaling(2.0, "fan_out", "normal")
        self.kernel = nnx.Param(init(rngs.params(), (size, size, inputs, outputs), jnp.float32))
        self.bias = nnx.Param(jnp.zeros(outputs)) if bias else None
        self.stride, self.padding, self.dtype = stride, padding, dtype

    def __call__(self, x: Array) -> Array:
        """Images [B,H,W,C] -> [B,H',W',K]."""
        kernel = self.kernel[...].astype(self.dtype)
        y = convolve(x.astype(self.dtype), kernel, stride=self.stride, padding=self.padding)
        return y if self.bias is None else y + self.bias[...].astype(self.dtype)
