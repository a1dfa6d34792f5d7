"""Windows by gathered rows are the windows that steps of padding, rolling and turning make."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxreid.models import windows
from jaxreid.models.cpu.windows import Cut, to_tokens, to_windows
from jaxreid.models.windows import _cut, _Grid


@pytest.mark.slow
@settings(max_examples=12)
@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    side=st.integers(1, 4),
    shifted=st.booleans(),
)
def test_both_forms_and_their_gradients_are_the_same(height, width, side, shifted):
    grid = _Grid(height, width, side, side // 2 if shifted else 0)
    cut = _cut(grid)
    tokens = np.random.default_rng(0).normal(size=(2, 1 + height * width, 3, 4))
    with jax.enable_x64(True):
        found, back = jax.vjp(lambda x: to_windows(x, cut), jnp.asarray(tokens))
        expected, other = jax.vjp(lambda x: windows._to_windows(x, grid), jnp.asarray(tokens))
        np.testing.assert_array_equal(found, expected)
        direction = jnp.sin(expected)
        # What no token is in takes the gradients of all empty places.
        np.testing.assert_allclose(back(direction)[0], other(direction)[0], atol=1e-12)
        again, back = jax.vjp(lambda x: to_tokens(x, cut), found)
        expected, other = jax.vjp(lambda x: windows._to_tokens(x, grid), found)
        np.testing.assert_array_equal(again, expected)
        np.testing.assert_array_equal(again, tokens[:, 1:])
        np.testing.assert_array_equal(back(jnp.sin(again))[0], other(jnp.sin(again))[0])


def test_a_map_and_its_windows_by_hand():
    # 2 x 3 pixels in windows of 2 x 2: one column is empty.
    cut = _cut(_Grid(2, 3, 2, 0))
    np.testing.assert_array_equal(cut.places, [[1, 2, 4, 5], [3, 0, 6, 0]])
    # Shifted by one, what was the upper left corner comes last.
    shifted = _cut(_Grid(2, 3, 2, 1))
    np.testing.assert_array_equal(shifted.places, [[5, 6, 2, 3], [0, 4, 0, 1]])
    assert cut == Cut(cut.places.copy())
    assert hash(cut) == hash(Cut(cut.places.copy()))
    assert cut != shifted


@pytest.mark.slow
@pytest.mark.parametrize("order", [1, 2])
def test_derivatives_of_the_second_order(order):
    grid = _Grid(3, 2, 2, 1)
    cut = _cut(grid)
    tokens = jnp.asarray(np.random.default_rng(1).normal(size=(1, 7, 1, 2)), jnp.float32)

    def value(form, x):
        return jnp.sum(jnp.sin(form(x)) ** 2)

    slopes = []
    for form in (lambda x: to_windows(x, cut), lambda x: windows._to_windows(x, grid)):
        slope = jax.grad(lambda x, form=form: value(form, x))
        if order == 2:
            slope = jax.grad(lambda x, slope=slope: jnp.sum(jnp.cos(slope(x))))
        slopes.append(slope(tokens))
    np.testing.assert_allclose(*slopes, atol=1e-5)
