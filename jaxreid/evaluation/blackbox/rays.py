"""The shortest way out along directions of signs: needs to know who is first, and nothing else."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxreid.evaluation.blackbox.strategy import Given, Strategy, Told
from jaxreid.types import Array, Images

__all__ = ["RAYS"]

_PARTS = (
    4  # of a grey level, the unit of radii: the published tolerance is 0.001 of the pixel range
)
_LARGEST = 255 * _PARTS


class _State(NamedTuple):
    """Radii are in parts of a grey level.

    `direction` is the best one, or while `searching` the one that is being measured; `begun` says
    whether the first one was asked.
    """

    direction: Array  # [B,H,W,C] of -1 and 1
    radius: Array  # int32 [B], shortest at which another person is first; too large at first
    low: Array  # int32 [B], of the direction that is measured: too short
    high: Array  # int32 [B], long enough
    searching: Array  # boolean [B]
    begun: Array  # boolean [B]
    level: Array  # int32 [B]: 2^level blocks
    block: Array  # int32 [B], the one that is turned next


def _begin(given: Given) -> _State:
    batch = len(given.clean)
    none = jnp.zeros(batch, jnp.int32)
    no = jnp.zeros(batch, bool)
    direction = jnp.where(given.start < given.clean, -1.0, 1.0)
    return _State(direction, none + _LARGEST + 1, none, none, no, no, none, none)


def _block_size(state: _State, pixels: int) -> Array:
    blocks = jnp.left_shift(1, state.level)
    return (pixels + blocks - 1) // blocks


def _candidate(state: _State) -> Images:
    """The direction to ask: with one block of pixels turned, channel after channel."""
    height, width, channels = state.direction.shape[1:]
    size = _block_size(state, height * width * channels)
    place = jnp.arange(height * width * channels).reshape(channels, height, width)
    place = jnp.moveaxis(place, 0, -1)
    turned = place // size[:, None, None, None] == state.block[:, None, None, None]
    keeps = state.searching | ~state.begun
    return jnp.where(turned & ~keeps[:, None, None, None], -1, 1) * state.direction


def _asked_radius(state: _State) -> Array:
    return jnp.where(state.searching, (state.low + state.high) // 2, state.radius - 1)


def _propose(given: Given, state: _State, best: Images, step: Array) -> Images:
    # Images have whole levels: of a radius between two of them, each pixel has the one or the
    # other, by a threshold of its own.
    def drawn(key: Array) -> Array:
        return jax.random.uniform(jax.random.fold_in(key, 0), given.clean.shape[1:])

    whole, part = jnp.divmod(_asked_radius(state)[:, None, None, None], _PARTS)
    levels = whole + (jax.vmap(drawn)(given.keys) < part / _PARTS)
    return jnp.clip(given.clean + levels / 255 * _candidate(state), 0, 1)


def _tell(given: Given, state: _State, told: Told, step: Array) -> _State:
    asked, won = _asked_radius(state), told.succeeded
    measured = state.searching | won
    high = jnp.where(won, asked, state.high)
    # Nothing is to be gained below the budget.
    low = jnp.where(state.searching, jnp.where(won, state.low, asked), given.levels * _PARTS - 1)
    searching = measured & (high - low > 1)
    ends = measured & ~searching
    onward = ends | ~measured
    # The first direction is followed by its first turn, not by the second.
    block = state.block + (onward & state.begun)
    pixels = given.clean[0].size
    size = _block_size(state, pixels)
    over = block * size >= pixels
    deeper = jnp.where(size > 1, state.level + 1, 0)
    return _State(
        direction=jnp.where(measured[:, None, None, None], _candidate(state), state.direction),
        radius=jnp.where(ends, high, state.radius),
        low=low,
        high=high,
        searching=searching,
        begun=state.begun | onward,
        level=jnp.where(over, deeper, state.level),
        block=jnp.where(over, 0, block),
    )


RAYS = Strategy("RayS", _begin, _propose, _tell, until="first")
"""Directions d of signs, ``r(d) = min r: another person is first at x + r d``: blocks of d are
turned, half as large after each round, a turn is kept if it shortens r, found by halving. It asks
images beyond the budget until r is inside of it, and then it ends. Chen and Gu, KDD 2020,
https://arxiv.org/abs/2006.12792."""
