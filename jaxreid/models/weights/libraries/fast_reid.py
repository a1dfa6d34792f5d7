"""fast-reid, https://github.com/JDAI-CV/fast-reid: today's names, those of its zoo, and its MGN.

Its zoo is release v0.1.1. What changed since, and when: the neck heads.bnneck became
heads.bottleneck.0 on 2020-09-10; the stem's pooling lost its padding on 2020-11-06; on 2021-03-23
heads.classifier.weight became heads.weight, and pixel_mean and pixel_std left the files.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np

from jaxreid.errors import InputError
from jaxreid.models.config import ModelConfig
from jaxreid.models.mgn import PARTS
from jaxreid.models.pipeline import Pipeline
from jaxreid.models.pooling import Pooling
from jaxreid.models.resnet import ResNetConfig
from jaxreid.models.weights.choices import Choices
from jaxreid.models.weights.libraries.layout import Layout, begins
from jaxreid.models.weights.shapes import mgn_shape, resnet_shape

__all__ = ["FAST_REID", "FAST_REID_MGN", "FAST_REID_ZOO"]

_POWER = "heads.pool_layer.p"
_PIXELS = ("pixel_mean", "pixel_std")
_OF_PIXELS = dict.fromkeys(_PIXELS, "of the pixels; stands in the configuration")
_CONSEQUENCE = "the wrong one changes the feature by 3 to 7 %"
# Every configuration of the project resizes and compares so.
_PIPELINE = Pipeline(filter="bicubic", distance="cosine", unit_length=True, source="fast-reid")


def _stored_pixels(tensors: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The pixels' mean and deviation, of 0 to 255 in the buffers of old files."""
    if not all(name in tensors for name in _PIXELS):
        return {}
    return {
        field: tuple((tensors[name].ravel().astype(float) / 255).tolist())
        for field, name in zip(("mean", "std"), _PIXELS, strict=True)
    }


def _check_pool_of_today(
    names: Collection[str], named: bool, choices: Mapping[str, object]
) -> None:
    """Asks for the pool of a file from between two of the changes above."""
    if choices.get("pool"):
        return
    if any(name.startswith("heads.bnneck.") for name in names):
        raise InputError(_old_neck("is read by --from fast-reid-v0.1"))
    if any(name.endswith("classifier.weight") for name in names) and _PIXELS[0] in names:
        raise InputError(
            "classifier.weight and pixel_mean say that fast-reid wrote the file before 2021-03-23, "
            "heads.bottleneck that it was after 2020-09-10; on 2020-11-06 its stem's pooling lost "
            "its padding, and no tensor says so: --pool padded for a file from before that day, "
            f"--pool ceil for a later one such as of release v1.0.0; {_CONSEQUENCE}"
        )


def _check_pool_of_the_zoo(
    names: Collection[str], named: bool, choices: Mapping[str, object]
) -> None:
    """The zoo's files have pixel_mean: one without is of no release."""
    if choices.get("pool") or _PIXELS[0] in names:
        return
    if not any(name.startswith("heads.bnneck.") for name in names):
        raise InputError(
            "neither pixel_mean nor a name that begins with heads.bnneck., as files of fast-reid "
            "v0.1.1 have them"
        )
    raise InputError(_old_neck("stood beside pixel_mean, which this file lacks"))


def _old_neck(said: str) -> str:
    return (
        f"heads.bnneck, which fast-reid called heads.bottleneck.0 from 2020-09 on, {said}; the "
        "stem of that time pooled as torchvision's does, and no tensor says so: --pool padded for "
        f"a network of that time, --pool ceil for one of today's code; {_CONSEQUENCE}"
    )


def _fields(names: Collection[str], config: ModelConfig, choices: Choices) -> Mapping[str, Any]:
    """What today's configurations have beside the tensors: BoT, AGW or SBS, told by the pooling."""
    backbone = cast(ResNetConfig, config.backbone)
    learnt, looks = _POWER in names, any(backbone.non_local)
    # Only AGW has p = 3 and no entry for it.
    pooling: Pooling = "gem-learnt" if learnt else "gem" if looks else "average"
    return {
        "backbone": replace(backbone, pooling=pooling),
        "pipeline": _PIPELINE,
        "training_size": (384, 128) if learnt and looks else None if learnt else (256, 128),
    }


def _fields_of_the_zoo(
    names: Collection[str], config: ModelConfig, choices: Choices
) -> Mapping[str, Any]:
    """Of v0.1.1, AGW has a learnt p as SBS has, and other images: their names are the same."""
    backbone = cast(ResNetConfig, config.backbone)
    learnt, looks = _POWER in names, any(backbone.non_local)
    if looks and not learnt and choices.get("pooling") is None:
        raise InputError(
            f"missing tensor {_POWER}: fast-reid v0.1.1 pools by a learnt p behind non-local "
            "blocks. --pooling gem has p = 3 (0.4 % of the feature where p is 3.4), --pooling "
            "average the mean (2.7 %)"
        )
    return {
        "backbone": replace(backbone, pooling="gem-learnt" if learnt else "average"),
        "pipeline": replace(_PIPELINE, source="fast-reid v0.1.1"),
        "training_size": None if learnt else (256, 128),
    }


