"""The maximum over windows, whose gradient is written in one pass along each direction.

XLA's gradient of reduce_window is a scatter, which takes a CPU several times as long; that of
strided slices is a sum of images with holes, which takes three times as long.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from jaxreid.types import Array

__all__ = ["pool_windows"]

_Chosen = tuple[Array, Array]  # whether the last of a window's pixels is the largest, or the middle


def pool_windows(x: Array, pads: list[tuple[int, int]]) -> Array:
    """Maximum of x [B,H,W,C] over 3x3 windows at stride 2, along rows and then across them.

    `pads` are the pixels (before, after) that count as -inf, for H and for W. The gradient goes to
    the first of equal values, as PyTorch's; NaN is larger than all. There is no forward-mode
    derivative (`jax.jvp`).
    """
    # Columns first: with equal values, row-major order is the order in which PyTorch looks.
    for axis, pad in ((2, pads[1]), (1, pads[0])):
        x = _pool(x, axis, pad, x.shape[axis])
    return x


@partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def _pool(x: Array, axis: int, pad: tuple[int, int], size: int) -> Array:
    """Maximum over windows of 3 pixels at stride 2 along one axis of `size` pixels."""
    return _pool_forward(x, axis, pad, size)[0]


def _pool_forward(x: Array, axis: int, pad: tuple[int, int], size: int) -> tuple[Array, _Chosen]:
    x = _padded(x, axis, pad, -jnp.inf)
    count = (x.shape[axis] - 3) // 2 + 1
    first, middle, last = (lax.slice_in_dim(x, i, i + 2 * count - 1, 2, axis) for i in range(3))
    is_middle = _beats(middle, first)
    larger = jnp.where(is_middle, middle, first)
    is_last = _beats(last, larger)
    return jnp.where(is_last, last, larger), (is_last, is_middle & ~is_last)


def _beats(second: Array, first: Array) -> Array:
    return (second > first) | jnp.isnan(second)


def _pool_backward(
    axis: int, pad: tuple[int, int], size: int, chosen: _Chosen, gradient: Array
) -> tuple[Array]:
    is_last, is_middle = chosen
    middle = jnp.where(is_middle, gradient, 0)
    first = jnp.where(is_last | is_middle, 0, gradient)
    last = jnp.where(is_last, gradient, 0)
    # A window's last pixel is the first of the next one.
    shared = _padded(first, axis, (0, 1)) + _padded(last, axis, (1, 0))
    pairs = jnp.stack([shared, _padded(middle, axis, (0, 1))], axis + 1)
    dx = pairs.reshape(*gradient.shape[:axis], -1, *gradient.shape[axis + 1 :])
    return (_padded(dx, axis, (-pad[0], size + pad[0] - dx.shape[axis])),)


_pool.defvjp(_pool_forward, _pool_backward)


def _padded(x: Array, axis: int, pad: tuple[int, int], value: float = 0) -> Array:
    """With pixels before and after those of an axis, or with fewer (< 0)."""
    pads = [(0, 0, 0)] * x.ndim
    pads[axis] = (*pad, 0)
    return lax.pad(x, jnp.asarray(value, x.dtype), pads)
