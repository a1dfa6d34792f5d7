"""Heads: from the pooled vectors of a backbone to what retrieval compares, and to logits."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from jaxreid.models.config import Head, ModelConfig
from jaxreid.models.layers import Conv
from jaxreid.models.normalization import BatchNorm, Statistics
from jaxreid.types import Array

__all__ = ["Outputs", "make_head"]


class Outputs(NamedTuple):
    """What a re-ID network says of a batch.

    Attributes:
        features: [B,D] float32, what retrieval compares.
        logits: [B,classes] float32, or None where the head has no classifier.
    """

    features: Array
    logits: Array | None


_MakeNorm = Callable[[int], BatchNorm]


class _Classification(nnx.Module):
    """BatchNorm of the pooled vector, and a linear layer on it."""

    def __init__(self, config: ModelConfig, norm: _MakeNorm, rngs: nnx.Rngs) -> None:
        size = config.backbone.feature_size
        self.neck = norm(size)
        self.classifier = _classifier(size, config, rngs)
        self.before = config.neck_feature == "before"

    def __call__(self, pooled: Array, statistics: Statistics) -> Outputs:
        neck = self.neck(pooled, statistics)
        return Outputs(pooled if self.before else neck, self.classifier(neck))


class _Parts(nnx.Module):
    """A neck and a classifier for each part of the feature; the logits are their mean."""

    def __init__(self, config: ModelConfig, norm: _MakeNorm, rngs: nnx.Rngs) -> None:
        sizes = [part.size for part in config.backbone.parts]
        self.necks = nnx.List([norm(size) for size in sizes])
        self.classifiers = nnx.List([_classifier(size, config, rngs) for size in sizes])
        self.before = config.neck_feature == "before"
        self.sizes, self.weights = sizes, [part.weight for part in config.backbone.parts]

    def __call__(self, pooled: Array, statistics: Statistics) -> Outputs:
        parts = _split(pooled, self.sizes)
        after = [neck(part, statistics) for neck, part in zip(self.necks, parts, strict=True)]
        logits = [one(part) for one, part in zip(self.classifiers, after, strict=True)]
        features = _weighted(parts if self.before else after, self.weights)
        return Outputs(features, jnp.stack(logits).mean(0))


class _Reduction(nnx.Module):
    """For each part a 1x1 convolution to `dimensions`, BatchNorm (the feature) and a classifier."""

    def __init__(self, config: ModelConfig, norm: _MakeNorm, rngs: nnx.Rngs) -> None:
        sizes, wanted = [part.size for part in config.backbone.parts], config.dimensions
        self.necks = nnx.List([norm(wanted) for _ in sizes])
        conv = partial(Conv, dtype=self.necks[0].dtype, rngs=rngs)
        self.reductions = nnx.List([conv(size, wanted, 1) for size in sizes])
        self.classifiers = nnx.List([_classifier(wanted, config, rngs) for _ in sizes])
        self.sizes, self.weights = sizes, [part.weight for part in config.backbone.parts]

    def __call__(self, pooled: Array, statistics: Statistics) -> Outputs:
        parts = _split(pooled, self.sizes)
        small = [
            reduce(part[:, None, None])[:, 0, 0]
            for reduce, part in zip(self.reductions, parts, strict=True)
        ]
        after = [neck(part, statistics) for neck, part in zip(self.necks, small, strict=True)]
        logits = [one(part) for one, part in zip(self.classifiers, after, strict=True)]
        return Outputs(_weighted(after, self.weights), jnp.stack(logits).mean(0))


class _Embedding(nnx.Module):
    """Linear layer, BatchNorm, ReLU: the feature; a linear layer on it, if there are classes."""

    def __init__(self, config: ModelConfig, norm: _MakeNorm, rngs: nnx.Rngs) -> None:
        size = config.backbone.feature_size
        # As torchreid draws them.
        init = jax.nn.initializers.normal(0.01)
        self.projection = nnx.Linear(size, config.dimensions, kernel_init=init, rngs=rngs)
        self.neck = norm(config.dimensions)
        self.classifier = (
            _classifier(config.dimensions, config, rngs, deviation=0.01)
            if config.has_logits
            else None
        )

    def __call__(self, pooled: Array, statistics: Statistics) -> Outputs:
        features = nnx.relu(self.neck(self.projection(pooled), statistics))
        return Outputs(features, None if self.classifier is None else self.classifier(features))


class _Triplet(nnx.Module):
    """BatchNorm, ReLU, linear layer: the feature."""

    def __init__(self, config: ModelConfig, norm: _MakeNorm, rngs: nnx.Rngs) -> None:
        size = config.backbone.feature_size
        self.neck = norm(size)
        init = jax.nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
        self.projection = nnx.Linear(size, config.dimensions, kernel_init=init, rngs=rngs)

    def __call__(self, pooled: Array, statistics: Statistics) -> Outputs:
        return Outputs(self.projection(nnx.relu(self.neck(pooled, statistics))), None)


class _Linear(nnx.Module):
    """The pooled vector, and a linear layer on it."""

    def __init__(self, config: ModelConfig, norm: _MakeNorm, rngs: nnx.Rngs) -> None:
        self.classifier = _classifier(config.backbone.feature_size, config, rngs)

    def __call__(self, pooled: Array, statistics: Statistics) -> Outputs:
        return Outputs(pooled, self.classifier(pooled))


class _NoHead(nnx.Module):
    """The pooled vector, its parts weighted."""

    def __init__(self, config: ModelConfig, norm: _MakeNorm, rngs: nnx.Rngs) -> None:
        self.sizes = [part.size for part in config.backbone.parts]
        self.weights = [part.weight for part in config.backbone.parts]

    def __call__(self, pooled: Array, statistics: Statistics) -> Outputs:
        return Outputs(_weighted(_split(pooled, self.sizes), self.weights), None)


def make_head(
    config: ModelConfig, *, dtype: jnp.dtype, axis_name: str | None, rngs: nnx.Rngs
) -> nnx.Module:
    """Builds the head of a network; `dtype` is that of its BatchNorm's results."""
    norm = partial(BatchNorm, axis_name=axis_name, dtype=dtype)
    kind: Callable[..., nnx.Module] = _HEADS[config.head]
    if config.head == "classification" and len(config.backbone.parts) > 1:
        kind = _Parts
    return kind(config, norm, rngs)


_HEADS: dict[Head, Callable[[ModelConfig, _MakeNorm, nnx.Rngs], nnx.Module]] = {
    "classification": _Classification,
    "reduction": _Reduction,
    "embedding": _Embedding,
    "triplet": _Triplet,
    "linear": _Linear,
    "none": _NoHead,
}


def _classifier(
    size: int, config: ModelConfig, rngs: nnx.Rngs, *, deviation: float = 0.001
) -> nnx.Linear:
    return nnx.Linear(
        size,
        config.classes or 0,
        use_bias=config.classifier_bias,
        kernel_init=jax.nn.initializers.normal(deviation),
        rngs=rngs,
    )


def _split(pooled: Array, sizes: list[int]) -> list[Array]:
    ends = [sum(sizes[: place + 1]) for place in range(len(sizes))]
    return [pooled[:, end - size : end] for size, end in zip(sizes, ends, strict=True)]


def _weighted(parts: list[Array], weights: list[float]) -> Array:
    return jnp.concatenate(
        [
            part if weight == 1 else weight * part
            for part, weight in zip(parts, weights, strict=True)
        ],
        axis=1,
    )
