"""A PyTorch module translated to JAX by torchax: a program like any other, where it traces."""

import warnings
from collections.abc import Callable
from typing import Any

import jax

from jaxreid.errors import InputError
from jaxreid.models.torch_modules.host import copied
from jaxreid.models.torch_modules.outputs import OutputChoice, feature_of
from jaxreid.types import Array

__all__ = ["NoTorchaxError", "translated"]


class NoTorchaxError(InputError):
    """torchax is not installed, or not with this PyTorch and JAX."""


def translated(
    module: Any, output: OutputChoice
) -> tuple[dict[str, Array], Callable[[dict[str, Array], Array], Array]]:
    """A module's parameters and buffers, and a function of JAX that takes them and inputs [B,...].

    Whether it can be traced shows when it is; it then raises whatever torchax or JAX does.

    Source: https://github.com/google/torchax.

    Raises:
        NoTorchaxError: torchax cannot be imported.
    """
    torchax = _imported()
    # Its own copy: a trace that fails may leave tracers behind.
    own = copied(module).cpu()
    name = type(module).__name__
    # Makes torchax's random key now; in a trace it would be a tracer, and stay one.
    torchax.default_env().param  # noqa: B018
    states, run = torchax.extract_jax(own)

    def forward(states: dict[str, Array], x: Array) -> Array:
        with warnings.catch_warnings():
            # 64-bit integers become 32 bits wide, as everywhere in JAX.
            warnings.filterwarnings("ignore", message="Explicitly requested dtype")
            found = run(states, (x,))
        feature = feature_of(found, output, batch=x.shape[0], name=name)
        # In an output that is no tuple, list or dict, torchax leaves its own tensors.
        return feature if isinstance(feature, jax.Array) else feature.jax()

    return states, forward


def _imported() -> Any:
    before = getattr(jax.config, "jax_pjrt_client_create_options", None)
    try:
        import torchax
    except Exception as error:
        raise NoTorchaxError(f"torchax cannot be imported: {error}") from error
    if before != getattr(jax.config, "jax_pjrt_client_create_options", None):
        jax.config.update("jax_pjrt_client_create_options", before)
    return torchax
