"""Learns a perturbation from batches of people, on all devices of this process."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxreid.attacks import unchecked
from jaxreid.augmentation import to_float
from jaxreid.cameras import refuse_unknown_cameras, wanted_cameras
from jaxreid.collectives import Collective
from jaxreid.data import BatchIterator, IdentityBatches, train_batches
from jaxreid.data.batches import Batch
from jaxreid.data.source import ReidSource
from jaxreid.errors import InputError
from jaxreid.evaluation.embeds import Shots, as_pytree, features_of_rows, features_of_shots
from jaxreid.evaluation.features import LoaderSettings
from jaxreid.evaluation.universal.learners import Learner, learner_of
from jaxreid.evaluation.universal.objectives import OBJECTIVES, Crowd
from jaxreid.evaluation.universal.recipe import Recipe
from jaxreid.evaluation.universal.unfinished import Unfinished
from jaxreid.sharding import over_rows, replicated, row_mesh, together
from jaxreid.types import Array, ArrayLike, Embed

__all__ = ["learn_perturbation"]


class _Shared(NamedTuple):
    embed: Embed
    state: tuple[Any, optax.OptState]
    people: ArrayLike  # int32 [P], of the whole batch


class _Rows(NamedTuple):
    images: ArrayLike  # uint8 [b,H,W,3]
    cameras: ArrayLike
    identities: ArrayLike
    positions: ArrayLike  # in the split
    clean: ArrayLike  # [b,D] features


def learn_perturbation(
    embed: Embed,
    source: ReidSource,
    recipe: Recipe,
    *,
    loader: LoaderSettings,
    unfinished: Unfinished | None = None,
    progress: Callable[[str, int, int, str], None] | None = None,
) -> dict[str, np.ndarray]:
    """Learns one change for all images of a model, or a network that draws them.

    Each batch is P people with K images each. An update climbs the mean of the recipe's objective
    over the batch, ``J(clip(x + d, 0, 1))``, seen against the clean features of the same batch:
    a change d by ``m = 0.4 m + g / ||g||_1, d = clip(d + eps / 10 sign(m), -eps, eps)``, and after
    each epoch it is `attacks.saturated` (Ding et al., "Beyond Universal Person Re-Identification
    Attack", IEEE TIFS 2021, https://github.com/wenjie710/MUAP); a generator, with ``d(x) = eps
    tanh(...)``, by Adam. Neither the number of devices nor an interruption changes what is learned,
    but for rounding.

    Args:
        embed: images [B,H,W,3] float32 in [0, 1] -> features [B,D].
        source: the split, with training labels.
        recipe: what it is learned by.
        loader: how images are read; its batch size is the recipe's.
        unfinished: where the state is kept after each epoch, and found again; None for nowhere.
        progress: called with (what, batches done, batches in all, a note on the objective).

    Returns:
        Tensors of a `Perturbation`.

    Raises:
        InputError: a recipe out of range, a split without labels or with too few people, a batch
            that does not split over the devices, features that are not finite, or an unfinished
            state of something else.
    """
    mesh = row_mesh(loader.devices)
    _check(recipe, embed, source, devices=mesh.size)
    learner = learner_of(recipe, loader.size)
    state, first = (learner.start, learner.rule.init(learner.start)), 0
    if unfinished is not None:
        state, first = unfinished.found(state)
    step = together(unchecked(partial(_step, learner, recipe)), mesh)
    clean = over_rows(features_of_shots, mesh)
    shared = _Shared(as_pytree(embed), state, np.zeros(recipe.identities, np.int32))
    shared = replicated(shared, mesh)
    batches = _batches(source, recipe, loader)
    each = len(batches) // recipe.epochs
    batches.set_state({**batches.get_state(), "next_batch": first * each})
    with batches:
        for number, batch in enumerate(batches, first * each + 1):
            people = batch.identities[:: recipe.images]
            features = clean(shared.embed, Shots(batch.images, batch.cameras))
            # Not a loop within the program, where XLA's convolutions on CPUs are many times slower.
            for _ in range(recipe.replays):
                state, value = step(shared._replace(people=people), _rows(batch, features))
                shared = shared._replace(state=state)
            if not np.isfinite(value):
                raise InputError("the embedding, or its gradient, is NaN or infinite for an image")
            if number % each == 0:
                shared = shared._replace(state=(learner.rest(state[0]), state[1]))
                if unfinished is not None:
                    unfinished.keep(shared.state, number // each)
            if progress is not None:
                progress("perturbation", number, len(batches), f"objective {float(value):.4g}")
    return learner.tensors(shared.state[0])


def _check(recipe: Recipe, embed: Embed, source: ReidSource, *, devices: int) -> None:
    recipe.check()
    refuse_unknown_cameras(wanted_cameras(embed), source.cameras, "the split")
    if recipe.batch_size % devices:
        raise InputError(
            f"{recipe.identities} people with {recipe.images} images each cannot be split over "
            f"{devices} devices; expected a multiple of {devices} images"
        )
    if not (np.asarray(source.labels) >= 0).any():
        raise InputError(
            "the split has no training labels; expected one of people to learn from, such as train"
        )


def _batches(source: ReidSource, recipe: Recipe, loader: LoaderSettings) -> BatchIterator:
    return train_batches(
        source,
        IdentityBatches(recipe.identities, recipe.images, recipe.seed),
        size=loader.size,
        filter=loader.filter,
        epochs=recipe.epochs,
        workers=loader.workers,
    )


def _rows(batch: Batch, clean: Array) -> _Rows:
    return _Rows(batch.images, batch.cameras, batch.identities, batch.indices, clean)


def _step(
    learner: Learner, recipe: Recipe, shared: _Shared, rows: _Rows
) -> tuple[tuple[Any, optax.OptState], Array]:
    """One update; each device has its part of the rows."""
    devices, images = Collective("rows"), to_float(rows.images)

    def embed(images: Array) -> Array:
        return features_of_rows(shared.embed, images, rows.cameras)

    crowd = _crowd(shared.people, rows, devices)
    crowd = crowd._replace(smoothness=recipe.smoothness)
    climbed, count = OBJECTIVES[recipe.objective], len(images) * devices.size

    def cost(parameters: Any) -> Array:
        moved = jnp.clip(images + learner.change(parameters, images), 0, 1)
        return -jnp.sum(climbed(embed, moved, crowd)) / count

    parameters, memory = shared.state
    value, slope = devices.sum(jax.value_and_grad(cost)(parameters))
    moves, memory = learner.rule.update(slope, memory)
    moved = learner.within(optax.apply_updates(parameters, moves))
    return (moved, memory), -value


def _crowd(people: ArrayLike, rows: _Rows, devices: Collective) -> Crowd:
    own, identities = jnp.asarray(rows.clean), devices.gather(rows.identities)
    alike = jnp.asarray(rows.identities)[:, None] == identities
    # Of a person with few images some are there twice.
    itself = jnp.asarray(rows.positions)[:, None] == devices.gather(rows.positions)
    return Crowd(
        own=own,
        everyone=devices.gather(own),
        identities=jnp.asarray(rows.identities),
        people=jnp.asarray(people),
        same=alike & ~itself,
        others=~alike,
        smoothness=0.0,
    )
