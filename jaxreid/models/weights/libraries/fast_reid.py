"""fast-reid, https://github.com/JDAI-CV/fast-reid."""

from collections.abc import Collection, Mapping

from jaxreid.errors import InputError
from jaxreid.models.weights.libraries.layout import Layout, begins
from jaxreid.models.weights.shapes import resnet_shape

__all__ = ["FAST_REID"]


def _pooling_of_fast_reid(
    names: Collection[str], named: bool, choices: Mapping[str, object]
) -> None:
    if any(name.startswith("heads.bnneck.") for name in names) and not choices.get("pool"):
        raise InputError(
            "heads.bnneck is what fast-reid called heads.bottleneck.0 up to 2020-09; its stem then "
            "pooled as torchvision's does, and no tensor says so: --pool padded for a file of that "
            "time, --pool ceil for one of today's code"
        )


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
    readers=(resnet_shape(last_stride=1, pool="ceil"),),
    kinds=("resnet",),
    classifier_bias=False,
    renamed={
        "heads.classifier.weight": "heads.weight",
        "heads.bnneck.": "heads.bottleneck.0.",
    },
    check_names=_pooling_of_fast_reid,
)
