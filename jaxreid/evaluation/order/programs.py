"""The compiled programs of ranking attacks: who is chosen, and what a climb comes to."""

from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from jaxreid.attacks import linf, unchecked
from jaxreid.attacks.climbing import starting_point, value_and_gradient
from jaxreid.augmentation import to_float
from jaxreid.distances import euclidean
from jaxreid.evaluation.embeds import features_of_rows
from jaxreid.evaluation.order.measures import MEASURES, OBJECTIVES, Seen
from jaxreid.evaluation.order.specs import CANDIDATES, Changed
from jaxreid.evaluation.worst.attacker import Lists
from jaxreid.random import example_keys
from jaxreid.ranking.lists import ListDistances, SearchLists, list_distances
from jaxreid.types import Array, ArrayLike, Embed, PerImage

__all__ = [
    "Chosen",
    "Draw",
    "Met",
    "Rows",
    "Shared",
    "attack_program",
    "better_of",
    "choose",
    "measure_program",
]

# Items that a guarded attack leaves first, as published; and the nearest share of a list.
_GUARDS, _NEAR = 5, 0.01
_SHIFT = list(OBJECTIVES).index("shift")


class Shared(NamedTuple):
    """What all rows of a program share.

    Attributes:
        embed: what is attacked; its features have unit length.
        gallery: [N,D] clean features.
        key: of what is drawn.
        eps: budget, in pixel range.
        step_size: in pixel range.
        objective: what is climbed, by its place in OBJECTIVES: all share a program.
    """

    embed: Embed
    gallery: ArrayLike
    key: Array
    eps: ArrayLike
    step_size: ArrayLike
    objective: ArrayLike


class Chosen(NamedTuple):
    """Which items of the gallery a trial is about.

    Attributes:
        candidate: int32 [b], their positions.
        guards: int32 [b,5], positions of the nearest items beside it; repeated in a shorter list.
    """

    candidate: ArrayLike
    guards: ArrayLike


class Rows(NamedTuple):
    """What each row of a program has of its own.

    Attributes:
        position: int32 [b], of the query in its split.
        query: [b,D], its clean feature.
        lists: of its search.
        chosen: items of it; None before they are chosen.
        images: uint8 [b,H,W,3], clean, of the image that is attacked; None where none is.
        cameras: int32 [b], who took these; None likewise.
    """

    position: np.ndarray
    query: np.ndarray
    lists: Lists
    chosen: Chosen | None = None
    images: np.ndarray | None = None
    cameras: np.ndarray | None = None


class Met(NamedTuple):
    """What images come to, for each of the S entries of MEASURES.

    Attributes:
        measured: [b,S].
        score: [b,S], the larger the better for the attacker.
    """

    measured: Float[Array, "b S"]
    score: Float[Array, "b S"]


def _searched(
    gallery: ArrayLike, rows: Rows, features: Array
) -> tuple[ListDistances, Bool[Array, "b N"]]:
    """Distances of queries to the gallery, and which of it is in their lists."""
    distances = list_distances(features, SearchLists(gallery, *rows.lists))
    each = jnp.arange(len(features))[:, None]
    return distances, distances.others.at[each, rows.lists.matches].max(distances.mask)


class Draw(NamedTuple):
    """What all rows share when items are chosen.

    Attributes:
        gallery: [N,D] clean features.
        key: of the attack.
        candidate: which item, by its place in CANDIDATES.
    """

    gallery: ArrayLike
    key: Array
    candidate: ArrayLike


def _drawn(draw: Draw, rows: Rows, most: Array) -> Array:
    """A place below `most` for each row."""
    keys = example_keys(draw.key, rows.position)
    return jax.vmap(lambda key, most: jax.random.randint(key, (), 0, most))(keys, most)


@unchecked
def choose(draw: Draw, rows: Rows) -> Chosen:
    """The items that trials are about."""
    distances, listed = _searched(draw.gallery, rows, jnp.asarray(rows.query))
    order = jnp.argsort(jnp.where(listed, distances.other, jnp.inf), axis=1)
    count = jnp.sum(listed, axis=1)
    near = jnp.maximum((_NEAR * count).astype(count.dtype), 1)
    places = {
        "any": _drawn(draw, rows, count),
        "near": _drawn(draw, rows, near),
        "first": jnp.zeros_like(count),
        "first other": jnp.argmax(jnp.take_along_axis(distances.others, order, axis=1), axis=1),
    }
    place = jnp.stack([places[name] for name in CANDIDATES])[jnp.asarray(draw.candidate)]
    beside = jnp.arange(_GUARDS) % jnp.maximum(count - 1, 1)[:, None]
    chosen = jnp.concatenate([place[:, None], beside + (beside >= place[:, None])], axis=1)
    items = jnp.take_along_axis(order, chosen, axis=1).astype(jnp.int32)
    return Chosen(items[:, 0], items[:, 1:])


