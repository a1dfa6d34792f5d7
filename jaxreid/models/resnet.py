"""Residual networks with the layout of torchvision's state dict (v1.5: stride in the 3x3)."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax.numpy as jnp
from flax import nnx

from jaxreid.checks import as_tuple
from jaxreid.errors import InputError
from jaxreid.models.backbone import Backbone, BackboneConfig
from jaxreid.models.layers import Conv, max_pool, relu, relu_of_sum
from jaxreid.models.normalization import BatchNorm, Statistics
from jaxreid.types import Array

__all__ = ["RESNETS", "ResNet", "ResNetConfig"]


@dataclass(frozen=True)
class ResNetConfig(BackboneConfig):
    """Shape of a residual network.

    Args:
        block: "basic" (two 3x3) or "bottleneck" (1x1, 3x3, 1x1).
        depths: blocks of each stage; one to eight stages.
        widths: channels of the 3x3 convolutions of each stage.
        expansion: a bottleneck's output channels per channel of its 3x3; basic blocks have 1.
        stem: "imagenet" (7x7 convolution of stride 2, then 3x3 max pooling of stride 2) or "patch"
            (4x4 convolution of stride 4, no pooling: a matrix product, quick on a CPU).
        stem_width: channels after the stem.
        last_stride: stride of the last stage; 1 keeps twice the resolution, as many re-ID models.
        pool: where the stem's max pooling looks: "padded" (torchvision: one pixel around the
            image) or "ceil" (fast-reid: none, the last window may hang over the edge).
        stem_relu: whether a ReLU follows the stem; reid-strong-baseline's ResNets lack it.

    Returns:
        The configuration.

    Raises:
        InputError: a field has another value, or depths and widths differ in length.
    """

    block: Literal["basic", "bottleneck"] = "bottleneck"
    depths: tuple[int, ...] = (3, 4, 6, 3)
    widths: tuple[int, ...] = (64, 128, 256, 512)
    expansion: int = 4
    stem: Literal["imagenet", "patch"] = "imagenet"
    stem_width: int = 64
    last_stride: int = 2
    pool: Literal["padded", "ceil"] = "padded"
    stem_relu: bool = True

    def __post_init__(self) -> None:
        for name in ("depths", "widths"):
            as_tuple(self, name)
        choices = {
            "block": (self.block, ("basic", "bottleneck")),
            "stem": (self.stem, ("imagenet", "patch")),
            "last_stride": (self.last_stride, (1, 2)),
            "pool": (self.pool, ("padded", "ceil")),
            "stem_relu": (self.stem_relu, (True, False)),
            "stages": (len(self.depths), tuple(range(1, 9))),
            "widths": (len(self.widths), (len(self.depths),)),
        }
        for name, (value, allowed) in choices.items():
            if value not in allowed:
                raise InputError(f"ResNet {name}: expected one of {allowed}, got {value!r}")
        sizes = (*self.depths, *self.widths, self.expansion, self.stem_width)
        # The bound keeps a forged file from asking for a network that never ends.
        if not all(isinstance(size, int) and 0 < size <= 1 << 14 for size in sizes):
            raise InputError(f"ResNet sizes must be integers from 1 to 16384, got {sizes}")
        if max(self.depths) > 256:
            raise InputError(f"ResNet stages have at most 256 blocks, got {self.depths}")

    @property
    def growth(self) -> int:
        """Channels that leave a block per channel of its 3x3 convolutions."""
        return self.expansion if self.block == "bottleneck" else 1

    @property
    def feature_size(self) -> int:
        """Channels after the last stage."""
        return self.widths[-1] * self.growth


RESNETS = {
    "resnet18": ResNetConfig(block="basic", depths=(2, 2, 2, 2)),
    "resnet34": ResNetConfig(block="basic"),
    "resnet50": ResNetConfig(),
    "resnet101": ResNetConfig(depths=(3, 4, 23, 3)),
    "resnet152": ResNetConfig(depths=(3, 8, 36, 3)),
    # For CPUs: no small-channel convolutions (slow there), most of the work in matrix products.
    "resnet_patch": ResNetConfig(
        depths=(1, 2, 2), widths=(64, 128, 256), expansion=2, stem="patch"
    ),
}
"""name -> ResNetConfig."""


_MakeConv = Callable[..., Conv]
_MakeNorm = Callable[[int], BatchNorm]


class BasicBlock(nnx.Module):
    """Two 3x3 convolutions beside a shortcut; attribute names are torchvision's.

    `width` channels go out. `conv` makes a convolution, `norm` a BatchNorm of so many channels.
    """

    def __init__(
        self, inputs: int, width: int, stride: int, *, conv: _MakeConv, norm: _MakeNorm
    ) -> None:
        self.conv1 = conv(inputs, width, 3, stride=stride, padding=1)
        self.bn1 = norm(width)
        self.conv2 = conv(width, width, 3, padding=1)
        self.bn2 = norm(width)
        self.downsample = _downsample(inputs, width, stride, conv=conv, norm=norm)

    def __call__(self, x: Array, statistics: Statistics) -> Array:
        """X [B,H,W,C] -> [B,H',W',width]."""
        y = relu(self.bn1(self.conv1(x), statistics))
        y = self.bn2(self.conv2(y), statistics)
        return relu_of_sum(_shortcut(self.downsample, x, statistics), y)


class Bottleneck(nnx.Module):
    """A 3x3 convolution between two 1x1, beside a shortcut; attribute names are torchvision's.

    `width` are the channels of the 3x3 convolution, whose stride `stride` is; `width * expansion`
    go out. `conv` makes a convolution, `norm` a BatchNorm of so many channels.
    """

    def __init__(
        self,
        inputs: int,
        width: int,
        stride: int,
        *,
        expansion: int,
        conv: _MakeConv,
        norm: _MakeNorm,
    ) -> None:
        outputs = width * expansion
        self.conv1 = conv(inputs, width, 1)
        self.bn1 = norm(width)
        self.conv2 = conv(width, width, 3, stride=stride, padding=1)
        self.bn2 = norm(width)
        self.conv3 = conv(width, outputs, 1)
        self.bn3 = norm(outputs)
        self.downsample = _downsample(inputs, outputs, stride, conv=conv, norm=norm)

    def __call__(self, x: Array, statistics: Statistics) -> Array:
        """X [B,H,W,C] -> [B,H',W',width * expansion]."""
        y = relu(self.bn1(self.conv1(x), statistics))
        y = relu(self.bn2(self.conv2(y), statistics))
        y = self.bn3(self.conv3(y), statistics)
        return relu_of_sum(_shortcut(self.downsample, x, statistics), y, per_pixel=True)


def _downsample(
    inputs: int, outputs: int, stride: int, *, conv: _MakeConv, norm: _MakeNorm
) -> nnx.List[nnx.Module] | None:
    """What a shortcut needs where the shape changes."""
    if stride == 1 and inputs == outputs:
        return None
    return nnx.List([conv(inputs, outputs, 1, stride=stride), norm(outputs)])


def _shortcut(downsample: nnx.List[Any] | None, x: Array, statistics: Statistics) -> Array:
    if downsample is None:
        return x
    conv, norm = downsample
    return norm(conv(x), statistics)


class ResNet(Backbone):
    """Residual network without a head: images to the mean over the last feature map.

    Source: He et al., Deep Residual Learning, https://arxiv.org/abs/1512.03385; the strides of
    https://docs.pytorch.org/vision/stable/models/resnet.html.

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
        config: ResNetConfig,
        *,
        axis_name: str | None = None,
        dtype: jnp.dtype = jnp.float32,
        rngs: nnx.Rngs,
    ) -> None:
        self.config: ResNetConfig = config
        conv = partial(Conv, dtype=dtype, rngs=rngs)
        norm = partial(BatchNorm, axis_name=axis_name, dtype=dtype)
        block: Callable[..., nnx.Module] = (
            partial(BasicBlock, conv=conv, norm=norm)
            if config.block == "basic"
            else partial(Bottleneck, expansion=config.expansion, conv=conv, norm=norm)
        )
        if config.stem == "imagenet":
            self.conv1 = conv(3, config.stem_width, 7, stride=2, padding=3)
        else:
            self.conv1 = conv(3, config.stem_width, 4, stride=4)
        self.bn1 = norm(config.stem_width)
        channels = config.stem_width
        for stage, (depth, width) in enumerate(zip(config.depths, config.widths, strict=True)):
            last = stage == len(config.depths) - 1
            stride = 1 if stage == 0 else config.last_stride if last else 2
            blocks = [block(channels, width, stride)]
            channels = width * config.growth
            blocks += [block(channels, width, 1) for _ in range(depth - 1)]
            setattr(self, f"layer{stage + 1}", nnx.List(blocks))

    def __call__(
        self, images: Array, statistics: Statistics, cameras: Array | None = None
    ) -> Array:
        """Images [B,H,W,3] -> pooled features [B,D] float32."""
        x = self.bn1(self.conv1(images), statistics)
        if self.config.stem == "imagenet":
            # Before the ReLU: the two may change places, and it then has a quarter of the pixels.
            x = max_pool(x, padded=self.config.pool == "padded")
        if self.config.stem_relu:
            x = relu(x)
        for stage in range(len(self.config.depths)):
            for block in getattr(self, f"layer{stage + 1}"):
                x = block(x, statistics)
        return x.astype(jnp.promote_types(x.dtype, jnp.float32)).mean((1, 2))
