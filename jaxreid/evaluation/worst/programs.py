"""The compiled programs of an ensemble: one per member, whatever the budget and the batches."""

from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxreid.attacks import (
    THREATS,
    Judged,
    adaptive_ascent,
    search_at_random,
    unchecked,
)
from jaxreid.attacks.climbing import better, chosen
from jaxreid.augmentation import to_float
from jaxreid.constants import Distance, Norm
from jaxreid.evaluation.embeds import features_of_rows
from jaxreid.evaluation.worst.attacker import Lists
from jaxreid.evaluation.worst.members import MemberSpec
from jaxreid.evaluation.worst.objectives import ALONE, OBJECTIVES, Seen, deciding_of
from jaxreid.random import example_keys, numbered
from jaxreid.ranking.lists import ListDistances, SearchLists, list_distances
from jaxreid.ranking.people import person_at, toward
from jaxreid.ranking.standings import standing
from jaxreid.ranking.surrogates import temperature_of
from jaxreid.types import Array, ArrayLike, Embed

__all__ = ["Met", "Rows", "Shared", "program"]


class Shared(NamedTuple):
    """What all rows of a program share.

    Attributes:
        embed: what is attacked.
        gallery: [N,D], what is searched.
        identities: int32 [N], its.
        key: of the member.
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
        cameras: int32 [b], of the images; -1 in padding.
        position: int32 [b], in the split; -1 in padding.
        start: float32 [b,H,W,3], the best image so far; None where the start is random.
        clean: [b,D], clean features.
        lists: of the search; None where the attacker has none.
    """

    images: np.ndarray
    cameras: np.ndarray
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
Judge = Callable[[Array, "_Step"], Judged]
"""(images [B,H,W,C], step) -> what is climbed, and what decides."""
Kept = tuple[tuple[Array, Array], ...]
"""The best images and their scores, by precision and by rank."""


def program(one: MemberSpec, norm: Norm, distance: Distance) -> Program:
    """The program of a member; the same one for members that differ in what is an input alone."""
    metric = one.metric if one.kind == "search" else "all"
    return _PROGRAMS[one.kind](one._replace(name="", metric=metric, person=0), norm, distance)


class _Scene(NamedTuple):
    """What is around the images of a batch."""

    shared: Shared
    rows: Rows
    distance: Distance

    def features(self, images: Array) -> Array:
        return features_of_rows(self.shared.embed, images, self.rows.cameras)

    @property
    def lists(self) -> SearchLists:
        assert self.rows.lists is not None
        return SearchLists(self.shared.gallery, *self.rows.lists)

    def distances(self, features: Array) -> ListDistances:
        return list_distances(features, self.lists, distance=self.distance)

    def deciding(self, distances: ListDistances) -> tuple[Array, Array]:
        return deciding_of(standing(distances), jnp.asarray(self.shared.sign))

    def keys(self) -> Array:
        return example_keys(self.shared.key, jnp.maximum(self.rows.position, 0))

    def alone(self, one: MemberSpec) -> Judge:
        """Climbs without lists: nothing but the value decides."""

        def judge(images: Array, step: _Step) -> Judged:
            features, clean = self.features(images), jnp.asarray(self.rows.clean)
            return Judged(ALONE[_names(one)[0]](features, clean))

        return judge

    def judged(self, one: MemberSpec) -> Judge:
        """Climbs an objective, by which the ranking need not get worse at every step."""
        clean = self.distances(jnp.asarray(self.rows.clean))
        target = None
        if _names(one)[0].startswith("targeted"):
            identities, person = (
                jnp.asarray(x) for x in (self.shared.identities, self.shared.person)
            )
            target = person_at(clean, identities, person)

        climbed = [OBJECTIVES[name] for name in _names(one)]

        def judge(images: Array, step: _Step) -> Judged:
            features = self.features(images)
            distances = self.distances(features)
            seen = Seen(
                features=features,
                lists=self.lists,
                distances=distances if target is None else toward(distances, target),
                # Of the clean image: values at one temperature compare.
                temperature=temperature_of(clean, factor=step.temperature),
                distance=self.distance,
            )
            parts = [partial(part, seen) for part in climbed]
            value = jax.lax.switch(jnp.asarray(step.objective), parts)
            return Judged(jnp.asarray(self.shared.sign) * value, self.deciding(distances))

        return judge


