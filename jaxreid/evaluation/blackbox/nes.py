"""A gradient estimated from pairs of opposite steps on a coarse grid, and its signs followed."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxreid.evaluation.blackbox.strategy import Given, Strategy, Told
from jaxreid.types import Array, Images

__all__ = ["NES"]

_GRID = (8, 4)  # cells of an image: a person is tall
_PAIRS = 10
_SPREAD = 0.5  # of the directions, in parts of the budget
_STEP = 0.2  # in parts of the budget


class _State(NamedTuple):
    place: Array  # [B,h,w,C] in parts of the budget, from -2 to 2
    slope: Array  # [B,h,w,C], summed over the pairs so far


def _begin(given: Given) -> _State:
    batch, height, width, channels = given.clean.shape
    cells = (batch, min(height, _GRID[0]), min(width, _GRID[1]), channels)
    return _State(jnp.zeros(cells), jnp.zeros(cells))


def _directions(given: Given, state: _State, step: Array) -> Array:
    """Of the pair that a step is of, with the sign of the step: 0 where the centre is asked."""
    part = step % (2 * _PAIRS + 1)
    pair = (part + 1) // 2 + step // (2 * _PAIRS + 1) * (_PAIRS + 1)
    sign = jnp.where(part == 0, 0, jnp.where(part % 2 == 1, 1, -1))

    def drawn(key: Array) -> Array:
        return jax.random.normal(jax.random.fold_in(key, pair), state.place.shape[1:])

    return sign * jax.vmap(drawn)(given.keys)


def _propose(given: Given, state: _State, best: Images, step: Array) -> Images:
    place = state.place + _SPREAD * _directions(given, state, step)
    change = jax.image.resize(place, given.clean.shape, "nearest")
    eps = given.levels / 255
    moved = jnp.clip(given.start + eps * change, given.clean - eps, given.clean + eps)
    return jnp.clip(moved, 0, 1)


def _tell(given: Given, state: _State, told: Told, step: Array) -> _State:
    value = told.value[:, None, None, None]
    slope = state.slope + value * _directions(given, state, step)
    moved = jnp.clip(state.place + _STEP * jnp.sign(slope), -2, 2)
    last = step % (2 * _PAIRS + 1) == 2 * _PAIRS
    return _State(
        jnp.where(last, moved, state.place), jnp.where(last, jnp.zeros_like(slope), slope)
    )


NES = Strategy("NES on a coarse grid", _begin, _propose, _tell, until="anywhere")
"""``g = sum_i (v(z + s u_i) - v(z - s u_i)) u_i`` over 10 directions u_i ~ N(0, 1) on 8x4 cells,
``z <- z + step sign(g)``, the image being the start with z painted over its cells, cut to the
budget: 21 images a step, the centre among them. Ilyas et al., ICML 2018,
https://arxiv.org/abs/1804.08598."""
