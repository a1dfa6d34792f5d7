"""Residual networks with the layout of torchvision's state dict (v1.5: stride in the 3x3)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import jax.numpy as jnp
from flax import nnx

from jaxreid.errors import InputError
from jaxreid.models.activation import relu, relu_of_sum
from jaxreid.models.convolutions import Conv, max_pool
from jaxreid.models.normalization import BatchNorm, Statistics
from jaxreid.models.tuples import as_tuple
from jaxreid.types import Array

__all__ = ["RESNETS", "ResNet", "ResNetConfig"]


@dataclass(frozen=True)
class ResNetConfig:
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
    def feature_size(self) -> int:
        """Channels after the last stage."""
        return self.widths[-1] * (self.expansion if self.block == "bottleneck" else 1)


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


class _Block(nnx.Module):
    """Basic or bottleneck block; attribute names are torchvision's."""

    def __init__(
        self,
        inputs: int,
        width: int,
        config: ResNetConfig,
        *,
        stride: int,
        axis_name: str | None,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
    ) -> None:
        basic = config.block == "basic"
        outputs = width if basic else width * config.expansion
        # (kernel size, output channels, stride) of conv1, conv2, ...
        plan = (
            [(3, width, stride), (3, width, 1)]
            if basic
            else [(1, width, 1), (3, width, stride), (1, outputs, 1)]
        )
        channels = inputs
        for index, (size, to, step) in enumerate(plan, start=1):
            conv = Conv(channels, to, size, stride=step, padding=size // 2, dtype=dtype, rngs=rngs)
            setattr(self, f"conv{index}", conv)
            setattr(self, f"bn{index}", BatchNorm(to, axis_name=axis_name, dtype=dtype))
            channels = to
        self.layers, self.basic = len(plan), basic
        self.shortcut = stride != 1 or inputs != outputs
        if self.shortcut:
            conv = Conv(inputs, outputs, 1, stride=stride, dtype=dtype, rngs=rngs)
            norm = BatchNorm(outputs, axis_name=axis_name, dtype=dtype)
            self.downsample = nnx.List([conv, norm])

    def normalized(self) -> Iterator[tuple[Any, Any, Any]]:
        """See `ResNet.normalized`."""
        for index in range(1, self.layers + 1):
            yield self, f"conv{index}", f"bn{index}"
        if self.shortcut:
            yield self.downsample, 0, 1

    def __call__(self, x: Array, statistics: Statistics) -> Array:
        y = x
        for index in range(1, self.layers + 1):
            y = getattr(self, f"bn{index}")(getattr(self, f"conv{index}")(y), statistics)
            if index < self.layers:
                y = relu(y)
        if self.shortcut:
            conv, norm = self.downsample
            x = norm(conv(x), statistics)
        if self.basic:
            return relu_of_sum(x, y)
        # Pixel by pixel, as the product that is next wants it.
        flat = (-1, y.shape[-1])
        return relu_of_sum(x.reshape(flat), y.reshape(flat)).reshape(y.shape)


class ResNet(nnx.Module):
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
        self.config = config
        size, stride, padding = (7, 2, 3) if config.stem == "imagenet" else (4, 4, 0)
        self.conv1 = Conv(
            3, config.stem_width, size, stride=stride, padding=padding, dtype=dtype, rngs=rngs
        )
        self.bn1 = BatchNorm(config.stem_width, axis_name=axis_name, dtype=dtype)
        growth = config.expansion if config.block == "bottleneck" else 1
        channels = config.stem_width
        for stage, (depth, width) in enumerate(zip(config.depths, config.widths, strict=True)):
            last = stage == len(config.depths) - 1
            stride = 1 if stage == 0 else config.last_stride if last else 2
            blocks = []
            for index in range(depth):
                block = _Block(
                    channels,
                    width,
                    config,
                    stride=stride if index == 0 else 1,
                    axis_name=axis_name,
                    dtype=dtype,
                    rngs=rngs,
                )
                blocks.append(block)
                channels = width * growth
            setattr(self, f"layer{stage + 1}", nnx.List(blocks))

    def normalized(self) -> Iterator[tuple[Any, Any, Any]]:
        """Where each convolution and the BatchNorm that follows it are kept.

        Returns:
            (module or list that holds both, name or index of the convolution, of the BatchNorm).
        """
        yield self, "conv1", "bn1"
        for stage in range(len(self.config.depths)):
            for block in getattr(self, f"layer{stage + 1}"):
                yield from block.normalized()

    def __call__(self, images: Array, statistics: Statistics) -> Array:
        """Images [B,H,W,3] -> pooled features [B,D] float32."""
        x = self.bn1(self.conv1(images), statistics)
        if self.config.stem == "imagenet":
            # Before the ReLU, which a maximum commutes with, and which so has a quarter to do.
            x = max_pool(x, padded=self.config.pool == "padded")
        if self.config.stem_relu:
            x = relu(x)
        for stage in range(len(self.config.depths)):
            for block in getattr(self, f"layer{stage + 1}"):
                x = block(x, statistics)
        return x.astype(jnp.promote_types(x.dtype, jnp.float32)).mean((1, 2))
