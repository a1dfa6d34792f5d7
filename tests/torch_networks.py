"""Other projects' networks in PyTorch, around the benchmarks' ResNet, to compare ours with."""

import torch
from torch import nn

from jaxreid.benchmark.torch_twins.layers import PixelNormalization
from jaxreid.benchmark.torch_twins.resnet import ResNet
from jaxreid.models import ResNetConfig


class Torchreid(ResNet):
    """torchreid's resnet50: the pooled map is the feature, `classifier` is for training."""

    def __init__(self, config, *, identities, features):
        super().__init__(config)
        self.classifier = nn.Linear(features, identities)


class FastReid(nn.Module):
    """fast-reid's baseline: backbone, BN neck, classifier without bias."""

    def __init__(self, backbone, features, identities):
        super().__init__()
        self.backbone = backbone
        self.heads = nn.Module()
        self.heads.bottleneck = nn.Sequential(nn.BatchNorm2d(features))
        self.heads.weight = nn.Parameter(torch.zeros(identities, features))

    def forward(self, x):
        return self.heads.bottleneck(self.backbone(x)[:, :, None, None])[:, :, 0, 0]


class AdvReid(nn.Module):
    """The two heads: BN neck and classifier, or BN, ReLU, linear."""

    def __init__(self, backbone, features, *, classes=0, dimensions=0):
        super().__init__()
        self.backbone = backbone
        if classes:
            backbone.fc, self.fc = nn.BatchNorm1d(features), nn.Linear(features, classes)
        else:
            last = nn.Linear(features, dimensions)
            backbone.fc = nn.Sequential(nn.BatchNorm1d(features), nn.ReLU(), last)

    def forward(self, x):
        return self.backbone.fc(self.backbone(x))


def small(**options):
    """A ResNet of two stages with one bottleneck each: features of 64 numbers."""
    return ResNetConfig(depths=(1, 1), widths=(8, 16), stem_width=8, **options)


_normalize = PixelNormalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def pixels(images):
    """[B,H,W,3] in [0, 1], NumPy -> normalised [B,3,H,W]."""
    return _normalize(torch.from_numpy(images).permute(0, 3, 1, 2))


def gradient_of_pixels(inputs):
    """Gradient to images [B,H,W,3] in [0, 1], from that to the normalised inputs."""
    return (inputs.grad / _normalize.std).permute(0, 2, 3, 1)
