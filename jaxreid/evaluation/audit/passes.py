"""Checks of one pass: is it repeatable, does it see batch-mates, is the gradient that of it?"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxreid.augmentation import to_float
from jaxreid.checks import unchecked
from jaxreid.evaluation.audit.flags import judged
from jaxreid.evaluation.audit.sample import Sample
from jaxreid.evaluation.embeds import Shots, features_of_rows, features_of_shots
from jaxreid.random import example_keys, numbered
from jaxreid.records import Flag
from jaxreid.types import Array, ArrayLike, Embed

__all__ = ["backward_flags", "forward_flags"]

_REPEATS = 4
# Of what is compared, in pixel range; rounding of float32 is lost in the change of a quarter grey
# level, kinks of ReLU count little at one, and at four a straight-through derivative is right.
_STEPS = (0.25 / 255, 1 / 255, 4 / 255)
_DIRECTIONS = 8
# Largest part of a change that the gradient may miss. Sums over directions of a rectified network
# differ by a tenth to a fifth; where half of the features are cut off, it is seven tenths.
_MISSED = 0.5
_LARGEST = 1e6


def forward_flags(sample: Sample) -> list[Flag]:
    """Repeats the forward pass, then exchanges batch-mates; two flags.

    The distance between two features of the same image is divided by the median distance between
    two images of the sample. The program runs several times, and once more after it was traced
    anew: what is drawn while tracing is another number then.

    Args:
        sample: of at least one query.

    Returns:
        "randomised" and "batch-mates".
    """
    shots = Shots(sample.images, sample.cameras)
    first = sample.over(features_of_shots, sample.embed, shots)
    typical = _median_distance(first)
    again = [sample.over(features_of_shots, sample.embed, shots) for _ in range(_REPEATS)]
    again.append(sample.over(_traced_anew(), sample.embed, shots))
    repeated = max(_furthest(first, other, typical) for other in again)
    mates = 0.0
    for kept in (0, 1):
        # Every second image is replaced; the program, and what it rounds, stays the same.
        own = np.arange(len(first)) % 2 == kept
        mixed = np.where(own[:, None, None, None], sample.images, 255 - sample.images // 2)
        found = sample.over(features_of_shots, sample.embed, shots._replace(images=mixed))
        if own.any():
            mates = max(mates, _furthest(first[own], found[own], typical))
    return [judged("randomised", repeated), judged("batch-mates", mates)]


def _traced_anew() -> Callable[[Embed, Shots], Array]:
    """The forward pass as a function that has not been compiled yet."""

    def run(embed: Embed, shots: Shots) -> Array:
        return features_of_shots(embed, shots)

    return run


def _median_distance(features: np.ndarray) -> float:
    pairs = np.triu_indices(len(features), 1)
    apart = np.linalg.norm(features[:, None] - features[None], axis=-1)[pairs]
    return float(np.median(apart)) if len(apart) else float(np.linalg.norm(features))


def _furthest(first: np.ndarray, other: np.ndarray, typical: float) -> float:
    """Largest distance of two features of the same image, in typical ones; NaN is far away."""
    moved = np.linalg.norm(first - other, axis=-1)
    furthest = float(np.max(np.where(np.isnan(moved), np.inf, moved)))
    return 0.0 if furthest == 0 else min(furthest / max(typical, 1e-30), _LARGEST)


class _Slopes(NamedTuple):
    """Of each image, as the gradient says and as the features move; [b,K] and [b,K,S]."""

    gradient: Array
    moved: Array
    # [b,K]: zero, NaN or infinity in the gradient.
    broken: Array


class _Shared(NamedTuple):
    embed: Embed
    key: Array
    steps: ArrayLike


class _Rows(NamedTuple):
    images: np.ndarray
    cameras: np.ndarray
    position: np.ndarray


@unchecked
def _slopes(shared: _Shared, rows: _Rows) -> _Slopes:
    """Slopes along K random directions u, by the gradient and by what the features do.

    Of ``phi(x) = <f(x), v>`` with a random v: ``<grad phi, u>``, and for each step h
    ``(phi(x + h u) - phi(x - h u)) / (2 h)``. The first direction sets out
    from the clean image, each other one from another point up to four grey levels away. Points keep
    off the border of [0, 1], where a network may clip.
    """
    clean = to_float(rows.images)
    keys = example_keys(shared.key, rows.position)
    steps = jnp.asarray(shared.steps)
    room = steps[-1]

    def embed(images: Array) -> Array:
        return features_of_rows(shared.embed, images, rows.cameras)

    def along(_: None, k: Array) -> tuple[None, _Slopes]:
        of_start, of_move, of_features = (numbered(numbered(keys, k), use) for use in range(3))
        away = _drawn(jax.random.uniform, of_start, clean.shape[1:]) * 2 - 1
        x = jnp.where(k > 0, clean + room * away, clean)
        inside = jnp.clip(x, room, 1 - room)
        u = _drawn(jax.random.rademacher, of_move, clean.shape[1:]).astype(clean.dtype)
        features, back = jax.vjp(embed, inside)
        v = _drawn(jax.random.normal, of_features, features.shape[1:])
        v = v / jnp.linalg.norm(v, axis=-1, keepdims=True)
        (gradient,) = back(v.astype(features.dtype))

        def moved(h: Array) -> Array:
            up, down = embed(inside + h * u), embed(inside - h * u)
            # Before the product: the features' own size is rounding.
            return jnp.sum((up - down) * v, axis=-1) / (2 * h)

        fine = jnp.isfinite(gradient).all((1, 2, 3)) & (gradient != 0).any((1, 2, 3))
        slope = jnp.sum(gradient * u, axis=(1, 2, 3))
        return None, _Slopes(slope, jax.lax.map(moved, steps).T, ~fine)

    _, found = jax.lax.scan(along, None, jnp.arange(_DIRECTIONS))
    return jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, 1), found)


def _drawn(draw: Callable[..., Array], keys: Array, shape: tuple[int, ...]) -> Array:
    return jax.vmap(lambda key: draw(key, shape))(keys)


def backward_flags(sample: Sample, *, seed: int = 0) -> list[Flag]:
    """Compares gradients with finite differences along random directions; two flags.

    For each query ``e = min_h ||m_h - g|| / max(||m_h||, ||g||)`` over directions, where g is what
    the gradient says and m_h what a step of h shows: 0 for a smooth network, 1 for a gradient that
    says nothing of it. It is small at one step h at least where the gradient can be followed.

    Args:
        sample: of at least one query.
        seed: of the directions.

    Returns:
        "no gradient" and "backward pass".
    """
    shared = _Shared(sample.embed, jax.random.key(seed), np.asarray(_STEPS, np.float32))
    rows = _Rows(sample.images, sample.cameras, sample.positions.astype(np.int32))
    found = sample.over(_slopes, shared, rows)
    missed = _missed(found.gradient, found.moved)
    return [
        judged("no gradient", float(np.mean(found.broken.any(axis=1)))),
        judged("backward pass", float(np.mean(~(missed <= _MISSED)))),
    ]


def _missed(gradient: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """Relative error [S] of slopes [S,K] against [S,K,steps], at the step where it is least."""
    gradient = gradient.astype(np.float64)[..., None]
    moved = moved.astype(np.float64)
    size = np.maximum(np.linalg.norm(moved, axis=1), np.linalg.norm(gradient, axis=1))
    error = np.linalg.norm(moved - gradient, axis=1) / np.where(size > 0, size, 1)
    return np.where(np.isnan(error), np.inf, error).min(axis=-1)
