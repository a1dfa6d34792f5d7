"""Embeddings of whatever kind, in the forms in which compiled programs run them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from jaxreid.augmentation import to_float
from jaxreid.cameras import seen_by, wanted_cameras
from jaxreid.checks import checked_features
from jaxreid.distances import l2_normalize
from jaxreid.precision import at_least_float32
from jaxreid.pytrees import classes_of, pytree_dataclass
from jaxreid.random import example_keys
from jaxreid.types import Array, ArrayLike, Embed, Keys

__all__ = [
    "Shots",
    "TakesKeys",
    "as_pytree",
    "carries_arrays",
    "drawn_by",
    "features_of_rows",
    "features_of_shots",
    "mirrored",
    "unit_length",
    "wants_keys",
]

# Of what is drawn where images are ranked; whoever attacks draws by other keys.
_RANKED = 1


class Shots(NamedTuple):
    """Images and who took them.

    Attributes:
        images: [B,H,W,3], uint8 or floating point in [0, 1].
        cameras: int32 [B], from 0; -1 (`MEAN_CAMERA`) in padding.
        numbers: int32 [B], by which an embedding that draws at random tells images apart, at least
            0; None where none does.
    """

    images: ArrayLike
    cameras: ArrayLike
    numbers: ArrayLike | None = None


@runtime_checkable
class TakesKeys(Protocol):
    """An embedding that draws at random, and must be given a key for each image before."""

    @property
    def wants_keys(self) -> bool:
        """Whether it has still to be given them."""

    def drawn_by(self, keys: Keys) -> Embed:
        """The function of images that draws by [B] keys."""

    def __call__(self, images: Array) -> Array: ...  # noqa: D102


def wants_keys(embed: Embed) -> bool:
    """Whether an embedding draws at random, by keys that it has not been given."""
    return isinstance(embed, TakesKeys) and embed.wants_keys


def drawn_by(embed: Embed, keys: Keys) -> Embed:
    """An embedding that draws by [B] keys, one per image; what draws nothing stays as it is."""
    return embed.drawn_by(keys) if isinstance(embed, TakesKeys) and embed.wants_keys else embed


# jax.tree_util.Partial, with a type.
_static: Callable[[Embed], Embed] = jax.tree_util.Partial


class _Around:
    """What is made of an embedding needs what that needs."""

    embed: Embed

    @property
    def wanted_cameras(self) -> int:
        return wanted_cameras(self.embed)

    @property
    def wants_keys(self) -> bool:
        return wants_keys(self.embed)


# Pytrees, so that an embedding that carries its weights stays one; hashable where it is a function.
@pytree_dataclass
@dataclass(frozen=True)
class _UnitLength(_Around):
    embed: Embed

    def seen_by(self, cameras: ArrayLike) -> Embed:
        return _UnitLength(seen_by(self.embed, cameras))

    def drawn_by(self, keys: Keys) -> Embed:
        return _UnitLength(drawn_by(self.embed, keys))

    def __call__(self, images: Array) -> Array:
        return l2_normalize(self.embed(images))


@pytree_dataclass
@dataclass(frozen=True)
class _Mirrored(_Around):
    embed: Embed

    def seen_by(self, cameras: ArrayLike) -> Embed:
        one = np.ndim(cameras) == 0
        return _Mirrored(seen_by(self.embed, cameras if one else jnp.concatenate([cameras] * 2)))

    def drawn_by(self, keys: Keys) -> Embed:
        # The mirror image meets the same draws.
        return _Mirrored(drawn_by(self.embed, jnp.concatenate([keys, keys])))

    def __call__(self, images: Array) -> Array:
        both = self.embed(jnp.concatenate([images, images[:, :, ::-1]]))
        return 0.5 * (both[: len(images)] + both[len(images) :])


class _Inside(_Around):
    """An embedding in a compiled program, of which it is an argument; it is told what it needs."""

    def seen_by(self, cameras: ArrayLike) -> Embed:
        return seen_by(self.embed, cameras)

    def drawn_by(self, keys: Keys) -> Embed:
        return drawn_by(self.embed, keys)

    def __call__(self, images: Array) -> Array:
        return self.embed(images)


# A function that is no pytree of arrays.
@pytree_dataclass
@dataclass(frozen=True)
class _Static(_Inside):
    embed: Embed = field(metadata={"static": True})


# A pytree of arrays, which somebody may have registered so that JAX does not know its class.
@pytree_dataclass
@dataclass(frozen=True)
class _Arrays(_Inside):
    embed: Embed
    classes: tuple[type | None, ...] = field(metadata={"static": True})


def unit_length(embed: Embed) -> Embed:
    """An embedding whose features have unit length, ``f(x) / ||f(x)||``: what cosine compares.

    Args:
        embed: images [B,H,W,3] in [0, 1] -> features [B,D].

    Returns:
        The same with rows of length 1 (a zero row stays zero).
    """
    return _UnitLength(embed)


def mirrored(embed: Embed) -> Embed:
    """Test-time flip: features of an image and its mirror image, ``(f(x) + f(mirror(x))) / 2``.

    Args:
        embed: images [B,H,W,3] in [0, 1] -> features [B,D].

    Returns:
        The same with averaged features; `jaxreid.models.embedding` has its own `flip`.
    """
    return _Mirrored(embed)


def carries_arrays(embed: Embed) -> bool:
    """Whether a callable is a pytree of arrays (an Embedding), the inputs of a program."""
    leaves = jax.tree.leaves(embed)
    return bool(leaves) and all(isinstance(leaf, jax.Array | np.ndarray) for leaf in leaves)


def as_pytree(embed: Embed) -> Embed:
    """A callable that can be an argument of a compiled function.

    The arrays of what `carries_arrays` stay inputs of the program; any other callable becomes
    static, with its arrays as constants: equal callables share a program.
    """
    if carries_arrays(embed):
        return _Arrays(embed, classes_of(embed))
    if wanted_cameras(embed) or wants_keys(embed):
        return _Static(embed)
    try:
        hash(embed)
    except TypeError:
        # A bound method is hashed by the identity of what it is bound to.
        return _static(embed.__call__)  # type: ignore[operator]
    return _static(embed)


def features_of_rows(embed: Embed, images: ArrayLike, cameras: ArrayLike | None = None) -> Array:
    """Features [B,D], float32 at least, of images [B,H,W,3], uint8 or floating point in [0, 1].

    An embedding that must be told the cameras, int32 [B], is told them here.
    """
    features = checked_features(seen_by(embed, cameras), to_float(images))
    return at_least_float32(features)


def features_of_shots(embed: Embed, shots: Shots) -> Array:
    """What `over_rows` runs for clean and for adversarial images, so that both share a program."""
    if shots.numbers is not None and wants_keys(embed):
        embed = drawn_by(embed, example_keys(jax.random.key(_RANKED), jnp.asarray(shots.numbers)))
    return features_of_rows(embed, shots.images, shots.cameras)
