"""Attention in the form in which XLA's CPU backend is fast: a few images after the other."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from jaxreid.collectives import varying_as
from jaxreid.types import Array

__all__ = ["attend_in_blocks"]

# Weights of a block, over all its heads: of more the caches of a processor lose sight, and less is
# too little to share among its cores.
_WEIGHTS = 1_200_000


def attend_in_blocks(
    query: Array,
    key: Array,
    value: Array,
    bias: Array | None,
    *,
    scale: float,
    heads_first: bool = False,
) -> Array:
    """Softmax(scale q k^T + bias) v of each group and head, as `jaxreid.models.transformer` has it.

    Blocks of images follow each other, and in all products the small factors are laid out for XLA,
    which multiplies rows with columns twice as fast as rows with rows: about 1.4 times as fast as
    the definition is all at once. There is no forward-mode derivative (`jax.jvp`).

    Args:
        query: [B,G,T,heads,D], or [B,G,heads,T,D] if heads come first; float32 or wider.
        key: [B,G,S,heads,D], or [B,G,heads,S,D].
        value: as key.
        bias: [G or 1,heads,T,S], or None.
        scale: of the products.
        heads_first: whether heads come before tokens, as the products have them.

    Returns:
        As query.
    """
    B, D = len(query), query.shape[-1]
    weights = query[0].size // D * key.shape[3 if heads_first else 2]
    size = min(B, max(1, _WEIGHTS // weights))
    # Blocks of one size, where that does not make them much smaller, need no joining.
    size = next((n for n in range(size, size // 2, -1) if B % n == 0), size)
    whole = B // size * size
    if bias is not None:
        bias = varying_as(query, bias)

    def block(*parts: Array) -> Array:
        if heads_first:
            return _attend(*parts, bias, scale)
        return _attend(*(part.swapaxes(2, 3) for part in parts), bias, scale).swapaxes(2, 3)

    def step(carry: None, parts: tuple[Array, ...]) -> tuple[None, Array]:
        return carry, block(*parts)

    parts = query, key, value
    if size == B:
        return block(*parts)
    blocks = tuple(part[:whole].reshape(-1, size, *part.shape[1:]) for part in parts)
    first = lax.scan(step, None, blocks)[1].reshape(whole, *query.shape[1:])
    if whole == B:
        return first
    return jnp.concatenate([first, block(*(part[whole:] for part in parts))])


@partial(jax.custom_vjp, nondiff_argnums=(4,))
def _attend(query: Array, key: Array, value: Array, bias: Array | None, scale: float) -> Array:
    return _forward(query, key, value, bias, scale)[0]


def _forward(
    query: Array, key: Array, value: Array, bias: Array | None, scale: float
) -> tuple[Array, tuple[Array, Array, Array, Array, Array | None]]:
    scores = (scale * query) @ key.mT
    weights = jax.nn.softmax(scores if bias is None else scores + bias, axis=-1)
    return weights @ value, (query, key, value, weights, bias)


def _backward(
    scale: float,
    kept: tuple[Array, Array, Array, Array, Array | None],
    gradient: Array,
) -> tuple[Array, Array, Array, Array | None]:
    """The derivative, where each product is one of rows with columns: dv^T = dy^T w, and so on."""
    query, key, value, weights, bias = kept
    to_value = gradient.mT @ weights
    slopes = weights * (gradient @ value.mT)
    slopes = slopes - weights * slopes.sum(-1, keepdims=True)
    to_query = scale * (slopes @ key)
    to_key = (scale * query.mT) @ slopes
    to_bias = None
    if bias is not None:
        to_bias = slopes.sum((0, 1) if len(bias) == 1 else 0).reshape(bias.shape)
    return to_query, to_key.mT, to_value.mT, to_bias


_attend.defvjp(_forward, _backward)