def _both(kept: tuple[Array, ...], nonfinite: Array, zero: Array) -> Met:
    return Met(jnp.stack(kept, axis=1), nonfinite, zero)


def _no_gradient(images: Array) -> tuple[Array, Array]:
    none = jnp.zeros(len(images), jnp.int32)
    return none, none


@cache
def _noise(one: MemberSpec, norm: Norm, distance: Distance) -> Program:
    """Uniform draws from the ball, and the worst of them."""

    @unchecked
    def run(shared: Shared, rows: Rows) -> Met:
        scene, images = _Scene(shared, rows, distance), to_float(rows.images)
        threat, keys = THREATS[norm](shared.eps), scene.keys()

        def drawn(number: Array) -> Array:
            own = numbered(keys, number)
            return threat.project(threat.random_start(own, images), images)

        def ranked(number: Array) -> Kept:
            candidates = drawn(number)
            scores = scene.deciding(scene.distances(scene.features(candidates)))
            return tuple((candidates, score) for score in scores)

        def step(kept: Kept, number: Array) -> tuple[Kept, None]:
            pairs = zip(ranked(number), kept, strict=True)
            return tuple(chosen(better(new[1], old[1]), new, old) for new, old in pairs), None

        if rows.lists is None:
            return _both((drawn(jnp.asarray(0)),), *_no_gradient(images))
        kept, _ = jax.lax.scan(step, ranked(jnp.asarray(0)), jnp.arange(1, one.draws))
        return _both(tuple(best for best, _ in kept), *_no_gradient(images))

    return run


@cache
def _searched(one: MemberSpec, norm: Norm, distance: Distance) -> Program:
    """Random search by precision, from the best image so far: no gradient is asked for."""

    @unchecked
    def run(shared: Shared, rows: Rows) -> Met:
        scene, images = _Scene(shared, rows, distance), to_float(rows.images)

        def score(candidates: Array) -> Array:
            scores = scene.deciding(scene.distances(scene.features(candidates)))
            return scores[one.metric == "rank"]

        found = search_at_random(
            score,
            images,
            threat=THREATS[norm](shared.eps),
            key=scene.keys(),
            queries=one.draws,
            start=rows.start,
        )
        return _both((found.images,), *_no_gradient(images))

    return run


class _Step(NamedTuple):
    """What is climbed at each evaluation of an ascent."""

    objective: np.ndarray  # int32 [steps+1], a number among the names of the member's objectives
    temperature: np.ndarray  # float32 [steps+1]


def _names(one: MemberSpec) -> tuple[str, ...]:
    return tuple(dict.fromkeys(stage.objective for stage in one.stages))


def _schedule(one: MemberSpec) -> tuple[tuple[int, ...], _Step]:
    """Steps at which the objective changes, and what is climbed at each evaluation."""
    ends = np.cumsum([stage.steps for stage in one.stages])
    at = one.stages
    places = np.searchsorted(ends[:-1], np.arange(one.steps + 1), side="right")
    numbers = np.array([_names(one).index(stage.objective) for stage in at], np.int32)
    temperatures = np.array([stage.temperature for stage in at], np.float32)
    return tuple(ends[:-1].tolist()), _Step(numbers[places], temperatures[places])


@cache
def _ascent(one: MemberSpec, norm: Norm, distance: Distance) -> Program:
    """Adaptive ascent of one of the objectives, the ranking deciding which image is kept."""
    stages, steps = _schedule(one)
    alone = set(_names(one)) <= ALONE.keys()

    @unchecked
    def run(shared: Shared, rows: Rows) -> Met:
        scene, images = _Scene(shared, rows, distance), to_float(rows.images)
        climbs = scene.alone(one) if alone else scene.judged(one)
        found = adaptive_ascent(
            climbs,
            images,
            threat=THREATS[norm](shared.eps),
            steps=one.steps,
            key=None if rows.start is not None else scene.keys(),
            start=rows.start,
            per_step=steps,
            stages=stages,
        )
        kept = tuple(each.images for each in found.kept) or (found.images,)
        return _both(kept, found.nonfinite_steps, found.zero_steps)

    return run


_PROGRAMS: dict[str, Callable[[MemberSpec, Norm, Distance], Program]] = {
    "noise": _noise,
    "search": _searched,
    "ascent": _ascent,
}
