"""The same ResNet in PyTorch, with our weights, attacked as PyTorch's users do and at its best."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxreid.models import ReID

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["as_torch", "torch_attack"]


def _tensor(values: Any) -> "torch.Tensor":
    import torch

    return torch.tensor(np.asarray(values))


def _normalized(conv: Any, norm: Any) -> "list[nn.Module]":
    from torch import nn

    h, _, inputs, outputs = conv.kernel[...].shape
    layer = nn.Conv2d(inputs, outputs, h, conv.stride, conv.padding, bias=False)
    layer.weight.data = _tensor(conv.kernel[...].transpose(3, 2, 0, 1)).contiguous()
    after = nn.BatchNorm2d(outputs)
    after.weight.data, after.bias.data = _tensor(norm.scale[...]), _tensor(norm.bias[...])
    after.running_mean.data, after.running_var.data = (
        _tensor(norm.mean[...]),
        _tensor(norm.var[...]),
    )
    return [layer, after]


def as_torch(model: ReID) -> "nn.Module":
    """Copies a network into PyTorch, head left out.

    Args:
        model: with a ResNet inside, and torchvision's padded pooling.

    Returns:
        A module in evaluation mode: images [B,3,H,W] in [0, 1] -> features [B,D].
    """
    import torch
    from torch import nn

    class Block(nn.Module):
        def __init__(self, block: Any) -> None:
            super().__init__()
            layers: list[nn.Module] = []
            for index in range(1, block.layers + 1):
                layers += _normalized(getattr(block, f"conv{index}"), getattr(block, f"bn{index}"))
                if index < block.layers:
                    layers.append(nn.ReLU(inplace=True))
            self.main = nn.Sequential(*layers)
            shortcut = _normalized(*block.downsample) if block.shortcut else []
            self.shortcut = nn.Sequential(*shortcut)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(self.main(x) + self.shortcut(x))

    class Normalize(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name in ("mean", "std"):
                values = getattr(model.config, name)
                self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x - self.mean) / self.std

    resnet: Any = model.backbone
    layers: list[nn.Module] = [Normalize(), *_normalized(resnet.conv1, resnet.bn1)]
    layers.append(nn.ReLU(inplace=True))
    if resnet.config.stem == "imagenet":
        layers.append(nn.MaxPool2d(3, 2, 1))
    for stage in range(len(resnet.config.depths)):
        layers += [Block(block) for block in getattr(resnet, f"layer{stage + 1}")]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()


def torch_attack(
    embed: "Callable[[torch.Tensor], torch.Tensor]",
    images: "torch.Tensor",
    start: "torch.Tensor",
    pull: "torch.Tensor | None",
    *,
    eps: float,
    step_size: float,
    steps: int,
) -> "torch.Tensor":
    """SMA, or FNA with the own feature as its pushing guide, as PyTorch's users write them.

    Args:
        embed: images [B,3,H,W] -> features [B,D].
        images: [B,3,H,W] in [0, 1].
        start: the same shape, where the attack sets out.
        pull: [B,D], what FNA approaches; None for SMA.
        eps: budget in pixel range.
        step_size: in pixel range.
        steps: number of steps.

    Returns:
        [B,3,H,W] in [0, 1].
    """
    import torch

    with torch.no_grad():
        push = embed(images)
    x = start
    for _ in range(steps):
        x = x.detach().requires_grad_(True)
        features = embed(x).float()
        objective = (features - push).square().sum()
        if pull is not None:
            objective = objective - (features - pull).square().sum()
        objective.backward()
        with torch.no_grad():
            x = x + step_size * x.grad.sign()
            x = torch.minimum(torch.maximum(x, images - eps), images + eps).clamp(0, 1)
    return x.detach()
