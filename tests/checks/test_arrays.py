"""Checks of arrays: what is refused, and in which words."""

import jax
import numpy as np
import pytest

from jaxreid.checks import (
    Sizes,
    check_array,
    check_features,
    check_integers,
    check_values,
    shape_of,
)
from jaxreid.errors import InputError


def test_what_is_described():
    assert shape_of(np.zeros((2, 3), np.float32)) == "[2,3] float32"
    assert shape_of([1, 2]) == "a list"
    assert shape_of(None) == "a NoneType"
    assert shape_of(np.ma.zeros(2)) == "a masked array"


@pytest.mark.parametrize("given", [[1], None, "x", 1, jax.random.key(0), np.ma.zeros(2)])
def test_what_is_no_array_is_refused(given):
    for check in (
        lambda x: Sizes().check("x", x, "N"),
        lambda x: check_array("x", x),
        lambda x: check_features("x", x),
        lambda x: check_integers("x", x),
    ):
        with pytest.raises(InputError, match="x must be an array"):
            check(given)


@pytest.mark.parametrize("given", ["x", None, [[1], [1, 2]], 10**400, object()])
def test_values_of_what_has_none_are_refused(given):
    with pytest.raises(InputError, match="wanted"):
        check_values(given, lambda x: x > 0, "wanted")


def test_float64_is_looked_at_before_it_is_rounded():
    with pytest.raises(InputError, match="at most 1"):
        check_values(np.array([1 + 1e-12]), lambda x: x <= 1, "at most 1")
    check_values(np.array([1e300]), np.isfinite, "finite")
    check_values(np.array([2**40]), lambda x: x > 2**39, "large")


def test_traced_values_are_not_looked_at():
    def f(x):
        check_values(x, lambda v: v > 0, "positive")
        return x

    assert jax.jit(f)(-1.0) == -1
