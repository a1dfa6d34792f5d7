"""Networks whose weights no longer change: all that depends on weights alone is computed once."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from jaxreid.errors import InputError
from jaxreid.models.adjoints import adjoint_weights, image_gradient
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


_Weights = tuple[Array, ...]


class _How(NamedTuple):
    """How a convolution is computed."""

    method: str
    stride: int
    padding: int


class _FrozenConv(nnx.Module):
    """A convolution layer, the BatchNorm after it included."""

    def __init__(self, conv: Conv, norm: BatchNorm | None) -> None:
        kernel = conv.kernel[...]
        bias = None if conv.bias is None else conv.bias[...]
        if norm is not None:
            factor, shift = norm.running()
            kernel = kernel * factor
            bias = shift if bias is None else shift + factor * bias
        self.dtype, self.taps = conv.dtype, kernel.shape[0]
        method = method_for(
            kernel.shape, stride=conv.stride, padding=conv.padding, dtype=self.dtype
        )
        self.how = _How(method, conv.stride, conv.padding)
        kernel = kernel.astype(self.dtype)
        weights = winograd_bank(kernel) if method == "winograd" else (kernel,)
        self.weights = nnx.List(map(_Weight, weights))
        quick = on_cpu() and method in ("plain", "pointwise", "winograd")
        adjoint = adjoint_weights(kernel, **self.how._asdict()) if quick else ()
        # Empty: JAX's own gradient.
        self.adjoint = nnx.List(map(_Weight, adjoint))
        self.bias = None if bias is None else _Weight(bias)

    def __call__(self, x: Array) -> Array:
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
    return METHODS[how.method](x, weights[0], stride=how.stride, padding=how.padding)


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
