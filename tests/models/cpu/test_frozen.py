"""Gradients of convolutions to their images equal those that JAX derives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxreid.models.cpu.frozen import adjoint_weights, image_gradient
from jaxreid.models.layers import convolution


def both(size, channels, taps, stride, padding, method="plain"):
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.normal(size=(2, *size, channels)), jnp.float32)
    own = method == "depthwise"
    inputs, outputs, groups = (1, channels, channels) if own else (channels, 5, 1)
    kernel = jnp.asarray(rng.normal(size=(taps, taps, inputs, outputs)), jnp.float32)
    result, derived = jax.vjp(
        lambda x: convolution(x, kernel, stride=stride, padding=padding, groups=groups), images
    )
    gradient = jnp.asarray(rng.normal(size=result.shape), jnp.float32)
    how = {"method": method, "stride": stride, "padding": padding}
    weights = adjoint_weights(kernel, **how)
    ours = image_gradient(gradient, weights, taps=taps, size=size, **how)
    return ours, derived(gradient)[0]


@pytest.mark.slow
@given(
    size=st.tuples(st.integers(7, 13), st.integers(7, 13)),
    channels=st.sampled_from([3, 17]),
    taps=st.sampled_from([1, 2, 3, 7]),
    stride=st.integers(1, 3),
    padding=st.integers(0, 3),
)
@settings(max_examples=15, deadline=None)
def test_any_geometry(size, channels, taps, stride, padding):
    ours, derived = both(size, channels, taps, stride, padding)
    np.testing.assert_allclose(ours, derived, atol=1e-4)


@pytest.mark.parametrize(
    ("size", "channels", "taps", "stride", "padding"),
    [((16, 8), 3, 7, 2, 3), ((8, 8), 32, 3, 2, 1), ((8, 4), 32, 3, 1, 1), ((9, 7), 32, 1, 2, 0)],
)
def test_the_layers_of_resnets(size, channels, taps, stride, padding):
    ours, derived = both(size, channels, taps, stride, padding)
    np.testing.assert_allclose(ours, derived, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "size", "taps", "stride", "padding"),
    [
        ("pointwise", (8, 6), 1, 1, 0),
        ("pointwise", (9, 6), 1, 2, 0),
        ("winograd", (8, 6), 3, 1, 1),
        ("winograd", (7, 5), 3, 1, 0),
        ("winograd", (7, 5), 3, 1, 2),
        ("depthwise", (8, 6), 3, 1, 1),
        ("depthwise", (7, 5), 3, 1, 0),
        ("depthwise", (7, 5), 5, 1, 2),
    ],
)
def test_every_method_with_a_gradient_of_its_own(method, size, taps, stride, padding):
    ours, derived = both(size, 17, taps, stride, padding, method)
    np.testing.assert_allclose(ours, derived, atol=1e-4)
