"""float64 where it is given; scales that round nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxreid.precision import in_double, power_of_two


@in_double
def doubled(x, note=""):
    return jnp.asarray(x) * 2


def test_float64_stays_float64_where_it_is_concrete():
    assert doubled(np.full(2, 0.1)).dtype == np.float64
    np.testing.assert_array_equal(np.asarray(doubled(np.full(2, 0.1))), 0.2)
    assert doubled(np.full(2, 0.1, np.float32)).dtype == np.float32
    assert doubled(np.arange(2)).dtype == np.int32
    # A NumPy scalar is a number, not an array of features.
    assert doubled(np.float64(0.1)).dtype == np.float32
    assert doubled(doubled(np.ones(2)), note="kept").dtype == np.float64


def test_what_is_traced_keeps_its_dtype():
    assert jax.jit(doubled)(np.ones(2)).dtype == np.float32
    assert jax.vmap(doubled)(np.ones(2)).dtype == np.float32
    assert jax.grad(lambda x: doubled(x).sum())(np.ones(2)).dtype == np.float32


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_powers_of_two(dtype):
    info = np.finfo(dtype)
    values = np.array(
        [0, 1, 1.4, 1.6, 0.7, 1e-30, 1e30, info.max, info.tiny, np.inf, np.nan], dtype
    )
    with jax.enable_x64(dtype is np.float64):
        found = np.asarray(power_of_two(values))
        assert found.dtype == dtype
    mantissa, _ = np.frexp(found)
    np.testing.assert_array_equal(mantissa, 0.5)
    np.testing.assert_array_equal(found[[0, 1, 10]], 1)
    ordinary = slice(1, 7)
    assert (np.abs(np.log2(values[ordinary] / found[ordinary])) <= 1).all()
    # Neither the inverse nor squares leave the dtype.
    assert np.isfinite((values[:9] / found[:9]) ** 2).all()
    assert ((values[1:9] / found[1:9]) ** 2 > 0).all()
