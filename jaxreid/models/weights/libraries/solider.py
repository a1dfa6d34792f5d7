"""SOLIDER-REID, https://github.com/tinyvision/SOLIDER-REID: its Swin transformers."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from jaxreid.errors import InputError
from jaxreid.models.config import ModelConfig
from jaxreid.models.swin import SwinConfig
from jaxreid.models.weights.choices import Choices
from jaxreid.models.weights.libraries.layout import Layout
from jaxreid.models.weights.libraries.transreid import pipeline_fields
from jaxreid.models.weights.shapes import swin_shape
from jaxreid.models.windows import window_index

__all__ = ["SOLIDER"]

_BIASES = "relative_position_bias_table"


def _recognises(names: Collection[str]) -> bool:
    """All Swin transformers: those that are not SOLIDER-REID's are refused as what they are."""
    return any(name.startswith("base.stages.") or _BIASES in name for name in names)


def _check_names(names: Collection[str], named: bool, choices: Mapping[str, object]) -> None:
    if any(name.startswith("base.stages.") for name in names):
        return
    if not _recognises(names):
        raise InputError(
            "no name is one of a Swin transformer as SOLIDER-REID's files have them, which begin "
            f"with base.stages.; the first is {min(names)!r}"
        )
    first = min(name for name in names if _BIASES in name)
    if "layers." in first:
        raise InputError(
            f"{first} is a name of Swin's own code or timm's, which order the 4C values of a patch "
            "merging by position; no re-ID library's files are named so, and read as SOLIDER's "
            "(ordered by channel) the feature is another one by 100 %"
        )
    raise InputError(
        f"{first} does not begin with 'base.': this is a backbone as SOLIDER pretrains it, not a "
        "re-ID model, which SOLIDER-REID makes of it; give the file of its training"
    )


def _fields(names: Collection[str], config: ModelConfig, choices: Choices) -> dict[str, Any]:
    said = pipeline_fields(names, config, choices, library="SOLIDER-REID")
    return {**said, "training_size": (384, 128)}


def _buffers(config: ModelConfig) -> dict[str, np.ndarray]:
    """The row of its biases that each pair of tokens of a window takes."""
    shape = config.backbone
    assert isinstance(shape, SwinConfig)
    index = window_index(shape.window)
    return {
        f"base.stages.{stage}.blocks.{block}.attn.w_msa.relative_position_index": index
        for stage, depth in enumerate(shape.depths)
        for block in range(depth)
    }


SOLIDER = Layout(
    recognises=_recognises,
    backbone="base",
    heads={"classification": {"neck": "bottleneck", "classifier": "classifier"}, "none": {}},
    readers=(swin_shape,),
    kinds=("swin",),
    # Its own have none; those of a network that was trained here may have one.
    classifier_bias=None,
    check_names=_check_names,
    fields=_fields,
    buffers=_buffers,
    ignorable={
        **{
            f"base.norm{stage}.*": "the norm of a stage before the last, which reaches no feature"
            for stage in range(3)
        },
        **{
            f"base.semantic_embed_{part}.3.*": "the semantic control after the last stage, which "
            "reaches no feature"
            for part in "wb"
        },
    },
)
