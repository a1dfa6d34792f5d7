"""The two things that are learned: one change for all images, or a network that draws changes."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxreid.attacks import linf, momentum_step, saturated
from jaxreid.evaluation.guidance import START, key_of
from jaxreid.evaluation.universal.perturbation import CHANGE, generated, parameters
from jaxreid.evaluation.universal.recipe import Recipe
from jaxreid.types import Array

__all__ = ["Learner", "learner_of"]

# Of MUAP: a step of 0.004 where eps is 10/255, and how much of the past gradients stays.
_STEP, _DECAY = 0.1, 0.4
_RATE = 1e-3  # of Adam, for the generator


class Learner(NamedTuple):
    """How a perturbation is begun and moved.

    Attributes:
        start: parameters before anything is learned, a pytree of float32 arrays.
        change: (parameters, images [B,H,W,3]) -> what is added to them, in pixel range.
        rule: makes updates of the gradient of what is to be descended.
        within: parameters -> the same, brought back into the budget.
        rest: parameters -> those with which the next epoch begins.
        tensors: parameters -> tensors of a Perturbation.
    """

    start: Any
    change: Callable[[Any, Array], Array]
    rule: optax.GradientTransformation
    within: Callable[[Any], Any]
    rest: Callable[[Any], Any]
    tensors: Callable[[Any], dict[str, np.ndarray]]


def learner_of(recipe: Recipe, size: tuple[int, int]) -> Learner:
    """What a recipe learns, for images of (height, width) in pixels."""
    eps = np.asarray(recipe.in_pixels, np.float32)
    if recipe.objective == "generator":
        return Learner(
            start=parameters(recipe.seed),
            change=lambda tensors, images: jnp.multiply(eps, generated(tensors, images)),
            rule=optax.adam(_RATE),
            within=lambda tensors: tensors,
            rest=lambda tensors: tensors,
            tensors=lambda tensors: {name: np.asarray(one) for name, one in tensors.items()},
        )
    steepest = linf(eps).steepest
    # At 0 the distance to the clean features has no gradient: all begin at random.
    drawn = jax.random.uniform(key_of(recipe.seed, START), (1, *size, 3), jnp.float32, -1, 1)
    return Learner(
        start=eps * drawn,
        change=lambda change, images: change,
        rule=optax.chain(optax.scale(-1.0), momentum_step(steepest, _STEP * eps, _DECAY)),
        within=lambda change: jnp.clip(change, -eps, eps),
        rest=lambda change: saturated(change, eps=eps),
        tensors=lambda change: {CHANGE: np.asarray(change)[0]},
    )
