"""The same MGN in PyTorch: three branches over one trunk of the ResNet's bottlenecks."""

import torch
from torch import nn

from jaxreid.benchmark.torch_twins.layers import GlobalPool
from jaxreid.benchmark.torch_twins.resnet import Bottleneck, stem_pool
from jaxreid.models.mgn import PARTS, MGNConfig

__all__ = ["MGN"]


class MGN(nn.Module):
    """The Multiple Granularity Network of a configuration, with fast-reid's branches.

    Source: https://arxiv.org/abs/1804.01438, figure 3.

    Args:
        config: its shape.

    Returns:
        A module: normalised images [B,3,H,W] -> three pooled maps, then two and three stripes of
        the second and third, [B,8D].
    """

    def __init__(self, config: MGNConfig) -> None:
        super().__init__()
        growth, (first, second, third, last) = config.expansion, config.widths

        def stage(inputs: int, width: int, depth: int, stride: int, ibn: bool) -> nn.Sequential:
            outputs = width * growth
            blocks = [Bottleneck(inputs, width, stride, outputs, ibn)]
            blocks += [Bottleneck(outputs, width, 1, outputs, ibn) for _ in range(depth - 1)]
            return nn.Sequential(*blocks)

        self.conv1 = nn.Conv2d(3, config.stem_width, 7, 2, 3, bias=False)
        self.bn1, self.relu = nn.BatchNorm2d(config.stem_width), nn.ReLU(inplace=True)
        self.maxpool = stem_pool(config.pool)
        self.layer1 = stage(config.stem_width, first, config.depths[0], 1, config.ibn)
        self.layer2 = stage(growth * first, second, config.depths[1], 2, config.ibn)
        self.layer3 = Bottleneck(growth * second, third, 2, growth * third, config.ibn)
        for branch in (1, 2, 3):
            more = stage(growth * third, third, config.depths[2] - 1, 1, config.ibn)
            depth = config.depths[3] if branch == 1 else 3
            whole = nn.Sequential(more, stage(growth * third, last, depth, 1, False))
            setattr(self, f"b{branch}", whole)
        self.pools = nn.ModuleList(GlobalPool(config.pooling) for _ in PARTS)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Normalised images [B,3,H,W] -> features [B,8D]."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        x = self.layer3(self.layer2(self.layer1(x)))
        maps = [self.b1(x), self.b2(x), self.b3(x)]
        for whole, stripes in ((maps[1], 2), (maps[2], 3)):
            parts = whole.chunk(stripes, 2)
            maps += [parts[stripe] for stripe in range(stripes)]
        pooled = [pool(part) for pool, part in zip(self.pools, maps, strict=True)]
        return torch.cat(pooled, 1)
