"""The same ResNet in PyTorch, with our weights, attacked as PyTorch's users do and at its best.

Imported only where PyTorch is installed.
"""

from collections.abc import Callable

import torch
from torch import nn

from jaxreid.models import ReID, ResNetConfig, weights

__all__ = ["PixelNormalization", "ResNet", "as_torch", "torch_attack"]


def _conv(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    if inputs == outputs and stride == 1:
        return nn.Sequential()
    return nn.Sequential(_conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))


class _IBN(nn.Module):
    """IBN-a: instance norm of the first half of the channels, batch norm of the others."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.half = channels // 2
        self.IN = nn.InstanceNorm2d(self.half, affine=True)
        self.BN = nn.BatchNorm2d(channels - self.half)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, second = x.split([self.half, x.shape[1] - self.half], 1)
        return torch.cat([self.IN(first), self.BN(second)], 1)


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


class _Pool(nn.Module):
    """The mean over positions, or the generalised mean of https://arxiv.org/abs/1711.02512."""

    def __init__(self, pooling: str) -> None:
        super().__init__()
        self.average = pooling == "average"
        self.p: nn.Parameter | float = 3.0
        if pooling == "gem-learnt":
            self.p = nn.Parameter(torch.full((1,), 3.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.average:
            return x.mean((2, 3))
        return x.clamp(min=1e-6).pow(self.p).mean((2, 3)).pow(1 / self.p)


class _BasicBlock(nn.Module):
    def __init__(self, inputs: int, width: int, stride: int, ibn: bool) -> None:
        super().__init__()
        self.conv1 = _conv(inputs, width, 3, stride)
        self.bn1 = _IBN(width) if ibn else nn.BatchNorm2d(width)
        self.conv2, self.bn2 = _conv(width, width, 3), nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(inputs, width, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + self.downsample(x))


class _Bottleneck(nn.Module):
    def __init__(self, inputs: int, width: int, stride: int, outputs: int, ibn: bool) -> None:
        super().__init__()
        self.conv1 = _conv(inputs, width, 1)
        self.bn1 = _IBN(width) if ibn else nn.BatchNorm2d(width)
        self.conv2, self.bn2 = _conv(width, width, 3, stride), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = _conv(width, outputs, 1), nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(inputs, outputs, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        return torch.relu(self.bn3(self.conv3(y)) + self.downsample(x))


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
            padded = config.pool == "padded"
            pool = nn.MaxPool2d(3, 2, 1) if padded else nn.MaxPool2d(3, 2, ceil_mode=True)
        else:
            self.conv1 = nn.Conv2d(3, config.stem_width, 4, 4, bias=False)
            pool = nn.Identity()
        self.bn1 = nn.BatchNorm2d(config.stem_width)
        self.relu = nn.ReLU(inplace=True) if config.stem_relu else nn.Identity()
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
                    _BasicBlock(channels, width, stride, ibn)
                    if config.block == "basic"
                    else _Bottleneck(channels, width, stride, outputs, ibn)
                )
                channels = outputs
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
            looks = sum(config.non_local[stage : stage + 1])
            behind = nn.ModuleList(_NonLocal(channels) for _ in range(looks))
            setattr(self, f"NL_{stage + 1}", behind)
        self.pool_layer = _Pool(config.pooling)
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


class PixelNormalization(nn.Module):
    """(images - mean) / std per channel; images [B,3,H,W] in [0, 1]."""

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images in [0, 1] -> images as networks take them, both [B,3,H,W]."""
        return (images - self.mean) / self.std


def as_torch(model: ReID) -> nn.Module:
    """Copies a ResNet into PyTorch, head left out: images [B,3,H,W] in [0, 1] -> features [B,D]."""
    backbone = model.config.backbone
    assert isinstance(backbone, ResNetConfig)
    twin = ResNet(backbone)
    tensors = weights.to_state_dict(model, layout="adv-reid")
    names = {f"backbone.{name}": name for name in twin.state_dict()}
    twin.load_state_dict({ours: torch.from_numpy(tensors[name]) for name, ours in names.items()})
    normalize = PixelNormalization(model.config.mean, model.config.std)
    return nn.Sequential(normalize, twin).eval()


def torch_attack(
    embed: Callable[[torch.Tensor], torch.Tensor],
    images: torch.Tensor,
    start: torch.Tensor,
    pull: torch.Tensor | None,
    *,
    eps: float,
    step_size: float,
    steps: int,
) -> torch.Tensor:
    """SMA, or FNA or NNA with the own feature as its pushing guide, as PyTorch's users write them.

    Args:
        embed: images [B,3,H,W] -> features [B,D].
        images: [B,3,H,W] in [0, 1], like the result.
        start: the same shape, where the attack sets out.
        pull: [B,N,D], whose mean squared distance FNA (N = 1) and NNA descend; None for SMA.
        eps: budget in pixel range.
        step_size: in pixel range.
        steps: number of steps.
    """
    with torch.no_grad():
        push = embed(images)
    x = start
    for _ in range(steps):
        x = x.detach().requires_grad_(True)
        features = embed(x).float()
        objective = (features - push).square().sum()
        if pull is not None:
            objective = objective - (features[:, None] - pull).square().mean(1).sum()
        objective.backward()
        with torch.no_grad():
            x = x + step_size * x.grad.sign()
            x = torch.minimum(torch.maximum(x, images - eps), images + eps).clamp(0, 1)
    return x.detach()
