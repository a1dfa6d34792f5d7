"""The same networks of CLIP in PyTorch, as CLIP-ReID has them, with CLIP's names."""

import torch
from torch import nn
from torch.nn import functional

from jaxreid.benchmark.torch_twins.layers import attend, rows_in_turn
from jaxreid.models.clip_resnet import CLIPResNetConfig
from jaxreid.models.clip_vit import CLIPViTConfig

__all__ = ["CLIPResNet", "CLIPViT"]


class _Attention(nn.Module):
    """Self-attention with the names of nn.MultiheadAttention, whose own forward is slower."""

    def __init__(self, config: CLIPViTConfig) -> None:
        super().__init__()
        width = config.width
        self.in_proj_weight = nn.Parameter(torch.zeros(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        self.heads = config.heads

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scale = (x.shape[2] // self.heads) ** -0.5
        qkv = functional.linear(x, self.in_proj_weight, self.in_proj_bias)
        return self.out_proj(attend(qkv, self.heads, scale))


class _Mlp(nn.Module):
    def __init__(self, config: CLIPViTConfig) -> None:
        super().__init__()
        hidden = config.width * config.mlp_ratio
        self.c_fc, self.c_proj = nn.Linear(config.width, hidden), nn.Linear(hidden, config.width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.c_fc(x)
        # CLIP's approximation of the GELU.
        return self.c_proj(x * torch.sigmoid(1.702 * x))


class _Block(nn.Module):
    def __init__(self, config: CLIPViTConfig) -> None:
        super().__init__()
        self.ln_1, self.attn = nn.LayerNorm(config.width), _Attention(config)
        self.ln_2, self.mlp = nn.LayerNorm(config.width), _Mlp(config)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class _Transformer(nn.Module):
    def __init__(self, config: CLIPViTConfig) -> None:
        super().__init__()
        self.resblocks = nn.Sequential(*(_Block(config) for _ in range(config.depth)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.resblocks(x)


class CLIPViT(nn.Module):
    """CLIP's vision transformer of a configuration.

    Source: https://arxiv.org/abs/2103.00020, https://arxiv.org/abs/2211.13977.

    Args:
        config: its shape; where it has camera embeddings, image i is of camera i mod cameras.

    Returns:
        A module: normalised images [B,3,H,W] -> the class token and its projection, [B,D].
    """

    def __init__(self, config: CLIPViTConfig) -> None:
        super().__init__()
        width, (rows, columns) = config.width, config.grid
        self.conv1 = nn.Conv2d(3, width, config.patch, config.stride, bias=False)
        self.class_embedding = nn.Parameter(torch.zeros(width))
        self.positional_embedding = nn.Parameter(torch.zeros(rows * columns + 1, width))
        self.cameras, self.sie_factor = config.cameras, config.sie_factor
        if config.cameras:
            self.cv_embed = nn.Parameter(torch.zeros(config.cameras, width))
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        self.transformer = _Transformer(config)
        self.proj = nn.Parameter(torch.zeros(width, config.outputs))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Normalised images [B,3,H,W] -> features [B,D]."""
        x = self.conv1(images).flatten(2).transpose(1, 2)
        token = self.class_embedding.expand(x.shape[0], 1, -1)
        if self.cameras:
            token = token + self.sie_factor * rows_in_turn(self.cv_embed, x)[:, None]
        x = self.ln_pre(torch.cat([token, x], 1) + self.positional_embedding)
        token = self.ln_post(self.transformer(x)[:, 0])
        return torch.cat([token, token @ self.proj], 1)


class _Bottleneck(nn.Module):
    """A bottleneck whose strides are average pools before a 1x1 convolution."""

    def __init__(self, inputs: int, width: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.pool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.downsample = nn.Sequential()
        if stride > 1 or inputs != outputs:
            conv = nn.Conv2d(inputs, outputs, 1, bias=False)
            self.downsample.extend([conv, nn.BatchNorm2d(outputs)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.pool(self.relu(self.bn2(self.conv2(y))))
        return torch.relu(self.bn3(self.conv3(y)) + self.downsample(self.pool(x)))


class _AttentionPool(nn.Module):
    """One attention whose query is the mean over positions, which is the first key, too."""

    def __init__(self, config: CLIPResNetConfig) -> None:
        super().__init__()
        width, (rows, columns) = config.channels, config.grid
        self.positional_embedding = nn.Parameter(torch.zeros(rows * columns + 1, width))
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(width, width) for _ in range(3))
        self.c_proj = nn.Linear(width, config.outputs)
        self.heads = config.heads

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        tokens = torch.cat([tokens.mean(1, keepdim=True), tokens], 1) + self.positional_embedding
        batch, _, width = tokens.shape
        parts = (self.q_proj(tokens[:, :1]), self.k_proj(tokens), self.v_proj(tokens))
        query, key, value = (
            part.view(batch, -1, self.heads, width // self.heads).transpose(1, 2) for part in parts
        )
        mixed = functional.scaled_dot_product_attention(query, key, value)
        return self.c_proj(mixed.reshape(batch, width))


class CLIPResNet(nn.Module):
    """CLIP's ResNet of a configuration, with a last stage of stride 1.

    Source: https://arxiv.org/abs/2103.00020, https://arxiv.org/abs/2211.13977.

    Args:
        config: its shape.

    Returns:
        A module: normalised images [B,3,H,W] -> the mean over the last map and its attention pool,
        [B,D].
    """

    def __init__(self, config: CLIPResNetConfig) -> None:
        super().__init__()
        half = config.width // 2
        self.conv1 = nn.Conv2d(3, half, 3, 2, 1, bias=False)
        self.conv2 = nn.Conv2d(half, half, 3, padding=1, bias=False)
        self.conv3 = nn.Conv2d(half, config.width, 3, padding=1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(half), nn.BatchNorm2d(half)
        self.bn3 = nn.BatchNorm2d(config.width)
        self.relu, self.pool = nn.ReLU(inplace=True), nn.AvgPool2d(2)
        channels = config.width
        for stage, depth in enumerate(config.depths):
            width, blocks = config.width << stage, []
            for place in range(depth):
                stride = 2 if place == 0 and stage in (1, 2) else 1
                blocks.append(_Bottleneck(channels, width, 4 * width, stride))
                channels = 4 * width
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.attnpool = _AttentionPool(config)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Normalised images [B,3,H,W] -> features [B,D]."""
        x = self.relu(self.bn1(self.conv1(images)))
        x = self.relu(self.bn2(self.conv2(x)))
        x = self.pool(self.relu(self.bn3(self.conv3(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return torch.cat([x.mean((2, 3)), self.attnpool(x)], 1)
