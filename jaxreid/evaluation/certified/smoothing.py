"""Embeddings smoothed by noise: the mean feature of many noisy copies of an image."""

from dataclasses import dataclass, field
from functools import partial

import jax
import jax.numpy as jnp

from jaxreid.cameras import seen_by, wanted_cameras
from jaxreid.checks import check_callable, check_count, check_key, check_number, shape_of
from jaxreid.errors import InputError
from jaxreid.evaluation.embeds import as_pytree, features_of_rows, unit_length
from jaxreid.pytrees import pytree_dataclass
from jaxreid.types import Array, ArrayLike, Embed, RandomKey

__all__ = ["Smoothed", "smoothed"]


# A pytree, so that an embedding that carries its weights stays one; hashed by identity for jit.
@pytree_dataclass
@dataclass(frozen=True, eq=False)
class Smoothed:
    """An embedding, ``g_m(x) = 1/m sum_k f(clip(x + sigma e_k)) / ||f(clip(x + sigma e_k))||``.

    Attributes:
        embed: f, of unit length.
        sigma: standard deviation of the noise, in pixel range.
        key: draw k is made of it and of k alone.
        samples: m.
    """

    embed: Embed
    sigma: ArrayLike
    key: RandomKey
    samples: int = field(metadata={"static": True})

    @property
    def wanted_cameras(self) -> int:
        """How many cameras the network tells apart; 0 where it is not told."""
        return wanted_cameras(self.embed)

    def seen_by(self, cameras: ArrayLike) -> Embed:
        """The same, told who took its images.

        Args:
            cameras: int32 [B], from 0.

        Returns:
            images [B,H,W,3] -> features [B,D].
        """
        return Smoothed(seen_by(self.embed, cameras), self.sigma, self.key, self.samples)

    def total(self, images: Array, draws: ArrayLike) -> Array:
        """Sum of the features over some of the draws, one after the other.

        Args:
            images: [B,H,W,C] floating point in [0, 1].
            draws: int32 [n], numbers of the draws.

        Returns:
            [B,D].
        """

        # Backwards, a draw is computed anew: only one of them is in memory at a time.
        @jax.checkpoint
        def step(total: Array, draw: Array) -> tuple[Array, None]:
            noise = jax.random.normal(jax.random.fold_in(self.key, draw), images.shape[1:])
            noisy = images + (self.sigma * noise).astype(images.dtype)
            return total + features_of_rows(self.embed, jnp.clip(noisy, 0, 1)), None

        shape = jax.eval_shape(partial(features_of_rows, self.embed), images)
        return jax.lax.scan(step, jnp.zeros(shape.shape, shape.dtype), jnp.asarray(draws))[0]

    def __call__(self, images: Array) -> Array:
        """Features [B,D] of images [B,H,W,C] in [0, 1]; shorter than 1."""
        return self.total(images, jnp.arange(self.samples)) / self.samples


def smoothed(embed: Embed, *, sigma: float, samples: int, key: RandomKey) -> Smoothed:
    """An embedding smoothed by Gaussian noise, an estimate of ``E f(clip(x + sigma e)) / ||f||``.

    Features become of unit length, noisy images are cut to [0, 1], and the mean over the draws is
    the feature, shorter than 1 and compared by Euclidean distance. Draw k of the noise is the same
    for every image and every call: a feature depends on its image, not on its place in a batch, and
    gradients are those of what is computed. An attack on it therefore knows the noise; whoever
    judges what it found should use a key of his own, or it has fitted these very draws. Pautov et
    al., "Smoothed Embeddings for Certified Few-Shot Learning", NeurIPS 2022,
    https://arxiv.org/abs/2202.01186.

    Args:
        embed: images [B,H,W,3] in [0, 1] -> features [B,D] in any unit.
        sigma: above 0, standard deviation of the noise in pixel range, such as 0.1.
        samples: m, noisy copies per image; so many passes of `embed` make one of the result.
        key: a single random key.

    Returns:
        Smoothed: images [B,H,W,3] -> features [B,D], a pytree if `embed` is one.

    Raises:
        InputError: on no function, sigma or samples out of range, or a key that is none.
    """
    check_callable("embed", embed, "images [B,H,W,3] -> features [B,D]")
    check_number("sigma", sigma, lambda s: (s > 0) & (s < jnp.inf), "be above 0")
    check_count("samples", samples, least=1)
    if check_key("key", key) != 0:
        raise InputError(f"key must be a single key, got {shape_of(key)}: a batch of them")
    pytree = as_pytree(unit_length(embed))
    return Smoothed(pytree, jnp.asarray(sigma, jnp.float32), key, samples)
