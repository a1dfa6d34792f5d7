"""timm's transformers, https://github.com/huggingface/pytorch-image-models."""

from jaxreid.models.weights.libraries.layout import Layout, begins
from jaxreid.models.weights.shapes import vit_shape

__all__ = ["TIMM"]

TIMM = Layout(
    recognises=begins("patch_embed."),
    backbone="",
    heads={"linear": {"classifier": "head"}, "none": {}},
    readers=(vit_shape(),),
    kinds=("vit",),
)