def _place(parts: Sequence[str]) -> Sequence[str]:
    return ["heads" if parts[0] == "pool_layer" else "backbone", *parts[:-1]]


def _pixels(config: ModelConfig) -> dict[str, np.ndarray]:
    """The pixels' mean and deviation, in grey levels of 0 to 255 as old files store them."""
    values = (config.mean, config.std)
    return {
        name: (255 * np.array(value)).astype(np.float32).reshape(1, 3, 1, 1)
        for name, value in zip(_PIXELS, values, strict=True)
    }


FAST_REID = Layout(
    recognises=begins("heads."),
    backbone="backbone",
    heads={
        "reduction": {
            "reductions": ("heads.bottleneck.0",),
            "necks": ("heads.bottleneck.1",),
            "classifiers": ("heads",),
        },
        "classification": {"neck": "heads.bottleneck.0", "classifier": "heads"},
        "none": {},
    },
    readers=(resnet_shape(last_stride=1, pool="ceil", pooling="average"),),
    kinds=("resnet",),
    classifier_bias=False,
    renamed={
        "heads.classifier.weight": "heads.weight",
        "heads.bnneck.": "heads.bottleneck.0.",
    },
    check_names=_check_pool_of_today,
    place=_place,
    fields=_fields,
    tell=_stored_pixels,
    old_buffers=_pixels,
    ignorable=_OF_PIXELS,
)

FAST_REID_ZOO = Layout(
    recognises=begins("heads.bnneck."),
    backbone="backbone",
    heads={
        "classification": {"neck": "heads.bnneck", "classifier": "heads.classifier"},
        "none": {},
    },
    readers=(resnet_shape(last_stride=1, pool="padded", pooling="average"),),
    kinds=("resnet",),
    classifier_bias=False,
    check_names=_check_pool_of_the_zoo,
    place=_place,
    fields=_fields_of_the_zoo,
    tell=_stored_pixels,
    buffers=_pixels,
    ignorable=_OF_PIXELS,
)


_HEADS = tuple(f"{part}_head" for part in PARTS)
_OF_MGN = re.compile(r"b\d+_(head|pool)\.")
# Ours -> the places in fast-reid's trunk, which is a list.
_TRUNK = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6"}


def _check_mgn(names: Collection[str], named: bool, choices: Mapping[str, object]) -> None:
    marks = ("backbone.0.weight", "b1.0.0.conv1.weight", "b1_head.bottleneck.0.weight")
    absent = [mark for mark in marks if mark not in names]
    if not any(_OF_MGN.match(name) for name in names):
        raise InputError(
            "no name is one of fast-reid's MGN, whose heads are b1_head, b2_head, b21_head, ..."
        )
    if absent:
        raise InputError(
            f"fast-reid's MGN, without {', '.join(absent)}: its zoo's (v0.1.1) has older names, "
            "which are not read; expected the names that fast-reid gives since release v1.0.0"
        )
    _check_pool_of_today(names, named, choices)


def _place_in_mgn(parts: Sequence[str]) -> Sequence[str]:
    first, *rest = parts[:-1]
    if first == "pools":
        return [_HEADS[int(rest[0])], "pool_layer"]
    return ["backbone", _TRUNK[first], *rest] if first in _TRUNK else [first, *rest]


def _fields_of_mgn(
    names: Collection[str], config: ModelConfig, choices: Choices
) -> Mapping[str, Any]:
    return {"pipeline": _PIPELINE, "training_size": (384, 128)}


FAST_REID_MGN = Layout(
    recognises=lambda names: any(_OF_MGN.match(name) for name in names),
    backbone="",
    heads={
        "reduction": {
            "reductions": tuple(f"{head}.bottleneck.0" for head in _HEADS),
            "necks": tuple(f"{head}.bottleneck.1" for head in _HEADS),
            "classifiers": _HEADS,
        },
        "classification": {
            "necks": tuple(f"{head}.bottleneck.0" for head in _HEADS),
            "classifiers": _HEADS,
        },
        "none": {},
    },
    readers=(mgn_shape(),),
    kinds=("mgn",),
    classifier_bias=False,
    renamed={f"{head}.classifier.weight": f"{head}.weight" for head in _HEADS},
    check_names=_check_mgn,
    place=_place_in_mgn,
    fields=_fields_of_mgn,
    tell=_stored_pixels,
    old_buffers=_pixels,
    ignorable=_OF_PIXELS,
)
