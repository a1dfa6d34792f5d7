"""ResNets, named as torchvision names them."""

import re
from collections.abc import Callable
from typing import Any

from jaxreid.errors import InputError
from jaxreid.models.backbone import BackboneConfig
from jaxreid.models.resnet import ResNetConfig
from jaxreid.models.weights.choices import Choices
from jaxreid.models.weights.shapes.reading import Shapes, shape_of, three_channels

__all__ = ["resnet_shape"]


def resnet_shape(**usual: Any) -> Callable[[Shapes, Choices], BackboneConfig | None]:
    """A reader of ResNets; `usual` are fields that tensors do not show, as a library has them."""

    def read(shapes: Shapes, choices: Choices) -> BackboneConfig | None:
        return _read(shapes, usual)

    return read


def _read(shapes: Shapes, usual: dict[str, Any]) -> ResNetConfig:
    stem = shape_of(shapes, "conv1.weight", 4)
    three_channels("conv1.weight", stem)
    if stem[2:] not in ((7, 7), (4, 4)):
        raise InputError(f"conv1.weight: expected a 7x7 or 4x4 kernel, got shape {stem}")
    places = [re.match(r"layer(\d+)\.(\d+)\.", name) for name in shapes]
    found = {(int(place[1]), int(place[2])) for place in places if place}
    depths: list[int] = []
    while (len(depths) + 1, 0) in found:
        stage = len(depths) + 1
        depths.append(sum(1 for where, _ in found if where == stage))
    last = "conv2" if "layer1.0.conv3.weight" not in shapes else "conv3"
    widths = [
        shape_of(shapes, f"layer{stage}.0.{'conv1' if last == 'conv2' else 'conv2'}.weight", 4)[0]
        for stage in range(1, len(depths) + 1)
    ]
    outputs = shape_of(shapes, f"layer1.0.{last}.weight", 4)[0]
    return ResNetConfig(
        block="basic" if last == "conv2" else "bottleneck",
        depths=tuple(depths),
        widths=tuple(widths),
        expansion=4 if last == "conv2" else max(1, outputs // max(1, widths[0])),
        stem="imagenet" if stem[2] == 7 else "patch",
        stem_width=stem[0],
        **usual,
    )
