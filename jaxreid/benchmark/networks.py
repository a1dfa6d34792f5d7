"""The networks that attacks are timed on: any architecture, for images of any size it can take."""

import dataclasses
from typing import Any, Literal, TypedDict, Unpack, cast

import jax.numpy as jnp
from flax import nnx

from jaxreid.errors import InputError
from jaxreid.models import ARCHITECTURES, BackboneConfig, ReID, create
from jaxreid.models.kinds import KINDS, kind_of

__all__ = ["Variant", "network_of"]

# Of torchreid's networks.
_DIMENSIONS = 512
# Of TransReID's published networks, and the default of CLIP-ReID's.
_SIE_FACTOR = 3.0
# Field of a shape -> whose it is.
_OWNERS = {
    "stride": "vision transformers",
    "last_stride": "ResNets",
    "pool": "ResNets and MGNs",
    "cameras": "vision transformers",
    "semantic_weight": "Swin transformers",
}


class Variant(TypedDict, total=False):
    """What a network may have otherwise than its architecture says; None is the architecture's.

    Attributes:
        stride: pixels between a vision transformer's patches.
        last_stride: stride of a ResNet's last stage, 1 or 2.
        pool: of a ResNet's or MGN's stem, "padded" or "ceil".
        cameras: embeddings of cameras that a vision transformer adds, by TransReID's factor.
        semantic_weight: of SOLIDER's control of a Swin transformer.
        head: "none", or "embedding" for torchreid's layer of 512 numbers behind the pooling.
    """

    stride: int | None
    last_stride: int | None
    pool: Literal["padded", "ceil"] | None
    cameras: int | None
    semantic_weight: float | None
    head: Literal["none", "embedding"]


def network_of(
    architecture: str, size: tuple[int, int], *, dtype: str, **variant: Unpack[Variant]
) -> ReID:
    """A network without a classifier, with fresh weights.

    Args:
        architecture: a key of `jaxreid.models.ARCHITECTURES`.
        size: (height, width) in pixels of the images, which a transformer's positions belong to.
        dtype: of the backbone, "float32" or "bfloat16".
        **variant: see Variant.

    Raises:
        InputError: an unknown architecture, a field that it does not have or with a value that it
            cannot have, such as a stride that is too long, or images that are too small.
    """
    if architecture not in ARCHITECTURES:
        raise InputError(
            f"architecture: expected one of {', '.join(ARCHITECTURES)}, got {architecture!r}"
        )
    given = {name: value for name in _OWNERS if (value := variant.get(name)) is not None}
    shape = _changed(ARCHITECTURES[architecture], given)
    image_size = None if shape.image_size is None else size
    return create(
        shape,
        head=variant.get("head", "none"),
        dimensions=_DIMENSIONS,
        image_size=image_size,
        dtype=jnp.dtype(dtype),
        rngs=nnx.Rngs(0),
    )


def _changed(shape: BackboneConfig, given: dict[str, Any]) -> BackboneConfig:
    """A shape with other values of its fields."""
    fields = {field.name for field in dataclasses.fields(cast(Any, shape))}
    for name in given:
        if name not in fields:
            title = KINDS[kind_of(shape)].title
            raise InputError(f"{name} belongs to {_OWNERS[name]}; {title} has none")
    if given.get("cameras"):
        given = {**given, "sie_factor": _SIE_FACTOR}
    # Every shape is a dataclass; their common base has no fields.
    return cast(BackboneConfig, dataclasses.replace(cast(Any, shape), **given))
