"""Vision transformers, named as timm names them."""

import math
import re
from collections.abc import Callable
from typing import Any

from jaxreid.errors import InputError
from jaxreid.models.backbone import BackboneConfig
from jaxreid.models.vit import ViTConfig
from jaxreid.models.weights.choices import Choices
from jaxreid.models.weights.shapes.reading import Shapes, shape_of, three_channels

__all__ = ["blocks_of", "vit_shape"]

# Width of one attention head in every DeiT and in most of timm's ViTs; tensors do not show it.
_HEAD_WIDTH = 64
# The others of timm, by their width: so400m, huge, giant and gigantic
# (https://github.com/huggingface/pytorch-image-models/blob/main/timm/models/vision_transformer.py).
_HEADS = {1152: 16, 1280: 16, 1408: 16, 1664: 16}
# Tokens beside the class token's, with which the positions are counted otherwise.
_MORE_TOKENS = {"dist_token": "a distilled DeiT's", "reg_token": "a ViT's with registers"}
_EXPECTED = "expected a plain ViT or DeiT: patches and one class token, whose output is the feature"


def vit_shape() -> Callable[[Shapes, Choices], BackboneConfig | None]:
    """A reader of plain ViTs and DeiTs."""

    def read(shapes: Shapes, choices: Choices) -> BackboneConfig | None:
        if "patch_embed.proj.weight" not in shapes:
            return None
        return _read(shapes, choices.get("image_size"))

    return read


def _read(shapes: Shapes, image_size: tuple[int, int] | None) -> ViTConfig:
    patches = shape_of(shapes, "patch_embed.proj.weight", 4)
    three_channels("patch_embed.proj.weight", patches)
    for name, whose in _MORE_TOKENS.items():
        if name in shapes:
            raise InputError(f"{name}: {whose}, which is not known here; {_EXPECTED}")
    tokens = shape_of(shapes, "pos_embed", 3)[1] - 1
    side = math.isqrt(max(tokens, 0))
    square = side * side == tokens
    if not square and "cls_token" not in shapes:
        raise InputError(
            f"missing tensor cls_token: a ViT that pools its patches is not known here; {_EXPECTED}"
        )
    if image_size is None and not square:
        raise InputError(
            f"pos_embed has {tokens} positions beside the class token, which are no square of "
            "patches: say --image-size of the configuration that it was trained with"
        )
    return ViTConfig(
        **blocks_of(shapes),
        patch=patches[2],
        image_size=(side * patches[2],) * 2 if square or image_size is None else image_size,
    )


def blocks_of(shapes: Shapes) -> dict[str, Any]:
    """Fields of ViTConfig that the blocks show: width, depth, heads, MLP, bias and scale."""
    blocks = {int(m[1]) for m in (re.match(r"blocks\.(\d+)\.", name) for name in shapes) if m}
    # By the last one: a block that is missing before it is then missed.
    depth = max(blocks, default=-1) + 1
    width = shape_of(shapes, "pos_embed", 3)[2]
    ratio = shape_of(shapes, "blocks.0.mlp.fc1.weight", 2)[0] / max(1, width)
    fields = {
        "width": width,
        "depth": depth,
        "heads": _HEADS.get(width, max(1, width // _HEAD_WIDTH)),
        "mlp_ratio": int(ratio) if ratio == int(ratio) else ratio,
        "qkv_bias": "blocks.0.attn.qkv.bias" in shapes,
    }
    if not fields["qkv_bias"] and width == 768 and depth in (7, 8):
        # What TransReID, and timm up to 2020, call vit_small: its heads are 96 wide, and the
        # products are scaled as if there were one. Of its 8 blocks files with a jigsaw module may
        # leave out the last, in whose place the module is.
        fields |= {"heads": 8, "scale": width**-0.5}
    return fields
