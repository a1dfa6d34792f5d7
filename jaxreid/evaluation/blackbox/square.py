"""Windows of colour in the shape of a person, painted at random: needs to know what is better."""

import jax
import jax.numpy as jnp

from jaxreid.attacks import linf
from jaxreid.attacks.random_search import repainted, striped_start, window_schedule
from jaxreid.evaluation.blackbox.strategy import Given, Strategy, Told
from jaxreid.types import Array, Images

__all__ = ["SQUARE"]


def _propose(given: Given, state: tuple[()], best: Images, step: Array) -> Images:
    threat = linf(given.levels / 255)
    windows = window_schedule(max(given.queries, 2), *given.clean.shape[1:3])
    window = jax.tree.map(lambda x: x[jnp.minimum(step, len(x) - 1)], windows)
    # After the schedule's end, places that were not drawn yet.
    painted = repainted(best, given.clean, given.keys, window._replace(number=step + 1), threat)
    if given.started:
        return painted
    stripes = threat.project(striped_start(threat)(given.keys, given.clean), given.clean)
    return jnp.where(step == 0, stripes, painted)


def _tell(given: Given, state: tuple[()], told: Told, step: Array) -> tuple[()]:
    return state


SQUARE = Strategy("Square, in person shapes", lambda given: (), _propose, _tell, until="anywhere")
"""Random search, by the proposals of `jaxreid.attacks.search_at_random`: a window of the image's
shape is painted +-eps, and kept if the list is better. Andriushchenko et al., ECCV 2020,
https://arxiv.org/abs/1912.00049."""
