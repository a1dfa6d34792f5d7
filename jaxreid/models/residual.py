"""Residual blocks with torchvision's attribute names, and the stages made of them."""

from collections.abc import Callable
from functools import partial
from typing import Any

from flax import nnx

from jaxreid.models.activations import ACTIVATIONS, ActivationName
from jaxreid.models.instance_norm import IBN
from jaxreid.models.layers import Conv
from jaxreid.models.normalization import BatchNorm, Statistics
from jaxreid.types import Array

__all__ = ["BasicBlock", "Bottleneck", "MakeBlock", "block_maker", "stage_of"]

_MakeConv = Callable[..., Conv]
_MakeNorm = Callable[[int], BatchNorm | IBN]


class BasicBlock(nnx.Module):
    """Two 3x3 convolutions beside a shortcut; attribute names are torchvision's.

    `width` channels go out. `conv` makes a convolution, `norm` a BatchNorm of so many channels,
    `first` what follows the first convolution; `activation` follows the norms.
    """

    def __init__(
        self,
        inputs: int,
        width: int,
        stride: int,
        *,
        conv: _MakeConv,
        norm: _MakeNorm,
        first: _MakeNorm,
        activation: ActivationName,
    ) -> None:
        self.conv1 = conv(inputs, width, 3, stride=stride, padding=1)
        self.bn1 = first(width)
        self.conv2 = conv(width, width, 3, padding=1)
        self.bn2 = norm(width)
        self.downsample = _downsample(inputs, width, stride, conv=conv, norm=norm)
        self.activation: ActivationName = activation

    def __call__(self, x: Array, statistics: Statistics) -> Array:
        """X [B,H,W,C] -> [B,H',W',width]."""
        act = ACTIVATIONS[self.activation]
        y = act.alone(self.bn1(self.conv1(x), statistics))
        y = self.bn2(self.conv2(y), statistics)
        return act.of_sum(_shortcut(self.downsample, x, statistics), y)


class Bottleneck(nnx.Module):
    """A 3x3 convolution between two 1x1, beside a shortcut; attribute names are torchvision's.

    `width` are the channels of the 3x3 convolution, whose stride `stride` is; `width * expansion`
    go out. `conv` makes a convolution, `norm` a BatchNorm of so many channels, `first` what follows
    the first convolution; `activation` follows the norms.
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
        first: _MakeNorm,
        activation: ActivationName,
    ) -> None:
        outputs = width * expansion
        self.conv1 = conv(inputs, width, 1)
        self.bn1 = first(width)
        self.conv2 = conv(width, width, 3, stride=stride, padding=1)
        self.bn2 = norm(width)
        self.conv3 = conv(width, outputs, 1)
        self.bn3 = norm(outputs)
        self.downsample = _downsample(inputs, outputs, stride, conv=conv, norm=norm)
        self.activation: ActivationName = activation

    def __call__(self, x: Array, statistics: Statistics) -> Array:
        """X [B,H,W,C] -> [B,H',W',width * expansion]."""
        act = ACTIVATIONS[self.activation]
        y = act.alone(self.bn1(self.conv1(x), statistics))
        y = act.alone(self.bn2(self.conv2(y), statistics))
        y = self.bn3(self.conv3(y), statistics)
        return act.of_sum(_shortcut(self.downsample, x, statistics), y, per_pixel=True)


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


MakeBlock = Callable[[int, int, int], nnx.Module]
"""(channels in, width, stride) -> block."""


def block_maker(
    *,
    expansion: int | None,
    conv: _MakeConv,
    norm: _MakeNorm,
    first: _MakeNorm,
    activation: ActivationName = "relu",
) -> MakeBlock:
    """What makes the blocks of a stage.

    Args:
        expansion: of bottlenecks; None for basic blocks.
        conv: (channels in, channels out, size, stride=, padding=) -> convolution.
        norm: channels -> BatchNorm.
        first: channels -> what follows the first convolution, BatchNorm or IBN.
        activation: a key of ACTIVATIONS.
    """
    parts: dict[str, Any] = {"conv": conv, "norm": norm, "first": first, "activation": activation}
    if expansion is None:
        return partial(BasicBlock, **parts)
    return partial(Bottleneck, expansion=expansion, **parts)


def stage_of(
    make: MakeBlock, inputs: int, width: int, *, depth: int, stride: int, growth: int
) -> nnx.List[Any]:
    """`depth` blocks of which the first has the stride; width * growth channels go out of each."""
    first = make(inputs, width, stride)
    return nnx.List([first, *(make(width * growth, width, 1) for _ in range(depth - 1))])
