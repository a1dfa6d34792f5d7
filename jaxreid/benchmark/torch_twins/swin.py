"""The same Swin transformer in PyTorch, with mmdetection's names and SOLIDER's control."""

import torch
from torch import nn
from torch.nn import functional

from jaxreid.models.swin import SwinConfig
from jaxreid.models.windows import window_index

__all__ = ["Swin"]

# Between tokens that only the roll made neighbours.
_APART = -100.0


class _Within(nn.Module):
    """Attention within windows, with a bias by relative position."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        rows = (2 * window - 1) ** 2
        self.relative_position_bias_table = nn.Parameter(torch.zeros(rows, heads))
        index = torch.from_numpy(window_index(window))
        self.register_buffer("index", index, persistent=False)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.heads = heads

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """X [B,windows,T,C], mask [windows,T,T] -> [B,windows,T,C]."""
        batch, count, tokens, width = x.shape
        size = width // self.heads
        qkv = self.qkv(x).view(batch * count, tokens, 3, self.heads, size).permute(2, 0, 3, 1, 4)
        bias = self.relative_position_bias_table[self.index].permute(2, 0, 1)[None]
        if mask is not None:
            bias = (bias + mask[:, None]).repeat(batch, 1, 1, 1)
        query, key, value = qkv.unbind()
        bias = bias.to(qkv.dtype)
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        return self.proj(mixed.transpose(1, 2).reshape(batch, count, tokens, width))


class _Attention(nn.Module):
    """Windows of a map, shifted or not."""

    def __init__(self, width: int, heads: int, window: int, *, shifted: bool) -> None:
        super().__init__()
        self.w_msa = _Within(width, heads, window)
        self.window, self.shift = window, window // 2 if shifted else 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows, columns, side = x.shape[1], x.shape[2], self.window
        x = functional.pad(x, (0, 0, 0, -columns % side, 0, -rows % side))
        batch, height, width, channels = x.shape
        mask = None
        if self.shift:
            x = x.roll((-self.shift, -self.shift), (1, 2))
            mask = self._mask(height, width, x)
        parts = (height // side, width // side)
        x = x.view(batch, parts[0], side, parts[1], side, channels).transpose(2, 3)
        x = self.w_msa(x.reshape(batch, parts[0] * parts[1], side * side, channels), mask)
        x = x.view(batch, *parts, side, side, channels).transpose(2, 3)
        x = x.reshape(batch, height, width, channels)
        if self.shift:
            x = x.roll((self.shift, self.shift), (1, 2))
        return x[:, :rows, :columns]

    def _mask(self, height: int, width: int, like: torch.Tensor) -> torch.Tensor:
        """[windows,T,T]: what keeps apart the up to nine regions that the roll put together."""
        side = self.window

        def regions(length: int) -> torch.Tensor:
            place = torch.arange(length, device=like.device)
            return (place >= length - side).long() + (place >= length - self.shift).long()

        image = 3 * regions(height)[:, None] + regions(width)
        parts = image.view(height // side, side, width // side, side).transpose(1, 2)
        parts = parts.reshape(-1, side * side)
        return _APART * (parts[:, :, None] != parts[:, None]).to(like.dtype)


class _FeedForward(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        first, last = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.layers = nn.Sequential(nn.Sequential(first, nn.GELU()), last)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


class _Block(nn.Module):
    def __init__(self, config: SwinConfig, stage: int, *, shifted: bool) -> None:
        super().__init__()
        width, heads = config.widths[stage], config.heads[stage]
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = _Attention(width, heads, config.window, shifted=shifted)
        self.ffn = _FeedForward(width, width * config.mlp_ratio)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.ffn(self.norm2(x))


class _Merging(nn.Module):
    """Four neighbours become one token; entry 4c + 2 dy + dx is channel c of (dy, dx)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * width)
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, height, width, channels = x.shape
        x = x.reshape(batch, height // 2, 2, width // 2, 2, channels).permute(0, 1, 3, 5, 2, 4)
        return self.reduction(self.norm(x.reshape(batch, height // 2, width // 2, 4 * channels)))


class _PatchEmbed(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.projection, self.norm = nn.Conv2d(3, width, 4, 4), nn.LayerNorm(width)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.norm(self.projection(images).permute(0, 2, 3, 1))


class _Stage(nn.Module):
    def __init__(self, config: SwinConfig, stage: int) -> None:
        super().__init__()
        places = range(config.depths[stage])
        self.blocks = nn.Sequential(
            *(_Block(config, stage, shifted=bool(place % 2)) for place in places)
        )
        last = stage == len(config.depths) - 1
        self.downsample = nn.Identity() if last else _Merging(config.widths[stage])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.downsample(self.blocks(x))


class Swin(nn.Module):
    """The Swin transformer of a configuration.

    Source: https://arxiv.org/abs/2103.14030; https://arxiv.org/abs/2303.17602 for the control.

    Args:
        config: its shape.

    Returns:
        A module: normalised images [B,3,H,W] -> the mean over the last, normalised map, [B,D].
    """

    def __init__(self, config: SwinConfig) -> None:
        super().__init__()
        self.patch_embed = _PatchEmbed(config.width)
        count = len(config.depths)
        self.stages = nn.ModuleList(_Stage(config, stage) for stage in range(count))
        self.last = f"norm{count - 1}"
        setattr(self, self.last, nn.LayerNorm(config.feature_size))
        self.semantic_weight = config.semantic_weight
        if config.semantic_weight is not None:
            self.semantic_embed_w, self.semantic_embed_b = (
                nn.ModuleList(nn.Linear(2, width) for width in config.widths[1:]) for _ in range(2)
            )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Normalised images [B,3,H,W] -> features [B,D]."""
        x = self.patch_embed(images)
        for place, stage in enumerate(self.stages):
            x = stage(x)
            if self.semantic_weight is not None and place < len(self.stages) - 1:
                weight = self.semantic_weight
                mix = torch.tensor([weight, 1 - weight], dtype=x.dtype, device=x.device)
                factor = functional.softplus(self.semantic_embed_w[place](mix))
                x = x * factor + self.semantic_embed_b[place](mix)
        return getattr(self, self.last)(x).mean((1, 2))
