"""Tokens of a map to windows and back as one pass each: XLA's CPU backend gathers whole rows."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxreid.types import Array

__all__ = ["Cut", "to_tokens", "to_windows"]


class Cut:
    """Where the tokens of a map lie in its windows, hashable by the map that numbers them.

    Args:
        places: int [N,T], number of the token at each place of each window, from 1, each once; 0 at
            places that have none.
    """

    def __init__(self, places: np.ndarray) -> None:
        self.places = places
        window, place = np.nonzero(places)
        order = np.argsort(places[window, place])
        self.tokens = np.stack([window, place], 1)[order]
        self.empty = np.argwhere(places == 0)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Cut) and np.array_equal(self.places, other.places)

    def __hash__(self) -> int:
        return hash((self.places.shape, self.places.tobytes()))


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def to_windows(tokens: Array, cut: Cut) -> Array:
    """The windows of a map, heads before tokens.

    Args:
        tokens: [B,1+P,...,D], what stands where a window has no token, and the P tokens of a map.
        cut: where they go.

    Returns:
        [B,N,...,T,D].
    """
    between = tokens.ndim - 3
    numbers = lax.GatherDimensionNumbers(
        offset_dims=(0, *range(2, 2 + between), 3 + between),
        collapsed_slice_dims=(1,),
        start_index_map=(1,),
    )
    sizes = (len(tokens), 1, *tokens.shape[2:])
    return _gathered(tokens, cut.places[..., None], numbers, sizes)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def to_tokens(windows: Array, cut: Cut) -> Array:
    """The tokens [B,P,...,D] of windows [B,N,...,T,D]: what `to_windows` brought there."""
    return _at(windows, cut.tokens)


def _at(windows: Array, places: np.ndarray) -> Array:
    """[B,K,...,D] at K places, each a window and a token."""
    last = windows.ndim - 2
    numbers = lax.GatherDimensionNumbers(
        offset_dims=(0, *range(2, 1 + last)),
        collapsed_slice_dims=(1, last),
        start_index_map=(1, last),
    )
    sizes = (len(windows), 1, *windows.shape[2:last], 1, windows.shape[-1])
    return _gathered(windows, places, numbers, sizes)


def _gathered(
    x: Array, places: np.ndarray, numbers: lax.GatherDimensionNumbers, sizes: tuple[int, ...]
) -> Array:
    return lax.gather(x, jnp.asarray(places, jnp.int32), numbers, sizes, mode="promise_in_bounds")


def _windows_forward(tokens: Array, cut: Cut) -> tuple[Array, None]:
    return to_windows(tokens, cut), None


def _windows_backward(cut: Cut, kept: None, gradient: Array) -> tuple[Array]:
    # Each token is at one place, and gathered from there: JAX's own gradient would scatter.
    empty = _at(gradient, cut.empty).sum(1, keepdims=True)
    return (jnp.concatenate([empty, to_tokens(gradient, cut)], 1),)


def _tokens_forward(windows: Array, cut: Cut) -> tuple[Array, None]:
    return to_tokens(windows, cut), None


def _tokens_backward(cut: Cut, kept: None, gradient: Array) -> tuple[Array]:
    nothing = jnp.zeros_like(gradient[:, :1])
    return (to_windows(jnp.concatenate([nothing, gradient], 1), cut),)


to_windows.defvjp(_windows_forward, _windows_backward)
to_tokens.defvjp(_tokens_forward, _tokens_backward)
