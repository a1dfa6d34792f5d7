"""The networks that attacks are timed on: any architecture, for images of any size it can take."""

import dataclasses
from typing import Any, cast

import jax.numpy as jnp
from flax import nnx

from jaxreid.errors import InputError
from jaxreid.models import ARCHITECTURES, ReID, create
from jaxreid.models.kinds import KINDS, kind_of

__all__ = ["network_of"]


def network_of(
    architecture: str, size: tuple[int, int], *, stride: int | None = None, dtype: str
) -> ReID:
    """A network without a head, with fresh weights.

    Args:
        architecture: a key of `jaxreid.models.ARCHITECTURES`.
        size: (height, width) in pixels of the images, which a transformer's positions belong to.
        stride: pixels between a vision transformer's patches; its own by default.
        dtype: of the backbone, "float32" or "bfloat16".

    Raises:
        InputError: an unknown architecture, a stride that is too long or that it does not have, or
            images that are too small.
    """
    if architecture not in ARCHITECTURES:
        raise InputError(
            f"architecture: expected one of {', '.join(ARCHITECTURES)}, got {architecture!r}"
        )
    shape = ARCHITECTURES[architecture]
    if stride is not None:
        if not hasattr(shape, "stride"):
            title = KINDS[kind_of(shape)].title
            raise InputError(f"stride belongs to vision transformers; {title} has none")
        shape = dataclasses.replace(cast(Any, shape), stride=stride)
    image_size = None if shape.image_size is None else size
    return create(
        shape, head="none", image_size=image_size, dtype=jnp.dtype(dtype), rngs=nnx.Rngs(0)
    )
