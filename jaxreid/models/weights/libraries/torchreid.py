"""torchreid, https://github.com/KaiyangZhou/deep-person-reid, whose OSNets trackers use as well."""

from collections.abc import Collection, Mapping
from typing import Any

from jaxreid.models.backbone import BackboneConfig
from jaxreid.models.config import ModelConfig
from jaxreid.models.osnet import OSNetConfig
from jaxreid.models.pipeline import Pipeline
from jaxreid.models.weights.choices import Choices
from jaxreid.models.weights.libraries.layout import Layout
from jaxreid.models.weights.shapes import is_osnet, osnet_shape, resnet_shape
from jaxreid.models.weights.shapes.reading import Shapes

__all__ = ["TORCHREID"]

# Of its layer fc, which follows pooling in OSNets and in resnet50_fc512.
_EMBEDDING = ("fc.0.weight", "fc.1.running_var")


def _recognises(names: Collection[str]) -> bool:
    if is_osnet(names) or all(name in names for name in _EMBEDDING):
        return True
    return any(name.startswith("classifier.") for name in names)


def _resnet(shapes: Shapes, choices: Choices) -> BackboneConfig | None:
    """Its resnet50_fc512 has stride 1 in layer4, its resnet50 has 2."""
    stride = 1 if _EMBEDDING[0] in shapes else 2
    return resnet_shape(ibn_asks="last_stride", last_stride=stride)(shapes, choices)


def _surroundings(
    names: Collection[str], config: ModelConfig, choices: Choices
) -> Mapping[str, Any]:
    """data/transforms.py, metrics/distance.py, and the configuration of OSNet-AIN."""
    shape = config.backbone
    adaptive = isinstance(shape, OSNetConfig) and shape.adaptive
    pipeline = Pipeline(
        filter="bilinear",
        distance="cosine" if adaptive else "euclidean",
        source="torchreid: data/transforms.py, engine/engine.py",
    )
    return {"training_size": (256, 128), "pipeline": pipeline}


TORCHREID = Layout(
    recognises=_recognises,
    backbone="",
    heads={
        "embedding": {"projection": "fc.0", "neck": "fc.1", "classifier": "classifier"},
        "linear": {"classifier": "classifier"},
        "none": {},
    },
    readers=(osnet_shape(), _resnet),
    kinds=("resnet", "osnet"),
    fields=_surroundings,
)
