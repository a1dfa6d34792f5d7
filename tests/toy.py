"""A small embedding and images that every attack test shares."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxreid.types import Array

WEIGHTS = ("w1", "b1", "w2", "b2", "wl", "bl")


def convolve(x: Array, kernel: Array, bias: Array) -> Array:
    """3x3 convolution with stride 2, as the golden embedding uses it."""
    dimensions = ("NHWC", "HWIO", "NHWC")
    padding = [(1, 1), (1, 1)]
    return (
        jax.lax.conv_general_dilated(x, kernel, (2, 2), padding, dimension_numbers=dimensions)
        + bias
    )


def features(weights: dict[str, Array], images: Array) -> Array:
    """The golden embedding: two convolutions with tanh, global average, linear."""
    hidden = jnp.tanh(convolve(images, weights["w1"], weights["b1"]))
    hidden = jnp.tanh(convolve(hidden, weights["w2"], weights["b2"]))
    return hidden.mean((1, 2)) @ weights["wl"] + weights["bl"]


def random_weights(seed: int, dtype: np.dtype = np.float32) -> dict[str, Array]:
    """Weights of the golden embedding's shapes."""
    rng = np.random.default_rng(seed)
    shapes = {"w1": (3, 3, 3, 8), "b1": (8,), "w2": (3, 3, 8, 12), "b2": (12,), "wl": (12, 16)}
    shapes["bl"] = (16,)
    return {k: jnp.asarray(rng.normal(0, 0.4, s), dtype) for k, s in shapes.items()}


def random_embed(seed: int = 0, dtype: np.dtype = np.float32) -> Callable[[Array], Array]:
    """An embedding [B,H,W,3] -> [B,16]."""
    weights = random_weights(seed, dtype)
    return lambda images: features(weights, images)


def random_images(batch: int, seed: int = 0, dtype: np.dtype = np.float32) -> Array:
    """Images [B,16,8,3] in [0, 1] that touch both ends of the range."""
    rng = np.random.default_rng(seed)
    return jnp.asarray(np.clip(rng.uniform(-0.1, 1.1, (batch, 16, 8, 3)), 0, 1), dtype)


def inner_product(field: Array) -> Callable[[Array], Array]:
    """An objective whose gradient is G and nothing else; its value is zero."""

    @jax.custom_vjp
    def objective(images: Array) -> Array:
        return jnp.zeros(len(images))

    def forward(images: Array) -> tuple[Array, None]:
        return objective(images), None

    objective.defvjp(forward, lambda _, out: (field * out[:, None, None, None],))
    return objective
