"""Other projects' networks in PyTorch, around the benchmark's ResNet, to compare ours with."""

import torch
from torch import nn
from torch.nn import functional

from jaxreid.benchmark.torch_rival import PixelNormalization, ResNet
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


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.heads = heads

    def forward(self, x):
        batch, tokens, width = x.shape
        parts = self.qkv(x).view(batch, tokens, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        scores = query @ key.transpose(-1, -2) / (width // self.heads) ** 0.5
        mixed = (scores.softmax(-1) @ value).transpose(1, 2).reshape(batch, tokens, width)
        return self.proj(mixed)


class Layer(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads)
        self.mlp = nn.Module()
        self.mlp.fc1, self.mlp.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp.fc2(functional.gelu(self.mlp.fc1(self.norm2(x))))


class ViT(nn.Module):
    """DeiT with timm's names: the feature is the class token after the last norm."""

    def __init__(self, width, depth, heads, *, patch=16, image_size=(224, 224), classes=1000):
        super().__init__()
        tokens = (image_size[0] // patch) * (image_size[1] // patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, tokens + 1, width))
        self.patch_embed = nn.Module()
        self.patch_embed.proj = nn.Conv2d(3, width, patch, patch)
        self.blocks = nn.Sequential(*(Layer(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Linear(width, classes)

    def forward(self, x):
        x = self.patch_embed.proj(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1) + self.pos_embed
        return self.norm(self.blocks(x))[:, 0]


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
