"""CLIP-ReID, https://github.com/Syliz517/CLIP-ReID."""

from collections.abc import Collection, Sequence
from typing import Any

from jaxreid.models.clip_vit import CLIPViTConfig
from jaxreid.models.config import IMAGENET_MEAN, IMAGENET_STD, ModelConfig
from jaxreid.models.pipeline import Pipeline
from jaxreid.models.weights.choices import Choices
from jaxreid.models.weights.libraries.layout import Layout, begins
from jaxreid.models.weights.shapes import clip_resnet_shape, clip_vit_shape

__all__ = ["CLIP_REID"]

_CAMERAS = "cv_embed"
_HALF = (0.5, 0.5, 0.5)
_SOURCE = "CLIP-ReID: datasets/make_dataloader.py, utils/metrics.py"


def _place(path: Sequence[str]) -> Sequence[str]:
    """The camera embeddings stand beside the image encoder."""
    return [] if path[0] == _CAMERAS else ["image_encoder", *path[:-1]]


def _fields(names: Collection[str], config: ModelConfig, choices: Choices) -> dict[str, Any]:
    vit = isinstance(config.backbone, CLIPViTConfig)
    return {
        "mean": _HALF if vit else IMAGENET_MEAN,
        "std": _HALF if vit else IMAGENET_STD,
        "neck_feature": "before",
        "pipeline": Pipeline(unit_length=True, source=_SOURCE),
    }


CLIP_REID = Layout(
    recognises=begins("image_encoder."),
    backbone="image_encoder",
    beside=frozenset({_CAMERAS}),
    heads={
        "classification": {
            "necks": ("bottleneck", "bottleneck_proj"),
            "classifiers": ("classifier", "classifier_proj"),
        },
        "none": {},
    },
    readers=(clip_vit_shape, clip_resnet_shape),
    kinds=("clip_vit", "clip_resnet"),
    # Its own have none; those of a network that was trained here may have one.
    classifier_bias=None,
    place=_place,
    fields=_fields,
    ignorable={
        "text_encoder.*": "the encoder of texts, which only training reads",
        "prompt_learner.*": "the learnt texts of the people, which only training reads",
    },
)
