"""OSNet, and its kinds IBN and AIN with instance norms, with the names of torchreid's files."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal, NamedTuple, get_args

import jax.numpy as jnp
from flax import nnx

from jaxreid.checks import as_tuple
from jaxreid.errors import InputError
from jaxreid.models.backbone import Backbone, BackboneConfig
from jaxreid.models.instance_norm import InstanceNorm
from jaxreid.models.layers import Conv, average_pool, max_pool, relu, relu_of_sum
from jaxreid.models.normalization import BatchNorm, Statistics
from jaxreid.precision import at_least_float32
from jaxreid.types import Array

__all__ = ["OSNETS", "OSNet", "OSNetConfig"]

BlockNorm = Literal["batch", "after", "inside"]
"""Where a block has an instance norm, see OSNetConfig."""

_STREAMS = 4
# The hidden layer of a gate has a channel for so many of its input.
_GATE_REDUCTION = 16


@dataclass(frozen=True)
class OSNetConfig(BackboneConfig):
    """Shape of an OSNet.

    Args:
        widths: channels after the stem and after each of the three stages.
        stem_norm: what follows the 7x7 convolution, a "batch" or an "instance" norm.
        blocks: for each stage, for each of its blocks: "batch" (BatchNorm only), "after" (an
            instance norm on the sum with the shortcut; OSNet-IBN) or "inside" (an instance norm in
            place of the last BatchNorm, before that sum; OSNet-AIN).

    Returns:
        The configuration.

    Raises:
        InputError: a field has another value.
    """

    widths: tuple[int, ...] = (64, 256, 384, 512)
    stem_norm: Literal["batch", "instance"] = "batch"
    blocks: tuple[tuple[BlockNorm, ...], ...] = (("batch", "batch"),) * 3

    def __post_init__(self) -> None:
        as_tuple(self, "widths")
        object.__setattr__(self, "blocks", tuple(map(tuple, self.blocks)))
        if self.stem_norm not in ("batch", "instance"):
            raise InputError(
                f"OSNet stem_norm: expected 'batch' or 'instance', got {self.stem_norm!r}"
            )
        # The bounds keep a forged file from asking for a network that never ends.
        if len(self.widths) != 4 or not all(
            type(width) is int and 0 < width <= 1 << 14 for width in self.widths
        ):
            raise InputError(f"OSNet widths: expected 4 integers to 16384, got {self.widths}")
        if any(width < 4 * _GATE_REDUCTION for width in self.widths[1:]):
            raise InputError(
                f"OSNet widths: gates need 64 channels after a stage, got {self.widths[1:]}"
            )
        if len(self.blocks) != 3 or not all(1 <= len(stage) <= 64 for stage in self.blocks):
            raise InputError("OSNet blocks: expected three stages of 1 to 64 blocks")
        if unknown := {norm for stage in self.blocks for norm in stage} - set(get_args(BlockNorm)):
            raise InputError(
                f"OSNet blocks: expected {get_args(BlockNorm)}, got {sorted(map(str, unknown))}"
            )

    @property
    def feature_size(self) -> int:
        """Channels after the last stage."""
        return self.widths[-1]

    @property
    def adaptive(self) -> bool:
        """Whether it is an OSNet-AIN, which names streams and transitions in another way."""
        return any("inside" in stage for stage in self.blocks)


_WIDTHS = {
    "x1_0": (64, 256, 384, 512),
    "x0_75": (48, 192, 288, 384),
    "x0_5": (32, 128, 192, 256),
    "x0_25": (16, 64, 96, 128),
}
_IBN: Any = {"stem_norm": "instance", "blocks": (("after",) * 2, ("batch",) * 2, ("batch",) * 2)}
_AIN: Any = {
    "stem_norm": "instance",
    "blocks": (("inside", "inside"), ("batch", "inside"), ("inside", "batch")),
}

OSNETS = {
    f"{kind}_{name}": OSNetConfig(widths, **fields)
    for kind, fields in (("osnet", {}), ("osnet_ibn", _IBN), ("osnet_ain", _AIN))
    for name, widths in _WIDTHS.items()
}
"""name -> OSNetConfig."""


class _Make(NamedTuple):
    """Makes layers of one type: a convolution (inputs, outputs, size), norms of some channels."""

    conv: Callable[..., Conv]
    norm: Callable[[int], BatchNorm]
    instance_norm: Callable[[int], InstanceNorm]


class ConvLayer(nnx.Module):
    """A convolution, its norm if it has one, and ReLU if wanted."""

    def __init__(
        self,
        conv: Conv,
        norm: BatchNorm | InstanceNorm | None,
        *,
        rectified: bool = True,
    ) -> None:
        self.conv = conv
        self.bn = norm
        self.rectified = rectified

    def __call__(self, x: Array, statistics: Statistics) -> Array:
        """X [B,H,W,C] -> [B,H',W',K]."""
        x = self.conv(x)
        if isinstance(self.bn, InstanceNorm):
            x = self.bn(x)
        elif self.bn is not None:
            x = self.bn(x, statistics)
        return relu(x) if self.rectified else x


class LightConv(nnx.Module):
    """1x1 convolution, depthwise 3x3 convolution, BatchNorm, ReLU: the paper's figure 3(b)."""

    NORMS: ClassVar = {"conv2": "bn"}
    """The norm that follows a convolution, for `jaxreid.models.frozen`."""

    def __init__(self, width: int, make: _Make) -> None:
        self.conv1 = make.conv(width, width, 1)
        self.conv2 = make.conv(width, width, 3, padding=1, groups=width)
        self.bn = make.norm(width)

    def __call__(self, x: Array, statistics: Statistics) -> Array:
        """X [B,H,W,C] -> [B,H,W,C]."""
        return relu(self.bn(self.conv2(self.conv1(x)), statistics))


