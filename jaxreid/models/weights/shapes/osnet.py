"""OSNets, named as torchreid names them; which kind it is, the tensors show."""

from collections.abc import Callable
from typing import Any

from jaxreid.errors import InputError
from jaxreid.models.backbone import BackboneConfig
from jaxreid.models.osnet import OSNetConfig
from jaxreid.models.weights.choices import Choices
from jaxreid.models.weights.shapes.reading import Shapes, shape_of, three_channels

__all__ = ["is_osnet", "osnet_shape"]

_STEM = "conv1.conv.weight"
_FIRST_GATE = "conv2.0.gate.fc1.weight"


def is_osnet(names: Any) -> bool:
    """Whether tensors of these names are an OSNet's."""
    return _STEM in names and _FIRST_GATE in names


def osnet_shape() -> Callable[[Shapes, Choices], BackboneConfig | None]:
    """A reader of OSNet, OSNet-IBN and OSNet-AIN of any width."""

    def read(shapes: Shapes, choices: Choices) -> BackboneConfig | None:
        return _read(shapes) if is_osnet(shapes) else None

    return read


def _read(shapes: Shapes) -> OSNetConfig:
    stem = shape_of(shapes, _STEM, 4)
    three_channels(_STEM, stem)
    if stem[2:] != (7, 7):
        raise InputError(f"{_STEM}: expected a 7x7 kernel, got shape {stem}")
    widths, blocks = [stem[0]], []
    for stage in ("conv2", "conv3", "conv4"):
        count = 0
        while f"{stage}.{count}.gate.fc1.weight" in shapes:
            count += 1
        if not count:
            raise InputError(f"missing tensor {stage}.0.gate.fc1.weight: an OSNet has three stages")
        widths.append(shape_of(shapes, f"{stage}.0.conv3.conv.weight", 4)[0])
        blocks.append(tuple(_norm(shapes, f"{stage}.{index}") for index in range(count)))
    return OSNetConfig(
        widths=tuple(widths),
        stem_norm="batch" if "conv1.bn.running_var" in shapes else "instance",
        blocks=tuple(blocks),
    )


def _norm(shapes: Shapes, block: str) -> Any:
    if f"{block}.IN.weight" not in shapes:
        return "batch"
    return "after" if f"{block}.conv3.bn.weight" in shapes else "inside"
