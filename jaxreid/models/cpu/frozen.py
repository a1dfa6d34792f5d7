"""Convolutions whose weights no longer change, with quick gradients to their images."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from jaxreid.models.cpu.convolutions import METHODS, Method, method_for, winograd, winograd_bank
from jaxreid.models.cpu.gradients import adjoint_weights, image_gradient
from jaxreid.models.layers import Constant, convolution
from jaxreid.types import Array

__all__ = ["FrozenConv"]

_Weights = tuple[Array, ...]


class _How(NamedTuple):
    """How a convolution is computed."""

    method: Method
    stride: int
    padding: int


class FrozenConv(nnx.Module):
    """A convolution with a constant kernel and bias, both transformed once.

    The kernel is kept in the form that the method wants, and beside it the kernel of the gradient
    to the images. It has no gradient to its weights and no forward-mode derivative (`jax.jvp`);
    second derivatives in reverse mode it has.

    Args:
        kernel: [h,h,C,K].
        bias: [K] float32, or None.
        stride: pixels between outputs, both directions.
        padding: pixels of zeros on every side.
        dtype: of the computation and the result.

    Returns:
        A module: images [B,H,W,C] -> [B,H',W',K] of type dtype.
    """

    def __init__(
        self, kernel: Array, bias: Array | None, *, stride: int, padding: int, dtype: jnp.dtype
    ) -> None:
        self.dtype, self.taps = dtype, kernel.shape[0]
        method = method_for(kernel.shape, stride=stride, padding=padding, dtype=dtype)
        self.how = _How(method, stride, padding)
        kernel = kernel.astype(dtype)
        weights = winograd_bank(kernel) if method == "winograd" else (kernel,)
        self.weights = nnx.List(map(Constant, weights))
        # JAX's own gradient of a patch embedding is a matrix product already: nothing is kept.
        patches = self.taps == stride > 1 and padding == 0
        adjoint = () if patches else adjoint_weights(kernel, **self.how._asdict())
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
    function = METHODS.get(how.method, convolution)
    return function(x, weights[0], stride=how.stride, padding=how.padding)


@partial(jax.custom_vjp, nondiff_argnums=(3, 4, 5))
def _convolve(
    x: Array, weights: _Weights, adjoint: _Weights, how: _How, taps: int, size: tuple[int, int]
) -> Array:
    """A convolution of images of (height, width) = size, with a quick gradient to them alone."""
    return _apply(x, weights, how)


def _convolve_forward(
    x: Array, weights: _Weights, adjoint: _Weights, how: _How, taps: int, size: tuple[int, int]
) -> tuple[Array, tuple[_Weights, _Weights]]:
    return _convolve(x, weights, adjoint, how, taps, size), (weights, adjoint)


def _convolve_backward(
    how: _How,
    taps: int,
    size: tuple[int, int],
    kept: tuple[_Weights, _Weights],
    gradient: Array,
) -> tuple[Array, _Weights, _Weights]:
    dx = image_gradient(gradient, kept[1], taps=taps, size=size, **how._asdict())
    return dx, *jax.tree.map(jnp.zeros_like, kept)


_convolve.defvjp(_convolve_forward, _convolve_backward)