class Stream(nnx.Module):
    """Light convolutions in a row, as the files of OSNet-AIN name them."""

    def __init__(self, layers: list[LightConv]) -> None:
        self.layers = nnx.List(layers)


class Gate(nnx.Module):
    """Weights each channel of each image by its mean over the map: the paper's aggregation gate."""

    def __init__(self, width: int, make: _Make) -> None:
        self.fc1 = make.conv(width, width // _GATE_REDUCTION, 1, bias=True)
        self.fc2 = make.conv(width // _GATE_REDUCTION, width, 1, bias=True)

    def __call__(self, x: Array) -> Array:
        """X [B,H,W,C] -> the weights [B,1,1,C] in (0, 1)."""
        means = at_least_float32(x).mean((1, 2), keepdims=True)
        return nnx.sigmoid(self.fc2(relu(self.fc1(means))))


class Block(nnx.Module):
    """Four streams of growing reach, weighed by one gate and added, beside a shortcut.

    `norm` is one of OSNetConfig's `blocks`, `adaptive` whether streams are named as in OSNet-AIN.
    """

    def __init__(
        self, inputs: int, outputs: int, norm: BlockNorm, *, adaptive: bool, make: _Make
    ) -> None:
        width = outputs // 4
        self.conv1 = ConvLayer(make.conv(inputs, width, 1), make.norm(width))
        streams = [
            [LightConv(width, make) for _ in range(length)] for length in range(1, _STREAMS + 1)
        ]
        self.adaptive = adaptive
        if adaptive:
            self.conv2 = nnx.List(map(Stream, streams))
        else:
            self.conv2a = streams[0][0]
            self.conv2b, self.conv2c, self.conv2d = map(nnx.List, streams[1:])
        self.gate = Gate(width, make)
        last = None if norm == "inside" else make.norm(outputs)
        self.conv3 = ConvLayer(make.conv(width, outputs, 1), last, rectified=False)
        self.downsample = (
            ConvLayer(make.conv(inputs, outputs, 1), make.norm(outputs), rectified=False)
            if inputs != outputs
            else None
        )
        self.norm = norm
        if norm != "batch":
            self.IN = make.instance_norm(outputs)

    def streams(self) -> list[list[LightConv]]:
        """The layers of each stream."""
        if self.adaptive:
            return [list(stream.layers) for stream in self.conv2]
        return [[self.conv2a], *map(list, (self.conv2b, self.conv2c, self.conv2d))]

    def __call__(self, x: Array, statistics: Statistics) -> Array:
        """X [B,H,W,C] -> [B,H,W,outputs]."""
        start = self.conv1(x, statistics)
        gated = []
        for stream in self.streams():
            y = start
            for layer in stream:
                y = layer(y, statistics)
            gated.append(y * self.gate(y))
        y = self.conv3(sum(gated[1:], gated[0]), statistics)
        if self.norm == "inside":
            y = self.IN(y)
        shortcut = x if self.downsample is None else self.downsample(x, statistics)
        if self.norm == "after":
            return relu(self.IN(shortcut + y))
        return relu_of_sum(shortcut, y, per_pixel=True)


class OSNet(Backbone):
    """OSNet without a head: images to the mean over the last feature map.

    Source: Zhou et al., Omni-Scale Feature Learning, https://arxiv.org/abs/1905.00953; with
    instance norms, Learning Generalisable Omni-Scale Representations,
    https://arxiv.org/abs/1910.06827.

    Args:
        config: its shape.
        axis_name: mapped axis over which BatchNorm's batch statistics are shared.
        dtype: of the computation; parameters and statistics are float32.
        rngs: source of the initial parameters.

    Returns:
        A module: (images [B,H,W,3] with mean 0 and variance 1, statistics) -> [B,D] float32, D =
        config.feature_size.
    """

    def __init__(
        self,
        config: OSNetConfig,
        *,
        axis_name: str | None = None,
        dtype: jnp.dtype = jnp.float32,
        rngs: nnx.Rngs,
    ) -> None:
        self.config: OSNetConfig = config
        make = _Make(
            partial(Conv, dtype=dtype, rngs=rngs),
            partial(BatchNorm, axis_name=axis_name, dtype=dtype),
            partial(InstanceNorm, dtype=dtype),
        )
        channels, *stages = config.widths
        norm = make.instance_norm if config.stem_norm == "instance" else make.norm
        self.conv1 = ConvLayer(make.conv(3, channels, 7, stride=2, padding=3), norm(channels))
        for number, (width, norms) in enumerate(zip(stages, config.blocks, strict=True), 2):
            blocks: list[nnx.Module] = []
            for kind in norms:
                blocks.append(Block(channels, width, kind, adaptive=config.adaptive, make=make))
                channels = width
            if number < 4:
                layer = ConvLayer(make.conv(width, width, 1), make.norm(width))
                transition = nnx.List([layer])
                if config.adaptive:
                    setattr(self, f"pool{number}", transition)
                else:
                    blocks.append(transition)
            setattr(self, f"conv{number}", nnx.List(blocks))
        self.conv5 = ConvLayer(make.conv(channels, channels, 1), make.norm(channels))

    def __call__(
        self, images: Array, statistics: Statistics, cameras: Array | None = None
    ) -> Array:
        """Images [B,H,W,3] -> pooled features [B,D] float32."""
        x = max_pool(self.conv1(images, statistics))
        for number, norms in enumerate(self.config.blocks, 2):
            stage = getattr(self, f"conv{number}")
            for block in stage[: len(norms)]:
                x = block(x, statistics)
            if number < 4:
                last = getattr(self, f"pool{number}") if self.config.adaptive else stage[-1]
                x = average_pool(last[0](x, statistics))
        x = self.conv5(x, statistics)
        return at_least_float32(x).mean((1, 2))
