"""Networks whose weights no longer change: all that depends on weights alone is computed once."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from jaxreid.errors import InputError
from jaxreid.models.adjoints import image_gradient
from jaxreid.models.convolutions import METHODS, Conv, method_for, winograd, winograd_bank
from jaxreid.models.normalization import BatchNorm, Statistics
from jaxreid.models.platform import on_cpu
from jaxreid.models.reid import ReID
from jaxreid.models.resnet import ResNet
from jaxreid.types import Array

__all__ = ["frozen"]


def frozen(model: ReID, *, batch_norm: Statistics = "running") -> ReID:
    """Prepares a network for many passes with the same weights, as attacks and retrieval make them.

    On running statistics BatchNorm is a multiplication and an addition per channel, which go into
    the convolution before it: BN(k * x) = (k scale / sigma) * x + (bias - mean scale / sigma).
    Kernels are transformed for the method that computes them, and on a CPU gradients to the images
    are computed in the forms in which they are fast. Jacob et al., section 3.2,
    https://arxiv.org/abs/1712.05877, folds the same way.

    The result computes the same function up to rounding. Its weights have no gradient, and on a CPU
    it has no forward-mode derivative (`jax.jvp`); second derivatives in reverse mode it has.

    Args:
        model: the network; it is not changed. One without a ResNet inside, or
            frozen before, comes back as a copy.
        batch_norm: the statistics that the result will run on; with "batch" nothing is folded.

    Returns:
        A network that is called as the given one, with this batch_norm.
    """
    copy = nnx.clone(model)
    if isinstance(copy.backbone, ResNet):
        for holder, conv, norm in copy.backbone.normalized():
            if isinstance(_get(holder, conv), _FrozenConv):
                continue
            if batch_norm == "running":
                _put(holder, conv, _FrozenConv(_get(holder, conv), _get(holder, norm)))
                _put(holder, norm, _Folded())
            else:
                _put(holder, conv, _FrozenConv(_get(holder, conv), None))
    return copy


def _get(holder: Any, place: str | int) -> Any:
    return getattr(holder, place) if isinstance(place, str) else holder[place]


def _put(holder: Any, place: str | int, module: nnx.Module) -> None:
    if isinstance(place, str):
        setattr(holder, place, module)
    else:
        holder[place] = module


class _Weight(nnx.Variable):
    """A constant of a frozen network."""


class _Folded(nnx.Module):
    """What is left of a BatchNorm that went into the convolution before it."""

    def __call__(self, x: Array, statistics: Statistics) -> Array:
        if statistics != "running":
            raise InputError(
                f"this network was frozen for running statistics, not for {statistics!r}"
            )
        return x


class _FrozenConv(nnx.Module):
    """A convolution layer, the BatchNorm after it included."""

    def __init__(self, conv: Conv, norm: BatchNorm | None) -> None:
        kernel = conv.kernel[...]
        bias = None if conv.bias is None else conv.bias[...]
        if norm is not None:
            factor, shift = norm.running()
            kernel = kernel * factor
            bias = shift if bias is None else shift + factor * bias
        self.stride, self.padding, self.dtype = conv.stride, conv.padding, conv.dtype
        self.method = method_for(
            kernel.shape, stride=self.stride, padding=self.padding, dtype=self.dtype
        )
        kernel = kernel.astype(self.dtype)
        self.kernel = _Weight(winograd_bank(kernel) if self.method == "winograd" else kernel)
        self.bias = None if bias is None else _Weight(bias)

    def __call__(self, x: Array) -> Array:
        kernel = lax.stop_gradient(self.kernel[...])
        x = x.astype(self.dtype)
        if self.method == "winograd":
            y = winograd(x, kernel, padding=self.padding)
        elif self.method == "plain" and on_cpu():
            y = _convolve(x, kernel, self.stride, self.padding, x.shape[1:3])
        else:
            y = METHODS[self.method](x, kernel, stride=self.stride, padding=self.padding)
        if self.bias is None:
            return y
        bias = lax.stop_gradient(self.bias[...])
        return (y.astype(bias.dtype) + bias).astype(self.dtype)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _convolve(x: Array, kernel: Array, stride: int, padding: int, size: tuple[int, int]) -> Array:
    """A plain convolution of images of (height, width) = size with a quick gradient to them."""
    return METHODS["plain"](x, kernel, stride=stride, padding=padding)


def _convolve_forward(
    x: Array, kernel: Array, stride: int, padding: int, size: tuple[int, int]
) -> tuple[Array, Array]:
    return _convolve(x, kernel, stride, padding, size), kernel


def _convolve_backward(
    stride: int, padding: int, size: tuple[int, int], kernel: Array, gradient: Array
) -> tuple[Array, Array]:
    dx = image_gradient(gradient, kernel, size=size, stride=stride, padding=padding)
    return dx, jnp.zeros_like(kernel)


_convolve.defvjp(_convolve_forward, _convolve_backward)
