"""Networks whose weights no longer change: all that depends on weights alone is computed once."""

from collections.abc import Iterator
from typing import Any, Literal, TypeVar, cast, get_args

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from jaxreid.errors import InputError
from jaxreid.models.cpu.frozen import FrozenConv
from jaxreid.models.instance_norm import IBN
from jaxreid.models.layers import Constant, Conv, convolve
from jaxreid.models.linear import FrozenLinear, Linear
from jaxreid.models.normalization import BatchNorm, Statistics
from jaxreid.precision import at_least_float32
from jaxreid.types import Array

__all__ = ["Target", "check_target", "frozen"]

Target = Literal["cpu", "gpu", "cuda", "rocm", "tpu"]
"""The platform that a frozen network is prepared for, as JAX names it."""


_Model = TypeVar("_Model", bound=nnx.Module)


def check_target(target: Target | None) -> Target:
    """The platform to prepare a network for; that of the default device for None."""
    device = jax.config.values["jax_default_device"]
    chosen = target or getattr(device, "platform", device) or jax.default_backend()
    if target is not None and target not in get_args(Target):
        raise InputError(f"target: expected one of {', '.join(get_args(Target))}, got {target!r}")
    return cast(Target, chosen)


def frozen(
    model: _Model, *, batch_norm: Statistics = "running", target: Target | None = None
) -> _Model:
    """Prepares a network for many passes with the same weights, as attacks and retrieval make them.

    On running statistics BatchNorm, alone or as half of IBN, is a multiplication and an addition
    per channel, which go into the convolution before it: BN(k * x) = (k scale / sigma) * x + (bias
    - mean scale / sigma). Jacob et al., section 3.2, https://arxiv.org/abs/1712.05877, folds the
    same way. For a CPU, kernels are moreover transformed for the method that computes them, and
    gradients to the images take the forms in which they are fast (`jaxreid.models.cpu`), those of
    linear layers, too.

    The result computes the same function up to rounding, on every platform, whatever its target.
    Its weights have no gradient, and for a CPU it has no forward-mode derivative (`jax.jvp`);
    second derivatives in reverse mode it has.

    Args:
        model: the network; it is not changed. Which BatchNorm follows a convolution is known by
            the names that torchvision gives (bn1 follows conv1, bn follows conv), in a list by the
            order, and elsewhere by NORMS of the module that holds both.
        batch_norm: the statistics that the result will run on; with "batch" nothing is folded.
        target: the platform to prepare for; that of the default device by default.

    Returns:
        A network that is called as the given one, with this batch_norm.

    Raises:
        InputError: there is no such target.
    """
    on_cpu = check_target(target) == "cpu"
    copy = nnx.clone(model)
    for holder, conv_at, norm_at in list(_convolutions(copy)):
        conv, norm = _get(holder, conv_at), _get(holder, norm_at)
        kernel = at_least_float32(conv.kernel[...])
        bias = None if conv.bias is None else at_least_float32(conv.bias[...])
        if batch_norm == "running" and isinstance(norm, BatchNorm | IBN):
            factor, shift = norm.running()
            kernel = kernel * factor
            bias = shift if bias is None else shift + factor * bias
            # Of IBN the half that depends on the image stays.
            at, place = (norm, "BN") if isinstance(norm, IBN) else (holder, norm_at)
            _put(at, place, _Folded())
        made = FrozenConv if on_cpu else _FoldedConv
        _put(holder, conv_at, made(kernel, bias, **conv.geometry, dtype=conv.dtype))
    if on_cpu:
        for holder, place in list(_linears(copy)):
            _put(holder, place, FrozenLinear(_get(holder, place)))
    return copy


_Place = str | int


def _convolutions(model: nnx.Module) -> Iterator[tuple[Any, _Place, _Place]]:
    """Holders of a convolution, its place, and that where the BatchNorm that follows it may be."""
    for _, holder in nnx.iter_graph(model):
        if isinstance(holder, nnx.List):
            pairs: list[tuple[_Place, _Place]] = [(i, i + 1) for i in range(len(holder))]
        elif isinstance(holder, nnx.Module):
            known = getattr(holder, "NORMS", {})
            pairs = [
                (name, known.get(name, name.replace("conv", "bn", 1))) for name in vars(holder)
            ]
        else:
            continue
        for conv, norm in pairs:
            layer = _get(holder, conv)
            # A 1x1 convolution is a matrix product as it is; kinds of Conv have forms of their own.
            quick = type(layer) is Conv and layer.kernel.shape[0] > 1
            follows = isinstance(_get(holder, norm), BatchNorm | IBN)
            if quick or (isinstance(layer, Conv) and follows):
                yield holder, conv, norm


def _linears(model: nnx.Module) -> Iterator[tuple[Any, _Place]]:
    """Holders of a linear layer of a transformer, and its place."""
    for _, holder in nnx.iter_graph(model):
        if isinstance(holder, nnx.Module):
            places = range(len(holder)) if isinstance(holder, nnx.List) else list(vars(holder))
            yield from ((holder, at) for at in places if isinstance(_get(holder, at), Linear))


def _get(holder: Any, place: _Place) -> Any:
    if isinstance(place, str):
        return getattr(holder, place, None)
    return holder[place] if place < len(holder) else None


def _put(holder: Any, place: _Place, module: nnx.Module) -> None:
    if isinstance(place, str):
        setattr(holder, place, module)
    else:
        holder[place] = module


class _Folded(nnx.Module):
    """What is left of a BatchNorm that went into the convolution before it."""

    def __call__(self, x: Array, statistics: Statistics) -> Array:
        if statistics != "running":
            raise InputError(
                f"this network was frozen for running statistics, not for {statistics!r}"
            )
        return x


class _FoldedConv(nnx.Module):
    """A convolution with a constant kernel and bias, as accelerators like it: as written."""

    def __init__(
        self, kernel: Array, bias: Array | None, *, dtype: jnp.dtype, **geometry: int
    ) -> None:
        self.kernel = Constant(kernel.astype(dtype))
        self.bias = None if bias is None else Constant(bias)
        self.geometry, self.dtype = tuple(geometry.items()), dtype

    def __call__(self, x: Array) -> Array:
        kernel = lax.stop_gradient(self.kernel[...])
        y = convolve(x.astype(self.dtype), kernel, **dict(self.geometry))
        if self.bias is None:
            return y
        bias = lax.stop_gradient(self.bias[...])
        return (y.astype(bias.dtype) + bias).astype(self.dtype)
