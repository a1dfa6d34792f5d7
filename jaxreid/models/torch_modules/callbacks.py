"""A PyTorch module inside JAX by calls back into PyTorch: any module, at PyTorch's speed."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.buffer_callback import buffer_callback

from jaxreid.errors import InputError
from jaxreid.models.torch_modules.host import HostModule
from jaxreid.types import Array

__all__ = ["called_back"]


def called_back(host: HostModule, *, rows_apart: bool) -> Callable[[Array], Array]:
    """A module as a function of JAX, differentiated once by PyTorch's autograd.

    Args:
        host: the module.
        rows_apart: whether a feature depends on its own image only: vmap then makes one batch.

    Returns:
        A function [B,...] -> [B,D] for jit, grad, vmap, scan and shard_map.
    """
    method = "broadcast_all" if rows_apart else "sequential"

    def forward(x: Array) -> Array:
        shape = (x.shape[0], host.feature_size(tuple(x.shape[1:])))
        return _on_host(host.features, shape, method)(x)

    @jax.custom_jvp
    def pulled_back(x: Array, cotangent: Array) -> Array:
        return _on_host(host.gradient, tuple(x.shape), method)(x, cotangent)

    @pulled_back.defjvp
    def refuse(primals: Any, tangents: Any) -> Any:
        raise InputError(
            f"{host.name} is called back into PyTorch, which gives first derivatives only: its "
            "gradient has none"
        )

    features = jax.custom_vjp(forward)
    # By itself again, not by `forward`: what derives it twice then meets the refusal.
    features.defvjp(lambda x: (features(x), x), lambda x, given: (pulled_back(x, given),))
    return features


def _on_host(
    function: Callable[..., np.ndarray], shape: tuple[int, ...], method: str
) -> Callable[..., Array]:
    """Calls a function of NumPy arrays whose result has this shape and the dtype of its input."""

    def write(_: Any, out: Any, *given: Any) -> None:
        np.asarray(out)[...] = function(*(np.asarray(one) for one in given))

    def read(*given: Any) -> np.ndarray:
        return function(*(np.asarray(one) for one in given))

    def call(*given: Array) -> Array:
        result = jax.ShapeDtypeStruct(shape, given[0].dtype)
        return jax.lax.platform_dependent(
            *given,
            # On a CPU, pure_callback copies its operands by the threads that run the program: when
            # all of them wait in a callback, as several devices do, nothing goes on for ever.
            cpu=buffer_callback(write, result, vmap_method=method),
            default=lambda *x: jax.pure_callback(read, result, *x, vmap_method=method),
        )

    return lambda *given: call(*(jnp.asarray(one) for one in given))
