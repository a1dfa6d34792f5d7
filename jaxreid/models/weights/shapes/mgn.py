"""MGNs, named as fast-reid names them: a trunk that is a list, branches b1, b2 and b3 beside it."""

from collections.abc import Callable

from jaxreid.errors import InputError
from jaxreid.models.backbone import BackboneConfig
from jaxreid.models.mgn import MGNConfig
from jaxreid.models.pooling import Pooling
from jaxreid.models.weights.choices import Choices
from jaxreid.models.weights.shapes.reading import Shapes, shape_of, three_channels

__all__ = ["mgn_shape"]

_POWER = "b1_head.pool_layer.p"


def mgn_shape() -> Callable[[Shapes, Choices], BackboneConfig | None]:
    """A reader of MGNs."""

    def read(shapes: Shapes, choices: Choices) -> BackboneConfig | None:
        return _read(shapes, choices) if "b1.0.0.conv1.weight" in shapes else None

    return read


def _read(shapes: Shapes, choices: Choices) -> MGNConfig:
    stem = shape_of(shapes, "backbone.0.weight", 4)
    three_channels("backbone.0.weight", stem)
    if stem[2:] != (7, 7):
        raise InputError(f"backbone.0.weight: expected a 7x7 kernel, got shape {stem}")
    stages = ("backbone.4", "backbone.5", "b1.0", "b1.1")
    depths = [_depth(shapes, stage) for stage in stages]
    # A file that has some of them lost the others: they are missing, and no choice replaces them.
    learnt = any(name.endswith(_POWER.partition("_")[2]) for name in shapes)
    pooling: Pooling | None = "gem-learnt" if learnt else choices.get("pooling")
    if pooling is None:
        raise InputError(
            f"missing tensor {_POWER}: fast-reid's MGN pools by a learnt p; --pooling gem for "
            "p = 3 (0.4 % of the feature where p is 3.4), --pooling average for the mean (2.7 %)"
        )
    # The first block of the third stage ends the trunk.
    depths[2] += 1
    widths = [shape_of(shapes, f"{stage}.0.conv2.weight", 4)[0] for stage in stages]
    outputs = shape_of(shapes, "backbone.4.0.conv3.weight", 4)[0]
    return MGNConfig(
        depths=tuple(depths),
        widths=tuple(widths),
        expansion=max(1, outputs // max(1, widths[0])),
        stem_width=stem[0],
        ibn="backbone.4.0.bn1.IN.weight" in shapes,
        pooling=pooling,
    )


def _depth(shapes: Shapes, stage: str) -> int:
    depth = 0
    while f"{stage}.{depth}.conv1.weight" in shapes:
        depth += 1
    return depth
