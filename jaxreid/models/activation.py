"""ReLU, with gradients that need its result only."""

import jax
import jax.numpy as jnp

from jaxreid.models.platform import on_cpu
from jaxreid.types import Array

__all__ = ["relu", "relu_of_sum"]


@jax.custom_jvp
def relu(x: Array) -> Array:
    """max(x, 0); where it is 0, so is the gradient.

    Args:
        x: floating point, any shape.

    Returns:
        The same shape and type.
    """
    return jnp.maximum(x, 0)


@relu.defjvp
def _relu_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    y = relu(*primals)
    return y, jnp.where(y > 0, tangents[0], 0)


@jax.custom_jvp
def relu_of_sum(x: Array, y: Array) -> Array:
    """max(x + y, 0), as `relu`.

    The same number on every platform where x, y and x + y are normal or zero; of a zero, the sign
    is not defined. Processors may take subnormal numbers for zero: where one of the three is
    subnormal, the result is less than two smallest normal numbers (float32: 2.4e-38) off. NaN gives
    NaN, and so do infinities of opposite sign. On CPUs, so does -inf in x beside a finite y, where
    max(x + y, 0) is 0: only a network that overflowed has it.

    Args:
        x: floating point, any shape; more than -inf.
        y: the same shape and type.

    Returns:
        The same shape and type.
    """
    if not on_cpu():
        return jnp.maximum(x + y, 0)
    # If y < -x, this is x - x, and else x + y, rounded once. XLA's CPU backend computes the
    # result of a function of one array again wherever it is used, which along a residual network
    # means every block before it; the result of a function of two arrays, as this is until its last
    # operation, it keeps. jnp.where(y < -x, 0, x + y) would be right for -inf too, and costs 3 % of
    # a ResNet-50's attack.
    return jnp.maximum(y, -x) + x


@relu_of_sum.defjvp
def _relu_of_sum_jvp(
    primals: tuple[Array, Array], tangents: tuple[Array, Array]
) -> tuple[Array, Array]:
    result = relu_of_sum(*primals)
    return result, jnp.where(result > 0, tangents[0] + tangents[1], 0)
