"""Every method computes the plain convolution, and is chosen where it is quicker."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxreid.models.cpu.convolutions import METHODS, method_for
from jaxreid.models.layers import convolution

# (method, kernel size, stride, padding) that the method is defined for
CASES = [
    ("pointwise", 1, 1, 0),
    ("pointwise", 1, 2, 0),
    ("gathered", 3, 2, 1),
    ("gathered", 5, 3, 0),
    ("winograd", 3, 1, 1),
    ("winograd", 3, 1, 0),
]


def draw(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


@pytest.mark.parametrize(("method", "size", "stride", "padding"), CASES)
def test_methods_equal_the_plain_convolution(method, size, stride, padding):
    images, kernel = draw(0, 2, 7, 6, 5), draw(1, size, size, 5, 7)

    def run(function):
        def loss(x, kernel):
            y = function(x, kernel, stride=stride, padding=padding)
            return jnp.sum(jnp.sin(y)), y

        (_, y), gradients = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(images, kernel)
        return y, *gradients

    for got, expected in zip(run(METHODS[method]), run(convolution), strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-5 * float(jnp.abs(expected).max()))


def test_every_method_is_tested():
    assert {case[0] for case in CASES} == set(METHODS)


def test_winograd_is_accurate_at_the_channels_it_is_chosen_for():
    x, kernel = draw(0, 1, 8, 4, 512), draw(1, 3, 3, 512, 512) / np.sqrt(9 * 512)
    got = METHODS["winograd"](x, kernel, stride=1, padding=1)
    np.testing.assert_allclose(got, convolution(x, kernel, stride=1, padding=1), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "stride", "padding", "options", "method"),
    [
        ((1, 1, 64, 256), 1, 0, {}, "pointwise"),
        ((1, 1, 64, 256), 2, 0, {}, "pointwise"),
        ((16, 16, 3, 384), 16, 0, {}, "plain"),
        ((3, 3, 128, 128), 1, 1, {}, "winograd"),
        ((3, 3, 64, 64), 1, 1, {}, "plain"),
        ((3, 3, 512, 512), 2, 1, {}, "plain"),
        ((7, 7, 3, 64), 2, 3, {}, "plain"),
        # Winograd's sums are not accurate enough in half precision.
        ((3, 3, 512, 512), 1, 1, {"dtype": jnp.dtype("bfloat16")}, "plain"),
        # XLA's gradient to few pixels is slow.
        ((3, 3, 256, 256), 2, 1, {"outputs": (2, 1)}, "gathered"),
        ((3, 3, 256, 256), 2, 1, {"outputs": (16, 2)}, "gathered"),
        ((3, 3, 256, 256), 2, 1, {"outputs": (16, 3)}, "plain"),
    ],
)
def test_the_choice_depends_on_geometry_and_type(shape, stride, padding, options, method):
    geometry = {"stride": stride, "padding": padding, "dtype": jnp.dtype("float32"), **options}
    assert method_for(shape, **geometry) == method
