"""The networks once more, written in PyTorch from the papers: what ours is compared with."""

import torch
from torch import nn
from torch.nn import functional


def conv(inputs, outputs, size, stride=1):
    return nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)


class Basic(nn.Module):
    growth = 1

    def __init__(self, inputs, width, stride):
        super().__init__()
        self.conv1, self.bn1 = conv(inputs, width, 3, stride), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = conv(width, width, 3), nn.BatchNorm2d(width)
        self.downsample = shortcut(inputs, width, stride)

    def forward(self, x):
        y = self.bn1(self.conv1(x)).relu()
        return (self.bn2(self.conv2(y)) + self.downsample(x)).relu()


class Bottleneck(nn.Module):
    growth = 4

    def __init__(self, inputs, width, stride):
        super().__init__()
        self.conv1, self.bn1 = conv(inputs, width, 1), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = conv(width, width, 3, stride), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = conv(width, 4 * width, 1), nn.BatchNorm2d(4 * width)
        self.downsample = shortcut(inputs, 4 * width, stride)

    def forward(self, x):
        y = self.bn1(self.conv1(x)).relu()
        y = self.bn2(self.conv2(y)).relu()
        return (self.bn3(self.conv3(y)) + self.downsample(x)).relu()


def shortcut(inputs, outputs, stride):
    if inputs == outputs and stride == 1:
        return nn.Sequential()
    return nn.Sequential(conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))


class ResNet(nn.Module):
    """Pooled features, or logits where `classes` is given (torchvision's fc)."""

    def __init__(
        self,
        block,
        depths,
        *,
        widths=(64, 128, 256, 512),
        stem=64,
        last_stride=2,
        ceil=False,
        stem_relu=True,
        classes=0,
    ):
        super().__init__()
        self.conv1 = nn.Conv2d(3, stem, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.relu = nn.ReLU() if stem_relu else nn.Identity()
        self.maxpool = nn.MaxPool2d(3, 2, ceil_mode=True) if ceil else nn.MaxPool2d(3, 2, 1)
        channels = stem
        strides = [1] + [2] * (len(depths) - 2) + [last_stride]
        for number, (depth, width, stride) in enumerate(
            zip(depths, widths, strides, strict=True), start=1
        ):
            blocks = []
            for index in range(depth):
                blocks.append(block(channels, width, stride if index == 0 else 1))
                channels = width * block.growth
            setattr(self, f"layer{number}", nn.Sequential(*blocks))
        self.stages = len(depths)
        if classes:
            self.fc = nn.Linear(channels, classes)

    def pooled(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for number in range(1, self.stages + 1):
            x = getattr(self, f"layer{number}")(x)
        return x.mean((2, 3))

    def forward(self, x):
        return self.pooled(x)


class Torchreid(ResNet):
    """torchreid's resnet50: the pooled map is the feature, `classifier` is for training."""

    def __init__(self, *args, identities, features, **options):
        super().__init__(*args, **options)
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
        return self.backbone.fc(self.backbone.pooled(x))


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


MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)


def pixels(images):
    """[B,H,W,3] in [0, 1], NumPy -> normalised [B,3,H,W]."""
    return (torch.from_numpy(images).permute(0, 3, 1, 2) - MEAN) / STD
