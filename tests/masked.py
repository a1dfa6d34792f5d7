"""Embeddings of `people`'s images with a fault each that spoils what an attack measures."""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
import people

from jaxreid.data.loader import decode_all
from jaxreid.pytrees import pytree_dataclass

_DRAWN = np.random.default_rng(7)


def _drawn_now(shape):
    """Normal numbers, others in every pass: drawn by the host, unseen by JAX."""
    result = jax.ShapeDtypeStruct(shape, jnp.float32)
    return jax.experimental.io_callback(
        lambda: _DRAWN.normal(size=shape).astype(np.float32), result
    )


def noisy(images):
    """Noise in the input, drawn in every pass."""
    return people.embed(images + 0.1 * _drawn_now((1, 1, 1, 3)))


def resized(images):
    """Resized by a factor that is drawn in every pass, as randomised preprocessing does."""
    scale = 1 - 0.2 * jax.nn.sigmoid(_drawn_now((2,)))
    return people.embed(
        jax.image.scale_and_translate(
            images, images.shape, (1, 2), scale, jnp.zeros(2), method="linear"
        )
    )


def drawn_while_tracing(images):
    """Noise that each compilation of the function has of its own."""
    return people.embed(images + 0.1 * _DRAWN.normal(size=(1, 1, 1, 3)).astype(np.float32))


def by_its_batch(images):
    """Features about the mean of the batch, as normalisation by batch statistics has them."""
    features = people.embed(images)
    return features - features.mean(axis=0)


def quantised(images):
    """Eight levels: the derivative of rounding is zero."""
    return people.embed(jnp.round(images * 8) / 8)


def straight_through(images):
    """Rounded to 8 bits, with the derivative of the identity: nothing to complain of."""
    rounded = jnp.round(images * 255) / 255
    return people.embed(images + jax.lax.stop_gradient(rounded - images))


def saturated(images):
    """tanh of a huge product: 1 or -1, and a derivative that float32 takes for zero."""
    return jnp.tanh(1e6 * jnp.arctanh(jnp.clip(people.embed(images), -0.999, 0.999)))


def detached(images):
    """Most of the feature has no derivative."""
    features = people.embed(images)
    return 0.1 * features + jax.lax.stop_gradient(0.9 * jnp.flip(features, axis=-1))


def shattered(images):
    """Ripples far finer than a grey level, whose slope hides that of the network."""
    return people.embed(images + 0.005 * jnp.sin(20_000 * images))


def not_a_number(images):
    """sqrt at zero: the feature is right, and its derivative is NaN."""
    nothing = jnp.sqrt(0 * jnp.sum(images, axis=(1, 2, 3)))
    return people.embed(images) + nothing[:, None]


def alike(images):
    """Everybody has nearly the same feature."""
    return 10 + people.embed(images)


def two_values(images):
    """Four numbers of two values: most distances are equal."""
    return jnp.sign(people.embed(images))[:, :4]


def slow(images):
    """The derivative of one place at a time; which one, a sum over the image decides."""
    batch, height, width, _ = images.shape
    place = jnp.floor(1000 * jnp.sum(images, axis=(1, 2, 3))) % (height * width)
    shown = jnp.arange(height * width)[None, :] == place[:, None]
    shown = shown.reshape(batch, height, width, 1)
    return people.embed(jnp.where(shown, images, jax.lax.stop_gradient(images)))


def lucky(images):
    """No derivative at every second image, as if by chance."""
    odd = jnp.floor(1e4 * jnp.mean(images, axis=(1, 2, 3))) % 2 == 1
    return people.embed(jnp.where(odd[:, None, None, None], jax.lax.stop_gradient(images), images))


def _memory():
    loader = {"size": people.SIZE, "filter": "bilinear"}
    return decode_all(people.query(), **loader).astype(np.float32) / 255


_KNOWN = _memory()


def remembering(images):
    """Sees large changes, and puts the image in place that it remembers."""
    known = jnp.asarray(_KNOWN)
    apart = jnp.sqrt(jnp.mean((images[:, None] - known[None]) ** 2, axis=(2, 3, 4)))
    seen = jnp.min(apart, axis=1) > 24 / 255
    remembered = known[jnp.argmin(apart, axis=1)]
    return people.embed(jnp.where(seen[:, None, None, None], remembered, images))


OF_PASSES = (
    *(by_its_batch, quantised, straight_through, saturated, detached, shattered),
    *(not_a_number, people.embed),
)
OF_ATTACKS = (quantised, saturated, slow, lucky, remembering, people.embed)


@pytree_dataclass
@dataclass(frozen=True)
class Masked:
    """One of a few embeddings by its number: all of them run in the same programs."""

    number: np.ndarray
    among: tuple = field(metadata={"static": True})

    def __call__(self, images):
        return jax.lax.switch(self.number, self.among, images)


def faulty(name, among):
    """One of OF_PASSES or OF_ATTACKS by its name, "embed" for the one without a fault."""
    names = [function.__name__ for function in among]
    return Masked(np.asarray(names.index(name), np.int32), among)
