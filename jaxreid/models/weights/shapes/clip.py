"""CLIP-ReID's backbones, named as CLIP names them."""

import math
import re
from collections.abc import Callable
from typing import Any

from jaxreid.errors import InputError
from jaxreid.models.backbone import BackboneConfig
from jaxreid.models.clip_resnet import CLIPResNetConfig
from jaxreid.models.clip_vit import CLIPViTConfig
from jaxreid.models.weights.choices import Choices
from jaxreid.models.weights.shapes.reading import Shapes, shape_of, three_channels

__all__ = ["clip_resnet_shape", "clip_vit_shape"]

# Width of one attention head in all of CLIP's networks; tensors do not show it.
_HEAD_WIDTH = 64
# What re-ID is trained at, the most usual first; no two of them have as many patches at the two
# strides that CLIP-ReID has.
_SIZES = ((256, 128), (384, 128), (256, 256), (224, 224), (384, 192), (320, 320))
_STRIDES = (16, 12)


def clip_vit_shape(shapes: Shapes, choices: Choices) -> BackboneConfig | None:
    """Reads a vision transformer of CLIP; None of other kinds."""
    if "proj" not in shapes:
        return None
    patches = shape_of(shapes, "conv1.weight", 4)
    three_channels("conv1.weight", patches)
    width, patch = patches[0], patches[2]
    tokens = shape_of(shapes, "positional_embedding", 2)[0]
    strides = _STRIDES if patch == 16 else (patch,)

    def count(size: tuple[int, int], stride: int) -> int:
        return math.prod(max(0, side - patch + stride) // stride for side in size)

    counts, given = _counts(count, strides, choices), choices.get("image_size") is not None
    image_size, stride = _geometry("positional_embedding", tokens - 1, counts, given=given)
    blocks = {
        int(m[1]) for m in (re.match(r"transformer\.resblocks\.(\d+)\.", n) for n in shapes) if m
    }
    hidden = shape_of(shapes, "transformer.resblocks.0.mlp.c_fc.weight", 2)[0]
    return CLIPViTConfig(
        width=width,
        depth=len(blocks),
        heads=max(1, width // _HEAD_WIDTH),
        patch=patch,
        stride=stride,
        image_size=image_size,
        mlp_ratio=hidden // max(1, width),
        outputs=shape_of(shapes, "proj", 2)[1],
        **_cameras(shapes, choices),
    )


def _cameras(shapes: Shapes, choices: Choices) -> dict[str, Any]:
    factor = choices.get("sie_factor")
    if "cv_embed" not in shapes:
        if factor is not None:
            raise InputError("sie_factor: the file has no camera embeddings (cv_embed)")
        return {}
    if factor is None:
        raise InputError(
            "cv_embed holds camera embeddings, and no tensor says what they are multiplied by: "
            "--sie-factor 1 for a model trained by the command in CLIP-ReID's README, 3 for the "
            "default of its configuration; the wrong one of the two changes features by 32 to 37 %"
        )
    return {"cameras": shape_of(shapes, "cv_embed", 2)[0], "sie_factor": factor}


def clip_resnet_shape(shapes: Shapes, choices: Choices) -> BackboneConfig | None:
    """Reads a ResNet of CLIP; None of other kinds."""
    name = "attnpool.positional_embedding"
    if name not in shapes:
        return None
    if choices.get("stride") not in (None, 16):
        raise InputError(f"stride: it belongs to ViTs, and is 16 in CLIP's ResNet, where {name} is")
    three_channels("conv1.weight", shape_of(shapes, "conv1.weight", 4))
    tokens, channels = shape_of(shapes, name, 2)
    places = [re.match(r"layer(\d+)\.(\d+)\.", key) for key in shapes]
    found = {(int(place[1]), int(place[2])) for place in places if place}

    def count(size: tuple[int, int], stride: int) -> int:
        return math.prod(CLIPResNetConfig(image_size=size).grid)

    counts, given = _counts(count, (16,), choices), choices.get("image_size") is not None
    image_size, _ = _geometry(name, tokens - 1, counts, given=given)
    first, second, third, fourth = (
        sum(1 for where, _ in found if where == stage) for stage in range(1, 5)
    )
    return CLIPResNetConfig(
        width=shape_of(shapes, "conv3.weight", 4)[0],
        depths=(first, second, third, fourth),
        heads=max(1, channels // _HEAD_WIDTH),
        outputs=shape_of(shapes, "attnpool.c_proj.weight", 2)[0],
        image_size=image_size,
    )


_Geometry = tuple[tuple[int, int], int]
"""((height, width) of the images, stride of the patches), all in pixels."""


def _counts(
    count: Callable[[tuple[int, int], int], int], strides: tuple[int, ...], choices: Choices
) -> dict[_Geometry, int]:
    """Positions of each geometry that the file may have: of one size of images if it is given."""
    chosen, stride = choices.get("image_size"), choices.get("stride")
    sizes = _SIZES if chosen is None else (chosen,)
    strides = strides if stride is None else (stride,)
    return {(size, stride): count(size, stride) for size in sizes for stride in strides}


def _geometry(name: str, positions: int, counts: dict[_Geometry, int], *, given: bool) -> _Geometry:
    """The geometry that so many positions belong to; `given`: the user said the images' size."""
    fitting = [geometry for geometry, count in counts.items() if count == positions]
    if len(fitting) == 1:
        return fitting[0]
    said = f"{name} has {positions} positions beside the class token"
    known = ", ".join(
        f"{count} are for {size[0]}x{size[1]} pixels at stride {stride}"
        for (size, stride), count in counts.items()
        if not fitting or (size, stride) in fitting
    )
    if fitting:
        raise InputError(f"{said}, and may belong to several ({known}): say --stride")
    way_out = "" if given else "; say --image-size, of the images that it was trained on"
    raise InputError(f"{said}, and belongs to another geometry: {known}{way_out}")
