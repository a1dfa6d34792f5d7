"""CLIP-ReID, https://github.com/Syliz517/CLIP-ReID."""

from collections.abc import Collection, Sequence
from typing import Any

from jaxreid.models.clip_vit import CLIPViTConfig
from jaxreid.models.config import IMAGENET_MEAN, IMAGENET_STD, ModelConfig
from jaxreid.models.weights.choices import Choices
from jaxreid.models.weights.libraries.layout import Layout, begins
from jaxreid.models.weights.libraries.transreid import pipeline_fields
from jaxreid.models.weights.shapes import clip_resnet_shape, clip_vit_shape

__all__ = ["CLIP_REID"]

_CAMERAS = "cv_embed"


def _place(path: Sequence[str]) -> Sequence[str]:
    """The camera embeddings stand beside the image encoder."""
    return [] if path[0] == _CAMERAS else ["image_encoder", *path[:-1]]


def _fields(names: Collection[str], config: ModelConfig, choices: Choices) -> dict[str, Any]:
    said = pipeline_fields(names, config, choices, library="CLIP-ReID")
    if isinstance(config.backbone, CLIPViTConfig):
        return said
    return {**said, "mean": IMAGENET_MEAN, "std": IMAGENET_STD}


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
        # Of its transformers they have a place.
        _CAMERAS: "the embeddings of cameras, which CLIP-ReID's ResNets do not read",
        "text_encoder.*": "the encoder of texts, which only training reads",
        "prompt_learner.*": "the learnt texts of the people, which only training reads",
    },
)
