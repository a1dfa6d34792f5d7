import jax
import jax.numpy as jnp
import numpy as np
from networks import relative

from jaxreid.models.cpu.attention import attend_by_image


def softmax(x):
    x = np.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


def test_attention_image_by_image_is_the_definitions_and_so_is_its_gradient():
    rng = np.random.default_rng(0)
    query, key, value, direction = rng.normal(size=(4, 3, 5, 2, 4))
    key, value = key[:, :4], value[:, :4]
    expected, gradient = np.zeros_like(query), np.zeros_like(value)
    for image in range(3):
        for head in range(2):
            at = image, slice(None), head
            weights = softmax(0.3 * query[at] @ key[at].T)
            expected[at] = weights @ value[at]
            gradient[at] = weights.T @ direction[at]
    with jax.enable_x64(True):
        got, back = jax.vjp(
            lambda value: attend_by_image(*map(jnp.asarray, (query, key)), value, scale=0.3), value
        )
        assert relative(got, expected) < 1e-14
        assert relative(back(direction)[0], gradient) < 1e-14
