"""ResNets, named as torchvision names them."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from jaxreid.errors import InputError
from jaxreid.models.backbone import BackboneConfig
from jaxreid.models.pooling import Pooling
from jaxreid.models.resnet import ResNetConfig
from jaxreid.models.weights.choices import Choices
from jaxreid.models.weights.shapes.reading import Shapes, shape_of, three_channels

__all__ = ["resnet_shape"]


def resnet_shape(
    *, ibn_asks: str | None = None, **usual: Any
) -> Callable[[Shapes, Choices], BackboneConfig | None]:
    """A reader of ResNets.

    Args:
        ibn_asks: a key of Choices in which the library's ResNets with IBN may differ from those
            without, so that the user has to say it.
        **usual: fields that tensors do not show, as the library has them.
    """

    def read(shapes: Shapes, choices: Choices) -> BackboneConfig | None:
        found = _read(shapes, usual)
        if found.ibn and ibn_asks and choices.get(ibn_asks) is None:
            raise InputError(
                "layer1.0.bn1.IN: a ResNet with IBN, which may differ from this library's plain "
                f"ones, and no tensor says so: give --{ibn_asks.replace('_', '-')}"
            )
        if "pooling" not in usual:
            found = replace(found, pooling=_pooling(found, shapes, choices))
        return found

    return read


def _pooling(found: ResNetConfig, shapes: Shapes, choices: Choices) -> Pooling:
    """Pooling where no library says which: a learnt p is a tensor, a fixed one is none."""
    if "pool_layer.p" in shapes:
        return "gem-learnt"
    chosen = choices.get("pooling")
    if chosen is None and found.non_local:
        raise InputError(
            "ResNets with non-local blocks pool by GeM in AGW and by the mean elsewhere, and no "
            "tensor says so: give --pooling gem or --pooling average; the wrong one changes the "
            "feature by 3 %"
        )
    return chosen or "average"


def _non_local(shapes: Shapes, stages: int) -> tuple[int, ...]:
    """How many non-local blocks each stage has; () where none has any."""
    counts = [0] * stages
    for stage in range(stages):
        while f"NL_{stage + 1}.{counts[stage]}.g.weight" in shapes:
            counts[stage] += 1
    return tuple(counts) if any(counts) else ()


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
        ibn="layer1.0.bn1.IN.weight" in shapes,
        non_local=_non_local(shapes, len(depths)),
        **usual,
    )
