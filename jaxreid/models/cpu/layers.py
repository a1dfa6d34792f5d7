"""Layers in the forms in which XLA's CPU backend is fast: sums, means, convolutions.

It is slow at 1x1 and strided convolutions and at their gradients, which are matrix products here,
and a 3x3 convolution of many channels has fewer products in Winograd's form.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
from jax import lax

from jaxreid.collectives import varying_as
from jaxreid.models.cpu.winograd import winograd_convolution
from jaxreid.types import Array

__all__ = [
    "METHODS",
    "Method",
    "channel_means",
    "depthwise",
    "method_for",
    "relu_of_sum",
]


def relu_of_sum(x: Array, y: Array) -> Array:
    """max(x + y, 0) as a function of two arrays until its last operation; x more than -inf.

    XLA's CPU backend computes the result of a function of one array again wherever it is used,
    which along a residual network means every block before it; that of a function of two arrays it
    keeps. Where x is -inf and y is finite, the result is NaN and not 0.
    """
    # If y < -x, this is x - x, and else x + y, rounded once. jnp.where(y < -x, 0, x + y) would be
    # right for -inf too, and costs 3 % of a ResNet-50's attack.
    return jnp.maximum(y, -x) + x


def channel_means(x: Array) -> Array:
    """Means [C] of x [...,C] over all axes but the last, as a product: columns sum slowly."""
    rows = x.reshape(-1, x.shape[-1])
    return jnp.full(len(rows), 1 / len(rows), x.dtype) @ rows


Method = Literal["plain", "pointwise", "gathered", "winograd", "depthwise"]
"""How a convolution is computed: as written ("plain"), or by a function of METHODS."""

# Below this many channels the transforms of Winograd's method cost more than they save.
_WINOGRAD_CHANNELS = 64


def _pointwise(x: Array, kernel: Array, *, stride: int, padding: int) -> Array:
    """1x1 convolution as one matrix product; a strided one drops the unused pixels first."""
    return x[:, ::stride, ::stride] @ kernel[0, 0]


def _gathered(x: Array, kernel: Array, *, stride: int, padding: int) -> Array:
    """Convolution as one matrix product of all windows, side by side (im2col), with the kernel."""
    taps = kernel.shape[0]
    rows, columns = (size + 2 * padding - taps + 1 for size in x.shape[1:3])
    x = jnp.pad(x, [(0, 0), (padding, padding), (padding, padding), (0, 0)])
    shifted = [
        x[:, i : i + rows : stride, j : j + columns : stride]
        for i in range(taps)
        for j in range(taps)
    ]
    return jnp.concatenate(shifted, -1) @ kernel.reshape(-1, kernel.shape[-1])


def depthwise(x: Array, kernel: Array, *, stride: int, padding: int) -> Array:
    """Convolution of every channel of x [B,H,W,C] with a kernel of its own, [h,h,1,C]; stride 1.

    As multiplications and additions of shifted images, one loop over the result with all that
    follows. XLA's own form takes several times as long. Without forward-mode derivative.
    """
    return _depthwise(x, varying_as(x, kernel), padding)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _depthwise(x: Array, kernel: Array, padding: int) -> Array:
    return sum(
        (part * kernel[i, j, 0] for i, j, part in _shifted(x, kernel.shape[0], padding)),
        jnp.zeros((), x.dtype),
    )


def _shifted(x: Array, taps: int, padding: int) -> Iterator[tuple[int, int, Array]]:
    """What each tap (row, column) of a kernel meets, [B,H',W',C]."""
    rows, columns = (size + 2 * padding - taps + 1 for size in x.shape[1:3])
    x = jnp.pad(x, [(0, 0), (padding, padding), (padding, padding), (0, 0)])
    # Written out: inside the loop, each of its reads would ask whether it is in the image.
    x = lax.optimization_barrier(x)
    for i in range(taps):
        for j in range(taps):
            yield i, j, x[:, i : i + rows, j : j + columns]


def _depthwise_forward(x: Array, kernel: Array, padding: int) -> tuple[Array, tuple[Array, Array]]:
    return _depthwise(x, kernel, padding), (x, kernel)


def _depthwise_backward(
    padding: int, kept: tuple[Array, Array], gradient: Array
) -> tuple[Array, Array]:
    x, kernel = kept
    taps, count = len(kernel), gradient[..., 0].size
    dx = _depthwise(gradient, jnp.flip(kernel, (0, 1)), taps - 1 - padding)
    sums = [count * channel_means(part * gradient) for _, _, part in _shifted(x, taps, padding)]
    return dx, jnp.stack(sums).reshape(kernel.shape)


_depthwise.defvjp(_depthwise_forward, _depthwise_backward)


def _winograd(x: Array, kernel: Array, *, stride: int, padding: int) -> Array:
    return winograd_convolution(x, varying_as(x, kernel), padding)


METHODS: dict[Method, Callable[..., Array]] = {
    "pointwise": _pointwise,
    "gathered": _gathered,
    "winograd": _winograd,
    "depthwise": depthwise,
}
"""name -> function (images [B,H,W,C], kernel [h,w,C,K], *, stride, padding) -> [B,H',W',K]."""


def method_for(
    kernel_shape: tuple[int, ...],
    *,
    stride: int,
    padding: int,
    dtype: jnp.dtype,
    groups: int = 1,
    outputs: tuple[int, int] | None = None,
) -> Method:
    """Picks the fastest way to compute one convolution: a key of METHODS, or "plain".

    `kernel_shape` is (h, w, C / groups, K), `outputs` (H', W') in pixels where they are known.
    Winograd's sums are accurate enough in float32 and wider types only.
    """
    if groups > 1:
        own = groups == kernel_shape[3] and kernel_shape[2] == 1
        return "depthwise" if own and stride == 1 and padding < kernel_shape[0] else "plain"
    size, channels = kernel_shape[0], min(kernel_shape[2:])
    if size == 1 and padding == 0:
        return "pointwise"
    if size == stride and padding == 0:
        return "plain"
    possible = size == 3 and stride == 1 and padding < size
    if possible and channels >= _WINOGRAD_CHANNELS and jnp.finfo(dtype).bits >= 32:
        return "winograd"
    # XLA's gradient to the images is dozens of times slower where its kernel is larger than it.
    if stride > 1 and outputs is not None and min(outputs) < size:
        return "gathered"
    return "plain"
