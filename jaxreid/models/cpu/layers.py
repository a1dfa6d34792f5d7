"""Pooling, sums and means in the forms in which XLA's CPU backend is fast."""

import jax.numpy as jnp
from jax import lax

from jaxreid.types import Array

__all__ = ["channel_means", "pool_windows", "relu_of_sum"]


def relu_of_sum(x: Array, y: Array) -> Array:
    """max(x + y, 0) as a function of two arrays until its last operation.

    XLA's CPU backend computes the result of a function of one array again wherever it is used,
    which along a residual network means every block before it; that of a function of two arrays it
    keeps.

    Args:
        x: floating point, any shape; more than -inf.
        y: the same shape and type.

    Returns:
        The same shape and type; NaN where x is -inf and y is finite, where max(x + y, 0) is 0.
    """
    # If y < -x, this is x - x, and else x + y, rounded once. jnp.where(y < -x, 0, x + y) would be
    # right for -inf too, and costs 3 % of a ResNet-50's attack.
    return jnp.maximum(y, -x) + x


def channel_means(x: Array) -> Array:
    """Means over all axes but the last, as a matrix product: columns are summed slowly.

    Args:
        x: [..., C] floating point.

    Returns:
        [C] of the same type.
    """
    rows = x.reshape(-1, x.shape[-1])
    return jnp.full(len(rows), 1 / len(rows), x.dtype) @ rows


def pool_windows(x: Array, pads: list[tuple[int, int]]) -> Array:
    """Maximum over 3x3 windows at stride 2, of shifted slices along rows and then across them.

    XLA's gradient of reduce_window is a scatter, four times slower on a CPU.

    Args:
        x: [B,H,W,C] floating point.
        pads: pixels (before, after) that count as -inf, for H and for W.

    Returns:
        [B,H',W',C] of the same type.
    """
    # Columns first: with equal values, row-major order is the order in which PyTorch looks.
    for axis, pad in ((2, pads[1]), (1, pads[0])):
        amounts = [(0, 0)] * 4
        amounts[axis] = pad
        x = jnp.pad(x, amounts, constant_values=-jnp.inf)
        count = (x.shape[axis] - 3) // 2 + 1
        shifted = [lax.slice_in_dim(x, i, i + 2 * count - 1, 2, axis) for i in range(3)]
        x = _larger(_larger(shifted[0], shifted[1]), shifted[2])
    return x


def _larger(first: Array, second: Array) -> Array:
    """Maximum whose gradient goes to the first of two equal values, as PyTorch's; NaN wins."""
    return jnp.where((second > first) | jnp.isnan(second), second, first)
