"""From a network and its weights to the pure function that attacks and retrieval work on."""

from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax import lax

from jaxreid.errors import InputError
from jaxreid.models.normalization import Statistics
from jaxreid.types import Array, Embed

__all__ = ["embedding"]


def embedding(
    graph: Any,
    *states: Any,
    batch_norm: Statistics = "running",
    normalize: bool = False,
    flip: bool = False,
) -> Embed:
    """Turns a network into a pure function from images to features.

    embed(x) = f(x), or (f(x) + f(mirror(x))) / 2 with flip, then divided by its L2 norm with
    normalize. Nothing is ever updated: batch statistics are used and forgotten.

    Traced code (jit, pmap, a training step) should call `nnx.split(model, nnx.Param, ...)` outside
    and give graph and states here, inside: they are then arguments of the compiled function, not
    constants in it.

    Args:
        graph: a network (`nnx.Module`), or the graph that `nnx.split` gave of it; the network
            takes images and `batch_norm` and returns Outputs, as ReID does.
        *states: the states of that split, in any order; none with a network.
        batch_norm: "running" uses the stored statistics, and each feature depends on its own image
            only; "batch" those of the batch (mirror images included with flip).
        normalize: whether features get unit length, for models compared by cosine.
        flip: whether features are averaged over the image and its mirror image.

    Returns:
        Embed: images [B,H,W,3] floating point in [0, 1] -> features [B,D] float32.

    Raises:
        InputError: states were given with a network, or missing with a graph.
    """
    if isinstance(graph, nnx.Module) == bool(states):
        raise InputError("expected embedding(model) or embedding(graph, *states) of nnx.split")
    if not states:
        graph, *states = nnx.split(graph)  # type: ignore[assignment]

    def embed(images: Array) -> Array:
        # A copy: BatchNorm writes its statistics into this one, which nobody sees.
        model = nnx.merge(graph, *states, copy=True)
        x = jnp.concatenate([images, images[:, :, ::-1]]) if flip else images
        features = model(x, batch_norm=batch_norm).features
        if flip:
            features = 0.5 * (features[: len(images)] + features[len(images) :])
        if normalize:
            # The floor keeps the gradient finite at a zero feature.
            square = jnp.sum(jnp.square(features), axis=-1, keepdims=True)
            features = features * lax.rsqrt(jnp.maximum(square, 1e-24))
        return features

    return embed
