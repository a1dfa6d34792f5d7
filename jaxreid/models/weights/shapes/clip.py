"""CLIP-ReID's backbones, named as CLIP names them."""

import math
import re

from jaxreid.errors import InputError
from jaxreid.models.backbone import BackboneConfig
from jaxreid.models.clip_resnet import CLIPResNetConfig
from jaxreid.models.clip_vit import CLIPViTConfig
from jaxreid.models.weights.choices import Choices
from jaxreid.models.weights.shapes.reading import Shapes, shape_of, three_channels
from jaxreid.models.weights.shapes.tables import camera_fields, geometry, patches_of

__all__ = ["clip_resnet_shape", "clip_vit_shape"]

# Width of one attention head in all of CLIP's networks; tensors do not show it.
_HEAD_WIDTH = 64
# Of CLIP-ReID's configurations, in pixels.
_STRIDES = (16, 12)
_FACTOR = (
    "--sie-factor 1 for a model trained by the command in CLIP-ReID's README, 3 for the default of "
    "its configuration; the wrong one of the two changes features by 32 to 37 %"
)


def clip_vit_shape(shapes: Shapes, choices: Choices) -> BackboneConfig | None:
    """Reads a vision transformer of CLIP; None of other kinds."""
    if "proj" not in shapes:
        return None
    patches = shape_of(shapes, "conv1.weight", 4)
    three_channels("conv1.weight", patches)
    width, patch = patches[0], patches[2]
    tokens = shape_of(shapes, "positional_embedding", 2)[0]
    strides = _STRIDES if patch == 16 else (patch,)
    image_size, stride = geometry(
        "positional_embedding", tokens - 1, strides, patches_of(patch), choices
    )
    blocks = {
        int(m[1]) for m in (re.match(r"transformer\.resblocks\.(\d+)\.", n) for n in shapes) if m
    }
    hidden = shape_of(shapes, "transformer.resblocks.0.mlp.c_fc.weight", 2)[0]
    return CLIPViTConfig(
        width=width,
        depth=max(blocks, default=-1) + 1,
        heads=max(1, width // _HEAD_WIDTH),
        patch=patch,
        stride=stride,
        image_size=image_size,
        mlp_ratio=hidden // max(1, width),
        outputs=shape_of(shapes, "proj", 2)[1],
        **camera_fields(shapes, "cv_embed", 2, choices, _FACTOR),
    )


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

    image_size, _ = geometry(name, tokens - 1, (16,), count, choices)
    first, second, third, fourth = (
        sum(1 for where, _ in found if where == stage) for stage in range(1, 5)
    )
    for stage, blocks in enumerate((first, second, third, fourth), start=1):
        if not blocks:
            raise InputError(
                f"missing tensor layer{stage}.0.conv1.weight: CLIP's ResNets have four stages"
            )
    return CLIPResNetConfig(
        width=shape_of(shapes, "conv3.weight", 4)[0],
        depths=(first, second, third, fourth),
        heads=max(1, channels // _HEAD_WIDTH),
        outputs=shape_of(shapes, "attnpool.c_proj.weight", 2)[0],
        image_size=image_size,
    )
