"""Small retrieval tests of noise images, and an embedding that compiles at once."""

import io

import jax.numpy as jnp
import numpy as np
from PIL import Image

from jaxreid.data.source import InMemorySplit

SIZE = (16, 8)


def png(pixels):
    """Encodes pixels [H,W,3]."""
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def split(seed, identities, cameras):
    """Images that resemble others of their identity: a face of noise each, and noise on it."""
    images = []
    for number, identity in enumerate(identities):
        face = np.random.default_rng([99, identity + 1]).integers(108, 149, (*SIZE, 3))
        noise = np.random.default_rng([seed, number]).integers(-30, 31, (*SIZE, 3))
        images.append(png(face + noise))
    names = [f"{seed}_{i:02d}.jpg" for i in range(len(images))]
    return InMemorySplit(images, identities, cameras, file_names=names)


def query():
    """Nine images: four people (one of them seen once), a distractor, junk."""
    return split(1, [1, 1, 2, 2, 3, 3, 4, 0, -1], [0, 1, 0, 1, 0, 1, 0, 1, 0])


def gallery():
    """Fourteen images: five people, a distractor, junk."""
    identities = [-1, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 5]
    return split(2, identities, [0, 0, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3])


WEIGHTS = np.random.default_rng(0).normal(0, 0.15, (16 * 8 * 3, 12)).astype(np.float32)


def embed(images):
    """[B,16,8,3] -> [B,12]."""
    return jnp.tanh((images.reshape(len(images), -1) - 0.5) @ jnp.asarray(WEIGHTS))
