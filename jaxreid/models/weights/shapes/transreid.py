"""TransReID's transformers: camera embeddings, overlapping patches, a convolutional stem."""

import math
from collections.abc import Sequence

from jaxreid.errors import InputError
from jaxreid.models.backbone import BackboneConfig
from jaxreid.models.vit import ViTConfig
from jaxreid.models.weights.choices import Choices
from jaxreid.models.weights.shapes.reading import Shapes, shape_of, three_channels
from jaxreid.models.weights.shapes.vit import blocks_of

__all__ = ["transreid_shape"]

# (height, width) in pixels and strides of published configurations of these projects.
_SIZES = ((256, 128), (384, 128), (384, 192), (256, 256), (224, 224), (320, 320), (384, 384))
_STRIDES = (16, 14, 12)


def transreid_shape(shapes: Shapes, choices: Choices) -> BackboneConfig | None:
    """Reads a ViT with TransReID's additions; None where there is no position table."""
    if "pos_embed" not in shapes:
        return None
    fields = blocks_of(shapes)
    patches = shape_of(shapes, "patch_embed.proj.weight", 4)
    side = patches[2]
    if "patch_embed.conv.0.weight" in shapes:
        stem = shape_of(shapes, "patch_embed.conv.0.weight", 4)
        three_channels("patch_embed.conv.0.weight", stem)
        side = 2 * side
        fields |= {"stem": "convolutional", "stem_width": stem[0]}
        strides: tuple[int, ...] = (side,)
    else:
        three_channels("patch_embed.proj.weight", patches)
        strides = tuple(sorted({side, *(one for one in _STRIDES if one < side)}, reverse=True))
    count = shape_of(shapes, "pos_embed", 3)[1] - 1
    size, stride = _geometry(count, side, strides, choices)
    if "sie_embed" in shapes:
        fields |= _side_information(shape_of(shapes, "sie_embed", 3), choices)
    return ViTConfig(
        **fields, patch=side, image_size=size, stride=None if stride == side else stride
    )


def _side_information(shape: tuple[int, ...], choices: Choices) -> dict[str, object]:
    factor = choices.get("sie_factor")
    if factor is None:
        raise InputError(
            f"sie_embed holds {shape[0]} camera embeddings, and no tensor says what multiplies "
            "them: --sie-factor 3 as in all released configurations of TransReID (with 1 in place "
            "of 3 features are 31 % off)"
        )
    return {"cameras": shape[0], "sie_factor": factor}


_Place = tuple[tuple[int, int], int]
"""(height, width) of images, and the stride of their patches, in pixels."""


def _geometry(count: int, side: int, strides: tuple[int, ...], choices: Choices) -> _Place:
    """Image size and stride that a table of `count` positions belongs to.

    A choice decides between several, and a size that gives another number of positions is one to
    resample them to.
    """
    wanted, stride = choices.get("image_size"), choices.get("stride")
    said = f"pos_embed has {count} positions beside the class token"
    fitting = _fitting(_SIZES, strides, count, side)
    if wanted is not None:
        tried = strides if stride is None else (stride,)
        fitting = _fitting([(wanted[0], wanted[1])], tried, count, side) or fitting
    belongs = " or ".join(f"{h}x{w} at stride {one}" for (h, w), one in fitting)
    chosen = [place for place in fitting if stride in (None, place[1])]
    if fitting and not chosen:
        raise InputError(f"{said}, which belong to {belongs}, not to a stride of {stride}")
    if len(chosen) > 1:
        raise InputError(
            f"{said}, which may belong to {belongs}: say which by --image-size and --stride"
        )
    if not chosen:
        given = f", nor to {wanted[0]}x{wanted[1]}" if wanted else ""
        raise InputError(
            f"{said}, which belong to no published image size and stride{given}: say --image-size "
            "and --stride of the configuration that it was trained with"
        )
    return chosen[0]


def _fitting(
    sizes: Sequence[tuple[int, int]], strides: Sequence[int], count: int, side: int
) -> list[_Place]:
    """Those with so many positions."""
    return [
        (size, stride)
        for stride in strides
        for size in sizes
        if min(size) >= side
        and math.prod((length - side) // stride + 1 for length in size) == count
    ]
