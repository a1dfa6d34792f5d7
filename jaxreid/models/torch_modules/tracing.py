"""A PyTorch module translated to JAX by torchax: a program like any other, where it traces."""

import warnings
from collections.abc import Callable
from typing import Any

import jax

from jaxreid.errors import InputError
from jaxreid.models.torch_modules.host import copied, is_scripted, name_of
from jaxreid.models.torch_modules.outputs import OutputChoice, feature_of
from jaxreid.types import Array

__all__ = ["NoTorchaxError", "translated"]


class NoTorchaxError(InputError):
    """torchax is not there, or would give another function: the message says which."""


def translated(
    module: Any, output: OutputChoice
) -> tuple[dict[str, Array], Callable[[dict[str, Array], Array], Array]]:
    """A module's parameters and buffers, and a function of JAX that takes them and inputs [B,...].

    Whether it can be traced shows when it is; it then raises whatever torchax or JAX does.

    Source: https://github.com/google/torchax.

    Raises:
        NoTorchaxError: torchax cannot be imported, or the module is TorchScript; the function
            raises it where random numbers are drawn.
    """
    torchax = _imported()
    if any(is_scripted(part) for part in module.modules()):
        # It is run by an interpreter of PyTorch's own, which may end the process on a tracer.
        raise NoTorchaxError("it is TorchScript, which torchax cannot trace")
    # Its own copy: a trace that fails may leave tracers behind.
    own = copied(module).cpu()
    name = name_of(module)
    states, run = torchax.extract_jax(own)

    def forward(states: dict[str, Array], x: Array) -> Array:
        with warnings.catch_warnings():
            # 64-bit integers become 32 bits wide, as everywhere in JAX.
            warnings.filterwarnings("ignore", message="Explicitly requested dtype")
            found = _without_draws(torchax.default_env(), lambda: run(states, (x,)))
        feature = feature_of(found, output, batch=x.shape[0], name=name)
        # In an output that is no tuple, list or dict, torchax leaves its own tensors.
        return feature if isinstance(feature, jax.Array) else feature.jax()

    return states, forward


def _without_draws(env: Any, run: Callable[[], Any]) -> Any:
    """What a trace gives; torchax, whose random key is its own again afterwards, drew nothing."""
    # A key for this trace alone, and no tracer: torchax makes a thread's first one where it is.
    with jax.ensure_compile_time_eval():
        key = env.prng_key
    with env.override_property(prng=key):
        found = run()
        drawn = env.prng_key is not key
    if drawn:
        raise NoTorchaxError("it draws random numbers, which a translation would draw once for all")
    return found


def _imported() -> Any:
    before = getattr(jax.config, "jax_pjrt_client_create_options", None)
    try:
        import torchax
    except Exception as error:
        raise NoTorchaxError(f"torchax cannot be imported: {error}") from error
    if before != getattr(jax.config, "jax_pjrt_client_create_options", None):
        jax.config.update("jax_pjrt_client_create_options", before)
    return torchax
