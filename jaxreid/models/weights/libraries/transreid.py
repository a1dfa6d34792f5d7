"""TransReID, https://github.com/damo-cv/TransReID: transformers with side information and JPM."""

from collections.abc import Collection, Sequence
from typing import Any

from jaxreid.models.config import ModelConfig
from jaxreid.models.jpm import JPMConfig
from jaxreid.models.pipeline import Pipeline
from jaxreid.models.weights.choices import Choices
from jaxreid.models.weights.libraries.layout import Layout
from jaxreid.models.weights.shapes import transreid_shape

__all__ = ["TRANSREID", "pipeline_fields"]

_NECKS = ("bottleneck", *(f"bottleneck_{part}" for part in range(1, 5)))
_CLASSIFIERS = ("classifier", *(f"classifier_{part}" for part in range(1, 5)))
_BRANCHES = ("b1", "b2")
_REPLACED = "the jigsaw branches b1 and b2 take the place of the last block and of the last norm"


def _recognises(names: Collection[str]) -> bool:
    return "base.cls_token" in names and "base.patch_embed.conv.0.weight" not in names


def _place(parts: Sequence[str]) -> Sequence[str]:
    """Only the trunk lies under base.; with branches beside it, it does so here, too."""
    held = list(parts[:-1])
    return held if held and held[0] in ("base", *_BRANCHES) else ["base", *held]


def pipeline_fields(
    names: Collection[str], config: ModelConfig, choices: Choices, *, library: str = "TransReID"
) -> dict[str, Any]:
    """What surrounds the networks of TransReID and of projects that grew out of it."""
    return {
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
        "neck_feature": "before",
        "training_size": config.backbone.image_size,
        "pipeline": Pipeline(
            filter="bilinear",
            distance="euclidean",
            unit_length=True,
            first_camera=0,
            source=f"{library}: datasets/make_dataloader.py, utils/metrics.py",
        ),
    }


def _fields(names: Collection[str], config: ModelConfig, choices: Choices) -> dict[str, Any]:
    fields = pipeline_fields(names, config, choices)
    if any(name.startswith("b1.0.") for name in names):
        shape = vars(config.backbone)
        # Without the last norm, as jaxreid writes such files, nor is the last block there.
        last = 0 if "base.norm.weight" in names else 1
        fields["backbone"] = JPMConfig(**{**shape, "depth": shape["depth"] + last})
    return fields


TRANSREID = Layout(
    recognises=_recognises,
    backbone="base",
    heads={
        "classification": {
            "neck": "bottleneck",
            "classifier": "classifier",
            "necks": _NECKS,
            "classifiers": _CLASSIFIERS,
        },
        "none": {},
    },
    readers=(transreid_shape,),
    kinds=("vit", "jpm"),
    classifier_bias=False,
    place=_place,
    fields=_fields,
    ignorable={
        "base.fc.*": "the classifier of ImageNet that the backbone was pretrained with",
        "base.norm.*": _REPLACED,
        # vit_base, deit_small and deit_base have 12 blocks, vit_small 8.
        "base.blocks.11.*": _REPLACED,
        "base.blocks.7.*": _REPLACED,
    },
)
