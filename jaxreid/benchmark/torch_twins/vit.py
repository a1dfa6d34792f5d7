"""The same vision transformers in PyTorch, with timm's and TransReID's names."""

import torch
from torch import nn
from torch.nn import functional

from jaxreid.benchmark.torch_twins.layers import IBN, attend, rows_in_turn
from jaxreid.models.jpm import JPMConfig
from jaxreid.models.transformer import BlockShape
from jaxreid.models.vit import ViTConfig

__all__ = ["JigsawTransformer", "ViT"]


class _Attention(nn.Module):
    def __init__(self, shape: BlockShape) -> None:
        super().__init__()
        self.qkv = nn.Linear(shape.width, 3 * shape.width, bias=shape.qkv_bias)
        self.proj = nn.Linear(shape.width, shape.width)
        self.heads, self.scale = shape.heads, shape.scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.proj(attend(self.qkv(x), self.heads, self.scale))


class _Mlp(nn.Module):
    def __init__(self, shape: BlockShape) -> None:
        super().__init__()
        self.fc1 = nn.Linear(shape.width, shape.hidden)
        self.fc2 = nn.Linear(shape.hidden, shape.width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc2(functional.gelu(self.fc1(x)))


class _Block(nn.Module):
    def __init__(self, shape: BlockShape) -> None:
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(shape.width, shape.epsilon), _Attention(shape)
        self.norm2, self.mlp = nn.LayerNorm(shape.width, shape.epsilon), _Mlp(shape)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class _PatchEmbed(nn.Module):
    """A convolution of patches, after the three of a convolutional stem or none."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        inputs, patch, step = 3, config.patch, config.step
        self.conv = nn.Sequential()
        if config.stem == "convolutional":
            inputs, patch = config.stem_width, patch // 2
            step = patch
            for place, norm in enumerate((IBN, IBN, nn.BatchNorm2d)):
                shape = (inputs, 3, 1, 1) if place else (inputs, 7, 2, 3)
                conv = nn.Conv2d(inputs if place else 3, *shape, bias=False)
                self.conv.extend([conv, norm(inputs), nn.ReLU(inplace=True)])
        self.proj = nn.Conv2d(inputs, config.width, patch, step)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.proj(self.conv(images)).flatten(2).transpose(1, 2)


class _Trunk(nn.Module):
    """From images to tokens, the class token first; cameras took the images in turn."""

    def __init__(self, config: ViTConfig, depth: int) -> None:
        super().__init__()
        (rows, columns), width = config.grid, config.width
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, rows * columns + 1, width))
        self.sie_factor = config.sie_factor
        if config.cameras:
            self.sie_embed = nn.Parameter(torch.zeros(config.cameras, 1, width))
        self.patch_embed = _PatchEmbed(config)
        self.blocks = nn.Sequential(*(_Block(config.block) for _ in range(depth)))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.patch_embed(images)
        x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], 1) + self.pos_embed
        if self.sie_factor is not None:
            x = x + self.sie_factor * rows_in_turn(self.sie_embed, x)
        return self.blocks(x)


class ViT(_Trunk):
    """The vision transformer of a configuration, with timm's names.

    Source: https://arxiv.org/abs/2012.12877, https://arxiv.org/abs/2102.04378 (patches that
    overlap), https://arxiv.org/abs/2111.12084 (convolutional stem).

    Args:
        config: its shape; where it has camera embeddings, image i is of camera i mod cameras.
        classes: outputs of a layer `head` that no feature passes, as in timm's files; 0 leaves it
            out.

    Returns:
        A module: normalised images [B,3,H,W] -> the class token after the last norm, [B,D].
    """

    def __init__(self, config: ViTConfig, classes: int = 0) -> None:
        super().__init__(config, config.depth)
        self.norm = nn.LayerNorm(config.width, config.epsilon)
        if classes:
            self.head = nn.Linear(config.width, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Normalised images [B,3,H,W] -> features [B,D]."""
        return self.norm(super().forward(images)[:, 0])


def _jigsaw(count: int, parts: int) -> torch.Tensor:
    """Which patches the parts have: moved on by 4, then those of the two halves in turns."""
    order = torch.arange(count).roll(-4)
    if count % 2:
        order = torch.cat([order, order[-2:-1]])
    return order.view(2, -1).T.flatten()[: count // parts * parts]


class JigsawTransformer(nn.Module):
    """TransReID with its jigsaw patch module, with its authors' names.

    Source: https://arxiv.org/abs/2102.04378, section 3.2.

    Args:
        config: its shape; where it has camera embeddings, image i is of camera i mod cameras.

    Returns:
        A module: normalised images [B,3,H,W] -> the global class token and, each times its weight,
        the local ones, [B,5D].
    """

    def __init__(self, config: JPMConfig) -> None:
        super().__init__()
        self.base = _Trunk(config, config.depth - 1)
        self.b1, self.b2 = (
            nn.Sequential(_Block(config.block), nn.LayerNorm(config.width, config.epsilon))
            for _ in range(2)
        )
        _, *local = config.parts
        self.parts, self.weight = len(local), local[0].weight
        rows, columns = config.grid
        self.register_buffer("order", _jigsaw(rows * columns, self.parts), persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Normalised images [B,3,H,W] -> features [B,5D]."""
        tokens = self.base(images)
        (block, norm), (local_block, local_norm) = self.b1, self.b2
        whole = norm(block(tokens)[:, 0])
        batch, _, width = tokens.shape
        parts = tokens[:, 1:][:, self.order].view(batch, self.parts, -1, width)
        heads = tokens[:, None, :1].expand(-1, self.parts, -1, -1)
        local = local_block(torch.cat([heads, parts], 2).flatten(0, 1))[:, 0]
        return torch.cat([whole, self.weight * local_norm(local).view(batch, -1)], 1)
