"""The same ResNet in PyTorch, with torchvision's names, and its bottleneck, which others share."""

from typing import Literal

import torch
from torch import nn
from torch.nn import functional

from jaxreid.benchmark.torch_twins.layers import IBN, GlobalPool
from jaxreid.models import ResNetConfig

__all__ = ["Bottleneck", "ResNet", "stem_pool"]


def _conv(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    if inputs == outputs and stride == 1:
        return nn.Sequential()
    return nn.Sequential(_conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))


def stem_pool(pool: Literal["padded", "ceil"]) -> nn.MaxPool2d:
    """The 3x3 maximum of stride 2 after the first convolution."""
    return nn.MaxPool2d(3, 2, 1) if pool == "padded" else nn.MaxPool2d(3, 2, ceil_mode=True)


class _NonLocal(nn.Module):
    """The dot product of https://arxiv.org/abs/1711.07971 with one inner channel, unnormalised."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.g, self.theta, self.phi = (nn.Conv2d(channels, 1, 1) for _ in range(3))
        self.W = nn.Sequential(nn.Conv2d(1, channels, 1), nn.BatchNorm2d(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        g, theta, phi = (layer(x).flatten(2) for layer in (self.g, self.theta, self.phi))
        pairs = theta.transpose(1, 2) @ phi / phi.shape[2]
        return x + self.W((pairs @ g.transpose(1, 2)).transpose(1, 2).view_as(x[:, :1]))


def _activation(name: str) -> nn.Module:
    # In place where the gradient needs the result only.
    return nn.ReLU(inplace=True) if name == "relu" else nn.SiLU()


class _BasicBlock(nn.Module):
    def __init__(
        self, inputs: int, width: int, stride: int, ibn: bool, activation: str = "relu"
    ) -> None:
        super().__init__()
        self.conv1 = _conv(inputs, width, 3, stride)
        self.bn1 = IBN(width) if ibn else nn.BatchNorm2d(width)
        self.conv2, self.bn2 = _conv(width, width, 3), nn.BatchNorm2d(width)
        self.relu = _activation(activation)
        self.last = torch.relu if activation == "relu" else functional.silu
        self.downsample = _shortcut(inputs, width, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        return self.last(self.bn2(self.conv2(y)) + self.downsample(x))


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1; the stride is the 3x3's."""

    def __init__(
        self,
        inputs: int,
        width: int,
        stride: int,
        outputs: int,
        ibn: bool,
        activation: str = "relu",
    ) -> None:
        super().__init__()
        self.conv1 = _conv(inputs, width, 1)
        self.bn1 = IBN(width) if ibn else nn.BatchNorm2d(width)
        self.conv2, self.bn2 = _conv(width, width, 3, stride), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = _conv(width, outputs, 1), nn.BatchNorm2d(outputs)
        self.relu = _activation(activation)
        self.last = torch.relu if activation == "relu" else functional.silu
        self.downsample = _shortcut(inputs, outputs, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [B,C,H,W] -> [B,outputs,H',W']."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        return self.last(self.bn3(self.conv3(y)) + self.downsample(x))


class ResNet(nn.Module):
    """The ResNet of a configuration, with torchvision's names, written from the paper.

    Source: https://arxiv.org/abs/1512.03385.

    Args:
        config: its shape.
        classes: outputs of a layer `fc` that no feature passes, as in torchvision's files; 0 leaves
            it out.

    Returns:
        A module: normalised images [B,3,H,W] -> the last feature map, pooled, [B,D].
    """

    def __init__(self, config: ResNetConfig, classes: int = 0) -> None:
        super().__init__()
        if config.stem == "imagenet":
            self.conv1 = nn.Conv2d(3, config.stem_width, 7, 2, 3, bias=False)
            pool: nn.Module = stem_pool(config.pool)
        else:
            self.conv1 = nn.Conv2d(3, config.stem_width, 4, 4, bias=False)
            pool = nn.Identity()
        self.bn1 = nn.BatchNorm2d(config.stem_width)
        self.relu = _activation(config.activation) if config.stem_relu else nn.Identity()
        self.maxpool = pool
        self.stages = len(config.depths)
        strides = [1] + [2] * (self.stages - 2) + [config.last_stride] * (self.stages > 1)
        channels = config.stem_width
        for stage in range(self.stages):
            width, blocks = config.widths[stage], []
            outputs = width * config.growth
            ibn = config.ibn and stage < self.stages - 1
            for index in range(config.depths[stage]):
                stride = strides[stage] if index == 0 else 1
                blocks.append(
                    _BasicBlock(channels, width, stride, ibn, config.activation)
                    if config.block == "basic"
                    else Bottleneck(channels, width, stride, outputs, ibn, config.activation)
                )
                channels = outputs
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
            looks = sum(config.non_local[stage : stage + 1])
            behind = nn.ModuleList(_NonLocal(channels) for _ in range(looks))
            setattr(self, f"NL_{stage + 1}", behind)
        self.pool_layer = GlobalPool(config.pooling)
        if classes:
            self.fc = nn.Linear(channels, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Normalised images [B,3,H,W] -> features [B,D]."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        for stage in range(self.stages):
            blocks, looks = (getattr(self, f"{name}{stage + 1}") for name in ("layer", "NL_"))
            for index, block in enumerate(blocks):
                x = block(x)
                behind = index - (len(blocks) - len(looks))
                x = looks[behind](x) if behind >= 0 else x
        return self.pool_layer(x)
