"""Convolutions whose weights no longer change, with quick gradients to their images.

What JAX derives is a convolution with a reversed, transposed kernel, and one with holes for a
strided layer; both miss the fast path of XLA's CPU backend. These write the same sums as ordinary
convolutions and products, with weights that are brought into their final form beforehand.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from jaxreid.models.cpu.layers import (
    METHODS,
    Method,
    depthwise,
    method_for,
)
from jaxreid.models.cpu.winograd import winograd, winograd_bank
from jaxreid.models.layers import Constant, convolution
from jaxreid.types import Array

__all__ = ["FrozenConv", "adjoint_weights", "image_gradient"]

_Weights = tuple[Array, ...]

_LAYOUT = ("NHWC", "HWIO", "NHWC")

# Convolutions to fewer channels than this waste most of a matrix product. They give a block of
# pixels at once, as channels: this many strides down and across, for an image 4 x 2 pixels and 24
# channels, which fill the registers of AVX2 and AVX-512 best.
_FEW_CHANNELS = 16
_STRIDES_OF_BLOCK = (2, 1)


class _How(NamedTuple):
    """How a convolution is computed."""

    method: Method
    stride: int
    padding: int
    groups: int = 1


class FrozenConv(nnx.Module):
    """A convolution with a constant kernel [h,h,C/G,K] and bias [K], both transformed once.

    The kernel is kept in the form that the method wants, and beside it the kernel of the gradient
    to the images. It has no gradient to its weights and no forward-mode derivative (`jax.jvp`);
    second derivatives in reverse mode it has. `dtype` is that of the computation and the result.
    """

    def __init__(
        self,
        kernel: Array,
        bias: Array | None,
        *,
        stride: int,
        padding: int,
        groups: int,
        dtype: jnp.dtype,
    ) -> None:
        self.dtype, self.taps = dtype, kernel.shape[0]
        method = method_for(
            kernel.shape, stride=stride, padding=padding, groups=groups, dtype=dtype
        )
        self.how = _How(method, stride, padding, groups)
        kernel = kernel.astype(dtype)
        weights = winograd_bank(kernel) if method == "winograd" else (kernel,)
        self.weights = nnx.List(map(Constant, weights))
        # JAX's gradient of patches is a matrix product already; that of wide groups is JAX's, too.
        patches = self.taps == stride > 1 and padding == 0
        own = patches or (groups > 1 and method == "plain")
        adjoint = () if own else adjoint_weights(kernel, **_of_gradient(self.how))
        self.adjoint = nnx.List(map(Constant, adjoint))
        self.bias = None if bias is None else Constant(bias)

    def __call__(self, x: Array) -> Array:
        """Images [B,H,W,C] -> [B,H',W',K]."""
        weights = tuple(lax.stop_gradient(weight[...]) for weight in self.weights)
        x = x.astype(self.dtype)
        if self.adjoint:
            adjoint = tuple(weight[...] for weight in self.adjoint)
            y = _convolve(x, weights, adjoint, self.how, self.taps, x.shape[1:3])
        else:
            y = _apply(x, weights, self.how)
        if self.bias is None:
            return y
        bias = lax.stop_gradient(self.bias[...])
        # Pixel by pixel, as the product: a change of shape between the two would cost a pass.
        flat = y.reshape(-1, y.shape[-1]).astype(bias.dtype) + bias
        return flat.astype(self.dtype).reshape(y.shape)


def _apply(x: Array, weights: _Weights, how: _How) -> Array:
    """A convolution with weights in the form that its method wants."""
    if how.method == "winograd":
        return winograd(x, weights, padding=how.padding)
    if how.method == "plain":
        return convolution(x, weights[0], stride=how.stride, padding=how.padding, groups=how.groups)
    return METHODS[how.method](x, weights[0], stride=how.stride, padding=how.padding)


def _of_gradient(how: _How) -> dict[str, Any]:
    """The arguments of `adjoint_weights` and `image_gradient`."""
    return {"method": how.method, "stride": how.stride, "padding": how.padding}


@partial(jax.custom_vjp, nondiff_argnums=(3, 4, 5))
def _convolve(
    x: Array, weights: _Weights, adjoint: _Weights, how: _How, taps: int, size: tuple[int, int]
) -> Array:
    """A convolution of images of (height, width) = size, with a quick gradient to them alone."""
    return _apply(x, weights, how)


def _convolve_forward(
    x: Array, weights: _Weights, adjoint: _Weights, how: _How, taps: int, size: tuple[int, int]
) -> tuple[Array, _Weights]:
    return _convolve(x, weights, adjoint, how, taps, size), adjoint


def _convolve_backward(
    how: _How, taps: int, size: tuple[int, int], adjoint: _Weights, gradient: Array
) -> tuple[Array, None, None]:
    dx = image_gradient(gradient, adjoint, taps=taps, size=size, **_of_gradient(how))
    return dx, None, None


_convolve.defvjp(_convolve_forward, _convolve_backward)


class _Phase:
    """What the pixels r, r + s, r + 2 s, ... of one direction meet: taps of the reversed kernel."""

    def __init__(self, remainder: int, taps: int, stride: int, padding: int) -> None:
        first = (remainder + padding) % stride
        self.count = len(range(first, taps, stride))
        # Reversed, the last tap comes first.
        self.taps = slice((taps - 1 - first) % stride, None, stride)
        self.last = (remainder + padding) // stride
        self.first = self.last - self.count + 1

    def pads(self, outputs: int, inputs: int) -> tuple[int, int]:
        """Zeros before and after the gradient."""
        return _pads(self.first, self.last, outputs, inputs)


def _pads(first: int, last: int, outputs: int, inputs: int, step: int = 1) -> tuple[int, int]:
    """Zeros around inputs of which output q meets q step + first to q step + last (< 0: cut)."""
    return -first, (outputs - 1) * step + last - (inputs - 1)


def _phases(taps: int, stride: int, padding: int, strides: int = 1) -> list[_Phase]:
    return [_Phase(r, taps, stride, padding) for r in range(stride * strides)]


def _reach(phases: list[_Phase]) -> tuple[int, int]:
    return min(phase.first for phase in phases), max(phase.last for phase in phases)


def adjoint_weights(
    kernel: Array, *, method: Method, stride: int, padding: int
) -> tuple[Array, ...]:
    """What `image_gradient`, with the same method, makes of a kernel [h,h,C,K] beforehand."""
    turned = jnp.flip(kernel, (0, 1))
    if method == "depthwise":
        return (turned,)
    turned = turned.transpose(0, 1, 3, 2)
    if method == "pointwise":
        return (turned[0, 0],)
    if method == "winograd":
        return winograd_bank(turned)
    if stride == 1:
        return (turned,)
    taps, channels = kernel.shape[0], kernel.shape[2]
    if channels < _FEW_CHANNELS:
        return (_block_kernel(turned, stride, padding),)
    phases = _phases(taps, stride, padding)
    return tuple(turned[a.taps, b.taps] for a in phases for b in phases)


def image_gradient(
    gradient: Array,
    weights: tuple[Array, ...],
    *,
    taps: int,
    size: tuple[int, int],
    method: Method,
    stride: int,
    padding: int,
) -> Array:
    """Gradient to its images of a convolution with stride s, one of s x s phases after the other.

    The pixels m = s q + r of a phase r meet the taps u = (r + padding) mod s + s t only:
    dx[s q + r] = sum_t dy[q + (r + padding) // s - t] kernel[u]^T, which is a convolution of dy
    with stride 1. Shi et al., https://arxiv.org/abs/1609.07009, read backwards.

    Args:
        gradient: [B,H',W',K], to the convolution's result.
        weights: what `adjoint_weights` made of the kernel [h,h,C,K].
        taps: h.
        size: (H, W) of the images in pixels.
        method: how the convolution is computed, "plain", "pointwise", "winograd" or "depthwise".
        stride: pixels between outputs, both directions.
        padding: pixels of zeros on every side.

    Returns:
        [B,H,W,C] of the same type.
    """
    if method == "pointwise":
        return _spread(gradient @ weights[0], size, stride)
    if method == "winograd":
        return winograd(gradient, weights, padding=taps - 1 - padding)
    if method == "depthwise":
        return depthwise(gradient, weights[0], stride=1, padding=taps - 1 - padding)
    if stride > 1 and len(weights) == 1:
        return _block_gradient(gradient, weights[0], taps, size, stride, padding)
    phases = _phases(taps, stride, padding)
    rows, columns = (-(-side // stride) for side in size)
    parts = iter(weights)
    dx = jnp.stack(
        [
            jnp.stack([_one(gradient, next(parts), a, b, (rows, columns)) for b in phases], 3)
            for a in phases
        ],
        2,
    )
    dx = dx.reshape(dx.shape[0], rows * stride, columns * stride, -1)
    return dx[:, : size[0], : size[1]]


def _spread(pixels: Array, size: tuple[int, int], stride: int) -> Array:
    """Zeros between pixels that a strided 1x1 convolution took, and after them."""
    after = [
        side - 1 - (have - 1) * stride for side, have in zip(size, pixels.shape[1:3], strict=True)
    ]
    pads = [(0, 0, 0), *((0, more, stride - 1) for more in after), (0, 0, 0)]
    return lax.pad(pixels, jnp.zeros((), pixels.dtype), pads)


def _one(gradient: Array, weights: Array, a: _Phase, b: _Phase, outputs: tuple[int, int]) -> Array:
    """The pixels of one phase, [B,rows,columns,C]."""
    B, H, W, _ = gradient.shape
    if not a.count or not b.count:
        return jnp.zeros((B, *outputs, weights.shape[3]), gradient.dtype)
    pads = [a.pads(outputs[0], H), b.pads(outputs[1], W)]
    if a.count == b.count == 1 and not any(map(any, pads)):
        return gradient @ weights[0, 0]
    return lax.conv_general_dilated(gradient, weights, (1, 1), pads, dimension_numbers=_LAYOUT)


def _block_kernel(turned: Array, stride: int, padding: int) -> Array:
    """All pixels of a block as the channels of one convolution's kernel."""
    taps, (K, C) = turned.shape[0], turned.shape[2:]
    rows, columns = (_phases(taps, stride, padding, count) for count in _STRIDES_OF_BLOCK)
    (top, bottom), (left, right) = _reach(rows), _reach(columns)
    shape = (bottom - top + 1, right - left + 1, K, len(rows), len(columns), C)
    kernel = jnp.zeros(shape, turned.dtype)
    for i, a in enumerate(rows):
        for j, b in enumerate(columns):
            at = (
                slice(a.first - top, a.last - top + 1),
                slice(b.first - left, b.last - left + 1),
            )
            kernel = kernel.at[*at, :, i, j].set(turned[a.taps, b.taps])
    return kernel.reshape(*shape[:3], -1)


def _block_gradient(
    gradient: Array,
    kernel: Array,
    taps: int,
    size: tuple[int, int],
    stride: int,
    padding: int,
) -> Array:
    block = tuple(stride * count for count in _STRIDES_OF_BLOCK)
    blocks = [-(-side // pixels) for side, pixels in zip(size, block, strict=True)]
    pads = [
        _pads(*_reach(_phases(taps, stride, padding, count)), outputs, inputs, count)
        for count, outputs, inputs in zip(
            _STRIDES_OF_BLOCK, blocks, gradient.shape[1:3], strict=True
        )
    ]
    dx = lax.conv_general_dilated(
        gradient, kernel, _STRIDES_OF_BLOCK, pads, dimension_numbers=_LAYOUT
    )
    dx = dx.reshape(-1, *blocks, *block, dx.shape[-1] // (block[0] * block[1]))
    dx = dx.transpose(0, 1, 3, 2, 4, 5)
    dx = dx.reshape(len(dx), blocks[0] * block[0], blocks[1] * block[1], -1)
    return dx[:, : size[0], : size[1]]
