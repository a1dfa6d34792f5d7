"""The same OSNet in PyTorch, with torchreid's names, written from the papers."""

import torch
from torch import nn

from jaxreid.models import OSNetConfig

__all__ = ["OSNet"]


def _instance_norm(width: int) -> nn.Module:
    return nn.InstanceNorm2d(width, affine=True)


class _ConvLayer(nn.Module):
    """A convolution, a norm or none, ReLU or none."""

    def __init__(self, conv: nn.Conv2d, norm: nn.Module | None, *, rectified: bool = True) -> None:
        super().__init__()
        self.conv = conv
        if norm is not None:
            self.bn = norm
        self.normalized, self.rectified = norm is not None, rectified

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        x = self.bn(x) if self.normalized else x
        return torch.relu(x) if self.rectified else x


def _pointwise(inputs: int, outputs: int, *, rectified: bool = True) -> _ConvLayer:
    conv = nn.Conv2d(inputs, outputs, 1, bias=False)
    return _ConvLayer(conv, nn.BatchNorm2d(outputs), rectified=rectified)


class _LightConv(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
        self.bn = nn.BatchNorm2d(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.bn(self.conv2(self.conv1(x))))


class _Stream(nn.Module):
    def __init__(self, width: int, length: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(_LightConv(width) for _ in range(length)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


class _Gate(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Conv2d(width, width // 16, 1), nn.Conv2d(width // 16, width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        means = x.mean((2, 3), keepdim=True)
        return x * torch.sigmoid(self.fc2(torch.relu(self.fc1(means))))


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, norm: str, *, adaptive: bool) -> None:
        super().__init__()
        width = outputs // 4
        self.conv1 = _pointwise(inputs, width)
        self.adaptive = adaptive
        if adaptive:
            self.conv2 = nn.ModuleList([_Stream(width, length) for length in (1, 2, 3, 4)])
        else:
            self.conv2a = _LightConv(width)
            for letter, length in zip("bcd", (2, 3, 4), strict=True):
                layers = nn.Sequential(*(_LightConv(width) for _ in range(length)))
                setattr(self, f"conv2{letter}", layers)
        self.gate = _Gate(width)
        conv = nn.Conv2d(width, outputs, 1, bias=False)
        last = None if norm == "inside" else nn.BatchNorm2d(outputs)
        self.conv3 = _ConvLayer(conv, last, rectified=False)
        self.shortened = inputs != outputs
        if self.shortened:
            self.downsample = _pointwise(inputs, outputs, rectified=False)
        self.norm = norm
        if norm != "batch":
            self.IN = _instance_norm(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        streams = (
            self.conv2 if self.adaptive else [getattr(self, f"conv2{letter}") for letter in "abcd"]
        )
        start = self.conv1(x)
        total = torch.stack([self.gate(stream(start)) for stream in streams]).sum(0)
        y = self.conv3(total)
        if self.norm == "inside":
            y = self.IN(y)
        y = y + (self.downsample(x) if self.shortened else x)
        return torch.relu(self.IN(y) if self.norm == "after" else y)


class OSNet(nn.Module):
    """The OSNet of a configuration, with torchreid's names.

    Source: https://arxiv.org/abs/1905.00953, https://arxiv.org/abs/1910.06827.

    Args:
        config: its shape.
        embedding: numbers after the layer `fc`, the feature; 0 leaves it out.
        classes: outputs of a layer `classifier` that no feature passes; 0 leaves it out.

    Returns:
        A module: normalised images [B,3,H,W] -> features [B,D].
    """

    def __init__(self, config: OSNetConfig, *, embedding: int = 0, classes: int = 0) -> None:
        super().__init__()
        channels, *stages = config.widths
        by_image = config.stem_norm == "instance"
        self.conv1 = _ConvLayer(
            nn.Conv2d(3, channels, 7, 2, 3, bias=False),
            _instance_norm(channels) if by_image else nn.BatchNorm2d(channels),
        )
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        for number, (width, norms) in enumerate(zip(stages, config.blocks, strict=True), 2):
            blocks: list[nn.Module] = []
            for norm in norms:
                blocks.append(_Block(channels, width, norm, adaptive=config.adaptive))
                channels = width
            shrink = nn.Sequential(_pointwise(width, width), nn.AvgPool2d(2, 2))
            if number < 4 and config.adaptive:
                setattr(self, f"pool{number}", shrink)
            elif number < 4:
                blocks.append(shrink)
            setattr(self, f"conv{number}", nn.Sequential(*blocks))
        self.conv5 = _pointwise(channels, channels)
        self.pooled = not embedding
        if embedding:
            linear, norm = nn.Linear(channels, embedding), nn.BatchNorm1d(embedding)
            self.fc = nn.Sequential(linear, norm, nn.ReLU())
        if classes:
            self.classifier = nn.Linear(embedding or channels, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Normalised images [B,3,H,W] -> features [B,D]."""
        x = self.maxpool(self.conv1(images))
        for number in (2, 3, 4):
            x = getattr(self, f"conv{number}")(x)
            if hasattr(self, f"pool{number}"):
                x = getattr(self, f"pool{number}")(x)
        x = self.conv5(x).mean((2, 3))
        return x if self.pooled else self.fc(x)
