"""Swin transformers, named as mmcv names them."""

import math
import re

from jaxreid.errors import InputError
from jaxreid.models.backbone import BackboneConfig
from jaxreid.models.swin import SwinConfig
from jaxreid.models.weights.choices import Choices
from jaxreid.models.weights.shapes.reading import Shapes, shape_of, three_channels

__all__ = ["swin_shape"]

_PATCHES = "patch_embed.projection.weight"


def swin_shape(shapes: Shapes, choices: Choices) -> BackboneConfig | None:
    """Reads a Swin transformer, with SOLIDER's semantic control or without; None of other kinds."""
    if _PATCHES not in shapes:
        return None
    patches = shape_of(shapes, _PATCHES, 4)
    three_channels(_PATCHES, patches)
    if patches[2:] != (4, 4):
        raise InputError(f"{_PATCHES}: expected a 4x4 kernel, got shape {patches}")
    places = [re.match(r"stages\.(\d+)\.blocks\.(\d+)\.", name) for name in shapes]
    found = {(int(place[1]), int(place[2])) for place in places if place}
    depths: list[int] = []
    while (len(depths), 0) in found:
        depths.append(sum(1 for stage, _ in found if stage == len(depths)))
    tables = [
        shape_of(shapes, f"stages.{stage}.blocks.0.attn.w_msa.relative_position_bias_table", 2)
        for stage in range(len(depths))
    ]
    hidden = shape_of(shapes, "stages.0.blocks.0.ffn.layers.0.0.weight", 2)[0]
    return SwinConfig(
        width=patches[0],
        depths=tuple(depths),
        heads=tuple(heads for _, heads in tables),
        window=(math.isqrt(tables[0][0]) + 1) // 2,
        mlp_ratio=hidden // max(1, patches[0]),
        semantic_weight=_semantic_weight(shapes, choices),
    )


def _semantic_weight(shapes: Shapes, choices: Choices) -> float | None:
    weight = choices.get("semantic_weight")
    if not any(name.startswith("semantic_embed_") for name in shapes):
        if weight is not None:
            raise InputError("semantic_weight: the file has no semantic control (semantic_embed_*)")
        return None
    if weight is None:
        raise InputError(
            "semantic_embed_* is SOLIDER's semantic control, and no tensor says its weight: "
            "--semantic-weight 0.2 for the published numbers, 1 for the default of SOLIDER-REID's "
            "configuration; the wrong one of the two changes features by 100 %, 0 for 0.2 by 20 %"
        )
    return weight