class _Trial(NamedTuple):
    """What does not change while images do."""

    changed: Changed
    shared: Shared
    rows: Rows

    def clean(self) -> Float[Array, "b D"]:
        """Clean features of what is attacked."""
        return jnp.asarray(self.rows.query) if self.changed == "query" else self.aim()

    def aim(self) -> Float[Array, "b D"]:
        """Clean features of the candidates."""
        assert self.rows.chosen is not None
        return jnp.asarray(self.shared.gallery)[jnp.asarray(self.rows.chosen.candidate)]

    def seen(self, features: Float[Array, "b D"]) -> Seen:
        """What there is to see with these features in place of the clean ones."""
        assert self.rows.chosen is not None
        candidate, guards = (jnp.asarray(part) for part in self.rows.chosen)
        query, moves = jnp.asarray(self.rows.query), self.changed == "query"
        distances, listed = _searched(self.shared.gallery, self.rows, features if moves else query)
        own = jnp.take_along_axis(distances.other, candidate[:, None], axis=1)[:, 0]
        return Seen(
            features=features,
            clean=self.clean(),
            aim=self.aim(),
            distances=distances,
            listed=listed,
            candidate=candidate,
            chosen=own if moves else euclidean(features, query),
            guards=guards,
        )

    def judged(self, features: Float[Array, "b D"]) -> tuple[PerImage, Met]:
        """What is climbed, and what has been achieved; NaN where a feature is not finite."""
        seen = self.seen(features)
        parts = [partial(objective, seen) for objective in OBJECTIVES.values()]
        value = jax.lax.switch(jnp.asarray(self.shared.objective), parts)
        measured = jnp.stack([measure.of(seen) for measure in MEASURES.values()], axis=1)
        finite = jnp.all(jnp.isfinite(features), axis=1, keepdims=True)
        measured = jnp.where(finite, measured, jnp.nan)
        signs = jnp.array([measure.sign for measure in MEASURES.values()])
        score = jnp.where(signs == 0, value[:, None], signs * measured)
        return value, jax.lax.stop_gradient(Met(measured, score))


@cache
def measure_program(changed: Changed) -> Callable[[Shared, Rows], Met]:
    """(shared, rows) -> what clean images come to."""

    @unchecked
    def run(shared: Shared, rows: Rows) -> Met:
        trial = _Trial(changed, shared, rows)
        return trial.judged(trial.clean())[1]

    return run


@cache
def attack_program(
    changed: Changed, steps: int, *, random: bool, best: bool
) -> Callable[[Shared, Rows], Met]:
    """(shared, rows) -> what the last image comes to, or, measure by measure, the best one."""

    @unchecked
    def run(shared: Shared, rows: Rows) -> Met:
        assert rows.images is not None
        trial, images = _Trial(changed, shared, rows), to_float(rows.images)
        threat = linf(shared.eps)
        keys = example_keys(shared.key, rows.position) if random else None
        flat = (jnp.asarray(shared.objective) == _SHIFT) & (not random)

        def judge(x: Array, number: ArrayLike) -> tuple[PerImage, Met]:
            features = features_of_rows(shared.embed, x, rows.cameras)
            value, met = trial.judged(features)
            # A distance has no slope where it is zero. The published code adds a little to every
            # component of the feature that it is measured from, which comes to this.
            first = flat & (jnp.asarray(number) == 0)
            return jnp.where(first, jnp.sum(features, axis=1), value), met

        def step(carry: tuple[Array, Met], number: Array) -> tuple[tuple[Array, Met], None]:
            x, kept = carry
            _, gradient, met = value_and_gradient(lambda x: judge(x, number), x)
            gradient = jnp.where(jnp.isfinite(gradient), gradient, 0)
            moved = threat.project(x + shared.step_size * threat.steepest(gradient), images)
            return (moved, better_of(kept, met) if best else met), None

        nothing = jnp.full((len(images), len(MEASURES)), -jnp.inf)
        start = starting_point(images, threat, keys, None), Met(nothing, nothing)
        (last, kept), _ = jax.lax.scan(step, start, jnp.arange(steps))
        met = judge(last, jnp.asarray(steps))[1]
        return better_of(kept, met) if best else met

    return run


@jax.jit
def better_of(first: Met, second: Met) -> Met:
    """Measure by measure what scores better; what is NaN stays so."""
    wins = (second.score > first.score) | jnp.isnan(second.score)
    return Met(*(jnp.where(wins, new, old) for new, old in zip(second, first, strict=True)))
