"""What several families of PyTorch's networks are made of."""

import torch
from torch import nn
from torch.nn import functional

__all__ = ["IBN", "GlobalPool", "PixelNormalization", "Projection", "attend", "rows_in_turn"]


class PixelNormalization(nn.Module):
    """(images - mean) / std per channel; images [B,3,H,W] in [0, 1]."""

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images in [0, 1] -> images as networks take them, both [B,3,H,W]."""
        return (images - self.mean) / self.std


class IBN(nn.Module):
    """IBN-a: instance norm of the first half of the channels, batch norm of the others."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.half = channels // 2
        self.IN = nn.InstanceNorm2d(self.half, affine=True)
        self.BN = nn.BatchNorm2d(channels - self.half)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [B,C,H,W] -> the same shape."""
        first, second = x.split([self.half, x.shape[1] - self.half], 1)
        return torch.cat([self.IN(first), self.BN(second)], 1)


class GlobalPool(nn.Module):
    """The mean over positions, or the generalised mean of https://arxiv.org/abs/1711.02512."""

    def __init__(self, pooling: str) -> None:
        super().__init__()
        self.average = pooling == "average"
        self.p: nn.Parameter | float = 3.0
        if pooling == "gem-learnt":
            self.p = nn.Parameter(torch.full((1,), 3.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [B,C,H,W] -> [B,C]."""
        if self.average:
            return x.mean((2, 3))
        return x.clamp(min=1e-6).pow(self.p).mean((2, 3)).pow(1 / self.p)


class Projection(nn.Module):
    """The layer that torchreid has behind pooling: linear, batch norm, ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.projection, self.neck = nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs)

    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        """[B,C] -> [B,D]."""
        return torch.relu(self.neck(self.projection(pooled)))


def rows_in_turn(table: torch.Tensor, batch: torch.Tensor) -> torch.Tensor:
    """Rows of a table [N,...] for the images of a batch [B,...], in turn: [B,...]."""
    # `torch.arange` of a length is nothing that torch.fx can trace.
    place = batch.new_ones(batch.shape[0], dtype=torch.long).cumsum(0) - 1
    return table[place % table.shape[0]]


def attend(qkv: torch.Tensor, heads: int, scale: float) -> torch.Tensor:
    """Self-attention by PyTorch's fused kernel.

    Args:
        qkv: [B,T,3D], queries, keys and values side by side, each head by head.
        heads: divides D.
        scale: of the products of queries and keys.

    Returns:
        [B,T,D], heads side by side.
    """
    batch, tokens, width = qkv.shape
    parts = qkv.view(batch, tokens, 3, heads, width // 3 // heads).permute(2, 0, 3, 1, 4)
    query, key, value = parts.unbind()
    mixed = functional.scaled_dot_product_attention(query, key, value, scale=scale)
    return mixed.transpose(1, 2).reshape(batch, tokens, width // 3)
