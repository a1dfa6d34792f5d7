"""How a model is looked at: its features as they are, of unit length, averaged with the mirror."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jaxreid.distances import l2_normalize
from jaxreid.types import Array, Embed

__all__ = ["mirrored", "unit_length"]


# Pytrees, so that an embedding that carries its weights stays one; hashable where it is a function.
@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _UnitLength:
    embed: Any

    def __call__(self, images: Array) -> Array:
        return l2_normalize(self.embed(images))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _Mirrored:
    embed: Any

    def __call__(self, images: Array) -> Array:
        both = self.embed(jnp.concatenate([images, images[:, :, ::-1]]))
        return 0.5 * (both[: len(images)] + both[len(images) :])


def unit_length(embed: Embed) -> Embed:
    """An embedding whose features have unit length, ``f(x) / ||f(x)||``: what cosine compares.

    Args:
        embed: images [B,H,W,3] in [0, 1] -> features [B,D].

    Returns:
        The same with rows of length 1 (a zero row stays zero).
    """
    return _UnitLength(embed)


def mirrored(embed: Embed) -> Embed:
    """An embedding averaged over the image and its mirror image, ``(f(x) + f(mirror(x))) / 2``.

    Args:
        embed: images [B,H,W,3] in [0, 1] -> features [B,D].

    Returns:
        The same with averaged features; `jaxreid.models.embedding` has its own `flip`.
    """
    return _Mirrored(embed)
