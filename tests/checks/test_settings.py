"""Checks of settings: numbers, counts, switches, words."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxreid.checks import (
    as_tuple,
    check_choice,
    check_count,
    check_flag,
    check_levels,
    check_number,
    refuse_fraction,
)
from jaxreid.errors import InputError


def check_budget(given):
    check_number("eps", given, lambda x: (x >= 0) & jnp.isfinite(x), "be at least 0", axes=None)


@pytest.mark.parametrize(
    "given", ["1", None, True, [1.0], 1j, np.array(["1"]), np.nan, -1, -np.inf]
)
def test_what_is_no_budget(given):
    with pytest.raises(InputError, match="eps must be at least 0"):
        check_budget(given)


def test_what_is_a_budget():
    for given in (0, 1.5, np.float32(2), np.ones((2, 1)), jnp.asarray(0.5), jnp.bfloat16(1)):
        check_budget(given)
    jax.jit(check_budget)(-1.0)


@pytest.mark.parametrize("levels", range(1, 33))
@pytest.mark.parametrize("kind", [float, np.float32, np.float64])
def test_a_fraction_of_the_pixel_range_is_no_number_of_levels(levels, kind):
    with pytest.raises(InputError, match=f"for {levels}/255 it is {levels}, got 0.[01]"):
        refuse_fraction("eps", kind(levels / 255))
    refuse_fraction("eps", kind(levels))


@pytest.mark.parametrize("little", [0, 1e-7, 0.0001, 0.0196, 0.01, 0.05, 0.1, 0.2, 0.25, 0.5, 0.6])
def test_less_than_a_level_may_be_meant(little):
    refuse_fraction("eps", little)


def test_levels():
    for value in (0.5, 5, np.float32(255)):
        check_levels("eps", value)
    for value in (0, -1, 255.5, float("nan"), "5", True, [5.0]):
        with pytest.raises(InputError, match="eps must be above 0 and at most 255, in 1/255 of"):
            check_levels("eps", value)
    with pytest.raises(InputError, match="for 5/255 it is 5"):
        check_levels("eps", 5 / 255)


def test_axes_of_a_number():
    check_number("p", np.ones(3), lambda x: x > 0, "be positive", axes=1)
    with pytest.raises(InputError, match=r"p must be positive, got \[3\] float64"):
        check_number("p", np.ones(3), lambda x: x > 0, "be positive")


def test_counts():
    assert check_count("count", np.int64(3), least=1) == 3
    assert check_count("count", jnp.int32(3)) == 3
    for given in (True, 1.0, "1", None, np.bool_(True), [1]):
        with pytest.raises(InputError, match="count must be an integer known before tracing"):
            check_count("count", given)
    with pytest.raises(InputError, match="known before tracing"):
        jax.jit(lambda n: check_count("count", n))(3)
    with pytest.raises(InputError, match="count must be at least 1, got 0"):
        check_count("count", 0, least=1)
    with pytest.raises(InputError, match=r"count must be 1 to 4, the guides, got 10{56}\.\.\."):
        check_count("count", 10**90, least=1, most=4, of="the guides")


def test_switches_and_words():
    assert check_flag("pad", np.bool_(True)) is True
    for given in ("yes", 1, None):
        with pytest.raises(InputError, match="pad must be True or False"):
            check_flag("pad", given)
    assert check_choice("distance", "cosine", ("euclidean", "cosine")) == "cosine"
    for given in ("cos", None, ["cosine"], {}):
        with pytest.raises(InputError, match=r"distance must be one of \['cosine', 'euclidean'\]"):
            check_choice("distance", given, ("euclidean", "cosine"))


@dataclass(frozen=True)
class Shape:
    size: tuple[int, ...]

    def __post_init__(self):
        as_tuple(self, "size")


def test_lists_and_arrays_in_a_configuration_become_tuples():
    assert {Shape([4, 2]), Shape(np.array([4, 2]))} == {Shape((4, 2))}
