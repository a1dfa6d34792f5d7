"""TransReID's transformers: camera embeddings, overlapping patches, a convolutional stem."""

from jaxreid.models.backbone import BackboneConfig
from jaxreid.models.vit import ViTConfig
from jaxreid.models.weights.choices import Choices
from jaxreid.models.weights.shapes.reading import Shapes, shape_of, three_channels
from jaxreid.models.weights.shapes.tables import camera_fields, geometry, patches_of
from jaxreid.models.weights.shapes.vit import blocks_of

__all__ = ["transreid_shape"]

# Of published configurations, in pixels.
_STRIDES = (16, 14, 12)
_FACTOR = (
    "--sie-factor 3 as in all released configurations of TransReID (with 1 in place of 3 features "
    "are 31 % off)"
)


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
    positions = shape_of(shapes, "pos_embed", 3)[1] - 1
    size, stride = geometry("pos_embed", positions, strides, patches_of(side), choices)
    fields |= camera_fields(shapes, "sie_embed", 3, choices, _FACTOR)
    return ViTConfig(
        **fields, patch=side, image_size=size, stride=None if stride == side else stride
    )
