"""The layers of a transformer, named as timm names them: attention, MLP, block."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from jaxreid.models.cpu import attention as cpu
from jaxreid.models.linear import linear
from jaxreid.models.standardization import LayerNorm
from jaxreid.precision import at_least_float32
from jaxreid.types import Array

__all__ = [
    "Attention",
    "Block",
    "BlockShape",
    "Mlp",
    "attend",
    "attend_in_groups",
    "gelu",
    "self_attention",
]


@dataclass(frozen=True)
class BlockShape:
    """What all blocks of a transformer share.

    Attributes:
        width: channels of a token.
        heads: of the attention; divides width.
        hidden: channels inside the MLP.
        qkv_bias: whether queries, keys and values have a bias.
        scale: of the products of queries and keys.
        epsilon: of the layer normalisations.
    """

    width: int
    heads: int
    hidden: int
    qkv_bias: bool
    scale: float
    epsilon: float


def attend(query: Array, key: Array, value: Array, *, scale: float) -> Array:
    """Attention of every query to all keys: softmax(scale q k^T) v of each image and head.

    Vaswani et al., Attention Is All You Need, section 3.2.1, https://arxiv.org/abs/1706.03762. The
    softmax is computed in float32 at least.

    Args:
        query: [B,T,heads,D].
        key: [B,S,heads,D].
        value: [B,S,heads,D].
        scale: of the products, usually D^-0.5.

    Returns:
        [B,T,heads,D], of the type of value.
    """
    parts = (part[:, None] for part in (query, key, value))
    return attend_in_groups(*parts, scale=scale, bias=None)[:, 0]


def attend_in_groups(
    query: Array,
    key: Array,
    value: Array,
    *,
    scale: float,
    bias: Array | None,
    heads_first: bool = False,
) -> Array:
    """Attention within groups of tokens (windows, say): softmax(scale q k^T + bias) v.

    Args:
        query: [B,G,T,heads,D], or [B,G,heads,T,D] if heads come first.
        key: [B,G,S,heads,D], or [B,G,heads,S,D].
        value: as key.
        scale: of the products.
        bias: [G or 1,heads,T,S], float32 or wider, or None for none.
        heads_first: whether heads come before tokens.

    Returns:
        As query, of the type of value.
    """
    plain = partial(_attend, scale=scale, heads_first=heads_first)
    if jnp.finfo(query.dtype).bits < 32:
        return plain(query, key, value, bias)
    blocks = partial(cpu.attend_in_blocks, scale=scale, heads_first=heads_first)
    return lax.platform_dependent(query, key, value, bias, cpu=blocks, default=plain)


def _attend(
    query: Array,
    key: Array,
    value: Array,
    bias: Array | None,
    *,
    scale: float,
    heads_first: bool = False,
) -> Array:
    wide = jnp.promote_types(query.dtype, jnp.float32)
    queries, keys = ("bghtd", "bghsd") if heads_first else ("bgthd", "bgshd")
    scores = jnp.einsum(f"{queries},{keys}->bghts", query, key, preferred_element_type=wide)
    scores = scale * scores if bias is None else scale * scores + bias
    weights = jax.nn.softmax(scores, axis=-1).astype(value.dtype)
    return jnp.einsum(f"bghts,{keys}->{queries}", weights, value)


def self_attention(
    x: Array,
    projected: Callable[[Array, slice], Array],
    heads: int,
    scale: float,
    outputs: int | None,
) -> Array:
    """Attention of tokens to each other.

    Args:
        x: [B,T,D].
        projected: (tokens [B,t,D], a slice of the 3D numbers of each, which are its query, key and
            value) -> those numbers [B,t,...].
        heads: divides D.
        scale: of the products of queries and keys.
        outputs: how many of the first tokens are answered; None for all.

    Returns:
        [B,T,D] or [B,outputs,D], heads side by side.
    """
    B, T, D = x.shape
    size = D // heads
    if outputs is None:
        query, key, value = jnp.moveaxis(
            projected(x, slice(None)).reshape(B, T, 3, heads, size), 2, 0
        )
    else:
        query = projected(x[:, :outputs], slice(D)).reshape(B, outputs, heads, size)
        found = projected(x, slice(D, None)).reshape(B, T, 2, heads, size)
        key, value = jnp.moveaxis(found, 2, 0)
    return attend(query, key, value, scale=scale).reshape(B, -1, D)


def gelu(x: Array) -> Array:
    """The exact GELU, x Phi(x) = x (1 + erf(x / sqrt 2)) / 2, in float32 at least.

    Hendrycks and Gimpel, Gaussian Error Linear Units, https://arxiv.org/abs/1606.08415. Written by
    erf, as PyTorch does: by erfc, as in `jax.nn.gelu`, it takes ten times as long on a CPU.
    """
    wide = at_least_float32(x)
    return (wide * (0.5 + 0.5 * lax.erf(wide * math.sqrt(0.5)))).astype(x.dtype)


class Attention(nnx.Module):
    """Self-attention of heads, with one linear layer for queries, keys and values.

    Source: Dosovitskiy et al., An Image is Worth 16x16 Words, appendix A,
    https://arxiv.org/abs/2010.11929.

    Args:
        shape: of the block.
        dtype: of the computation; parameters are float32.
        rngs: source of the initial parameters.

    Returns:
        A module: tokens [B,T,D] -> [B,T,D].
    """

    def __init__(self, shape: BlockShape, *, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        width = shape.width
        self.qkv = linear(width, 3 * width, bias=shape.qkv_bias, dtype=dtype, rngs=rngs)
        self.proj = linear(width, width, dtype=dtype, rngs=rngs)
        self.heads, self.scale = shape.heads, shape.scale

    def __call__(self, x: Array, outputs: int | None = None) -> Array:
        """Tokens [B,T,D] -> [B,T,D], or of the first ones, which attend to all, [B,outputs,D]."""
        return self.proj(self_attention(x, self.qkv, self.heads, self.scale, outputs))


class Mlp(nnx.Module):
    """Two linear layers with a GELU between them.

    Source: appendix A of https://arxiv.org/abs/2010.11929.

    Args:
        shape: of the block.
        dtype: of the computation; parameters are float32.
        rngs: source of the initial parameters.

    Returns:
        A module: tokens [B,T,D] -> [B,T,D].
    """

    def __init__(self, shape: BlockShape, *, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        self.fc1 = linear(shape.width, shape.hidden, dtype=dtype, rngs=rngs)
        self.fc2 = linear(shape.hidden, shape.width, dtype=dtype, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        """Tokens [B,T,D] -> [B,T,D]."""
        return self.fc2(gelu(self.fc1(x)))


class Block(nnx.Module):
    """Attention, then an MLP, each on normalised tokens and added to what came in.

    Source: figure 1 of https://arxiv.org/abs/2010.11929.

    Args:
        shape: of the block.
        dtype: of the computation; parameters are float32.
        rngs: source of the initial parameters.

    Returns:
        A module: tokens [B,T,D] -> [B,T,D].
    """

    def __init__(self, shape: BlockShape, *, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        self.norm1 = LayerNorm(shape.width, epsilon=shape.epsilon, dtype=dtype, rngs=rngs)
        self.attn = Attention(shape, dtype=dtype, rngs=rngs)
        self.norm2 = LayerNorm(shape.width, epsilon=shape.epsilon, dtype=dtype, rngs=rngs)
        self.mlp = Mlp(shape, dtype=dtype, rngs=rngs)

    def __call__(self, x: Array, outputs: int | None = None) -> Array:
        """Tokens [B,T,D] -> [B,T,D], or of the first ones alone, [B,outputs,D]."""
        x = x[:, :outputs] + self.attn(self.norm1(x), outputs)
        return x + self.mlp(self.norm2(x))
