"""The compiled programs of an ensemble: one per round, whatever the budget and the batches."""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxreid.attacks import l2, linf, unchecked
from jaxreid.attacks.apgd import Judged, adaptive_ascent, checkpoints
from jaxreid.attacks.climbing import better, chosen
from jaxreid.augmentation import to_float
from jaxreid.constants import Distance, Norm
from jaxreid.evaluation.features import features_of_rows
from jaxreid.evaluation.worst.aims import Lists
from jaxreid.evaluation.worst.objectives import OBJECTIVES, Seen, deciding_of, person_at
from jaxreid.evaluation.worst.rounds import Round
from jaxreid.random import example_keys
from jaxreid.ranking.lists import ListDistances, SearchLists, list_distances
from jaxreid.ranking.people import toward
from jaxreid.ranking.standings import standing
from jaxreid.ranking.surrogates import temperature_of
from jaxreid.types import Array, ArrayLike, Embed

__all__ = ["Met", "Rows", "Shared", "program"]

THREATS = {"linf": linf, "l2": l2}


class Shared(NamedTuple):
    """What all rows of a program share.

    Attributes:
        embed: what is attacked.
        gallery: [N,D], what is searched.
        identities: int32 [N], its.
        key: of the round.
        eps: budget, in pixel range.
        sign: +1 to be found late, -1 to be found early.
        person: of a targeted objective, place among the nearest wrong people; -1 for the furthest.
    """

    embed: Embed
    gallery: ArrayLike
    identities: ArrayLike
    key: Array
    eps: ArrayLike
    sign: ArrayLike
    person: ArrayLike


class Rows(NamedTuple):
    """What each row of a program has of its own.

    Attributes:
        images: uint8 [b,H,W,3], clean.
        position: int32 [b], in the split; -1 in padding.
        start: float32 [b,H,W,3], the best image so far; None where the start is random.
        clean: [b,D], clean features.
        lists: of the search; None where the attacker has none.
    """

    images: np.ndarray
    position: np.ndarray
    start: np.ndarray | None
    clean: np.ndarray
    lists: Lists | None


class Met(NamedTuple):
    """The best images of what a program met.

    Attributes:
        images: float32 [b,K,H,W,3]: the best by precision and by rank, or by value alone.
        nonfinite: int32 [b], steps at which the gradient held NaN or infinity.
        zero: int32 [b], steps at which the whole gradient was zero.
    """

    images: Array
    nonfinite: Array
    zero: Array


Program = Callable[[Shared, Rows], Met]


def program(one: Round, norm: Norm, distance: Distance) -> Program:
    """The program of a round; the same one for rounds that differ in what is an input alone."""
    return _PROGRAMS[one.kind](one._replace(name="", goal="all", person=0), norm, distance)


class _Scene(NamedTuple):
    """What is around the images of a batch."""

    shared: Shared
    rows: Rows
    distance: Distance

    def features(self, images: Array) -> Array:
        return features_of_rows(self.shared.embed, images)

    @property
    def lists(self) -> SearchLists:
        assert self.rows.lists is not None
        return SearchLists(self.shared.gallery, *self.rows.lists)

    def distances(self, features: Array) -> ListDistances:
        return list_distances(features, self.lists, distance=self.distance)

    def deciding(self, distances: ListDistances) -> tuple[Array, Array]:
        return deciding_of(standing(distances), self.shared.sign)

    def keys(self) -> Array:
        return example_keys(self.shared.key, jnp.maximum(self.rows.position, 0))


@cache
def _noise(one: Round, norm: Norm, distance: Distance) -> Program:
    """Uniform draws from the ball; of those the worst."""

    @unchecked
    def run(shared: Shared, rows: Rows) -> Met:
        scene, images = _Scene(shared, rows, distance), to_float(rows.images)
        threat = THREATS[norm](shared.eps)
        keys = scene.keys()

        def draw(number: Array) -> Array:
            drawn = jax.vmap(jax.random.fold_in, (0, None))(keys, number)
            return threat.project(threat.random_start(drawn, images), images)

        def scores(candidates: Array) -> tuple[Array, ...]:
            return scene.deciding(scene.distances(scene.features(candidates)))

        def step(kept: tuple, number: Array) -> tuple[tuple, None]:
            candidates = draw(number)
            new = [(candidates, score) for score in scores(candidates)]
            return tuple(
                chosen(better(mine[1], old[1]), mine, old)
                for mine, old in zip(new, kept, strict=True)
            ), None

        first = draw(jnp.asarray(0))
        if rows.lists is None:
            none = jnp.zeros(len(images), jnp.int32)
            return Met(first[:, None], none, none)
        kept = tuple((first, score) for score in scores(first))
        kept, _ = jax.lax.scan(step, kept, jnp.arange(1, one.steps))
        none = jnp.zeros(len(images), jnp.int32)
        return Met(jnp.stack([best for best, _ in kept], axis=1), none, none)

    return run


def _stages(one: Round) -> tuple[tuple[int, ...], np.ndarray | None]:
    """Where the objective changes, at checkpoints, and its temperature at each evaluation."""
    count = len(one.temperatures)
    if not count:
        return (), None
    marks = np.asarray(checkpoints(one.steps))
    # A third of the way and two thirds, or wherever a check is near.
    wanted = [one.steps * part / count for part in range(1, count)]
    stages = tuple(int(marks[np.abs(marks - at).argmin()]) for at in wanted)
    places = np.searchsorted(np.asarray(stages), np.arange(one.steps + 1), side="right")
    return stages, np.asarray(one.temperatures, np.float32)[places]


@cache
def _ascent(one: Round, norm: Norm, distance: Distance) -> Program:
    """Adaptive ascent of one of the objectives, the ranking deciding which image is kept."""
    stages, factors = _stages(one)
    climbed = OBJECTIVES[one.objective]

    @unchecked
    def run(shared: Shared, rows: Rows) -> Met:
        scene, images = _Scene(shared, rows, distance), to_float(rows.images)
        at_first = None if rows.lists is None else scene.distances(rows.clean)
        target = None
        if one.objective.startswith("targeted"):
            target = person_at(at_first, shared.identities, shared.person)

        def objective(images: Array, factor: Array | None = None) -> Judged:
            seen = Seen(scene.features(images), rows.clean, None, None, None, distance)
            if rows.lists is None:
                return Judged(climbed(seen))
            distances = scene.distances(seen.features)
            seen = seen._replace(
                lists=scene.lists,
                distances=distances if target is None else toward(distances, target),
                # Of the clean image: values at one temperature compare.
                temperature=None if factor is None else temperature_of(at_first, factor=factor),
            )
            return Judged(shared.sign * climbed(seen), scene.deciding(distances))

        found = adaptive_ascent(
            objective,
            images,
            threat=THREATS[norm](shared.eps),
            steps=one.steps,
            key=None if rows.start is not None else scene.keys(),
            start=rows.start,
            per_step=factors,
            stages=stages,
        )
        kept = [one.images for one in found.kept] or [found.images]
        return Met(jnp.stack(kept, axis=1), found.nonfinite_steps, found.zero_steps)

    return run


_PROGRAMS: dict[str, Callable[[Round, Norm, Distance], Program]] = {
    "noise": _noise,
    "ascent": _ascent,
}
