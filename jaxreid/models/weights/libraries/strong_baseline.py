"""reid-strong-baseline, https://github.com/michuanhaohao/reid-strong-baseline.

modeling/baseline.py, and no ReLU after the stem in modeling/backbones/resnet.py.
"""

from collections.abc import Collection, Mapping
from typing import Any

from jaxreid.errors import InputError, listed
from jaxreid.models.config import ModelConfig
from jaxreid.models.pipeline import Pipeline
from jaxreid.models.weights.choices import Choices
from jaxreid.models.weights.libraries.layout import Layout, begins
from jaxreid.models.weights.shapes import resnet_shape

__all__ = ["STRONG_BASELINE"]


def _stem_of_strong_baseline(
    names: Collection[str], named: bool, choices: Mapping[str, object]
) -> None:
    """Forks of reid-strong-baseline share its names, not its network."""
    if named:
        return
    if "base.conv1.weight" in names:
        raise InputError(
            "the names begin with 'base.', as those of reid-strong-baseline and of its forks do, "
            "and no tensor tells which: --from strong-baseline reads the original (no ReLU after "
            "the stem), with --stem-relu forks that have one; TransReID's ResNets, which pool 2x2, "
            "are not read"
        )
    raise InputError(
        f"the names begin with 'base.' ({listed(sorted(names))}), and are neither TransReID's "
        "(base.cls_token), SOLIDER-REID's (base.stages) nor those of a ResNet (base.conv1)"
    )


def _surroundings(
    names: Collection[str], config: ModelConfig, choices: Choices
) -> Mapping[str, Any]:
    """config/defaults.py (TEST.NECK_FEAT after, FEAT_NORM yes) and the published models' size."""
    pipeline = Pipeline(
        filter="bilinear",
        distance="euclidean",
        unit_length=True,
        source="reid-strong-baseline: config/defaults.py, data/transforms/build.py",
    )
    return {"training_size": (256, 128), "pipeline": pipeline}


STRONG_BASELINE = Layout(
    recognises=begins("base."),
    backbone="base",
    heads={
        "classification": {"neck": "bottleneck", "classifier": "classifier"},
        "linear": {"classifier": "classifier"},
        "none": {},
    },
    readers=(resnet_shape(ibn_asks="stem_relu", last_stride=1, stem_relu=False),),
    kinds=("resnet",),
    classifier_bias=None,
    fields=_surroundings,
    check_names=_stem_of_strong_baseline,
)
