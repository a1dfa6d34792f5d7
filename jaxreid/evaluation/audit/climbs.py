"""An audit's own attacks on its sample: ascents by whose course one sees whether to trust them."""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxreid.attacks import THREATS, Judged, adaptive_ascent, search_at_random
from jaxreid.augmentation import to_float
from jaxreid.checks import unchecked
from jaxreid.constants import MAIN_PROTOCOL, NEAREST, Distance, Norm
from jaxreid.evaluation.audit.sample import Sample
from jaxreid.evaluation.embeds import features_of_rows
from jaxreid.evaluation.guidance import START, key_of
from jaxreid.evaluation.worst.attacker import floor_of
from jaxreid.random import example_keys
from jaxreid.ranking.lists import SearchLists, list_distances, search_lists
from jaxreid.ranking.standings import standing
from jaxreid.ranking.surrogates import nearest_others
from jaxreid.types import Array, ArrayLike, Embed, Embedded

__all__ = ["Climb", "Searched", "climb", "measured", "random_search", "searched"]


class Searched(NamedTuple):
    """A sample and what each of its queries looks for.

    Attributes:
        sample: S queries.
        lists: theirs.
        distance: "euclidean" or "cosine".
        norm: "linf" or "l2".
        floor: float64 [S], average precision where all matches come last.
    """

    sample: Sample
    lists: SearchLists
    distance: Distance
    norm: Norm
    floor: np.ndarray


class Climb(NamedTuple):
    """An ascent of S queries in T steps; arrays of NumPy once it came from the devices.

    Attributes:
        images: [S,H,W,3] float32 in [0, 1], of all met those of least average precision.
        value: [S,T+1], what was climbed.
        precision: [S,T+1], average precision of each image met, in [0, 1].
    """

    images: ArrayLike
    value: ArrayLike
    precision: ArrayLike

    @property
    def worst(self) -> np.ndarray:
        """Least average precision [S]; an image that gave NaN counts as found at once."""
        found: np.ndarray = np.min(self.precision, axis=1)
        return found


class Shared(NamedTuple):
    """What all rows of a program share; eps in pixel range."""

    embed: Embed
    gallery: ArrayLike
    key: Array
    eps: ArrayLike


class Rows(NamedTuple):
    """What each row of a program has of its own."""

    images: ArrayLike  # uint8, or floating point in [0, 1]
    cameras: np.ndarray
    position: np.ndarray
    matches: ArrayLike
    mask: ArrayLike
    others: ArrayLike


def searched(
    sample: Sample, query: Embedded, gallery: Embedded, distance: Distance, norm: Norm
) -> Searched:
    """Who is looked for, by the protocol's rules.

    Args:
        sample: S queries.
        query: the whole query set, clean.
        gallery: clean.
        distance: "euclidean" or "cosine".
        norm: of the budget.

    Returns:
        Searched.
    """
    own = Embedded(*(np.asarray(part)[sample.positions] for part in query))
    lists = search_lists(own, gallery)
    floor = floor_of(own, gallery)[MAIN_PROTOCOL]
    return Searched(sample, lists, distance, norm, floor)


def rows_of_sample(setting: Searched, images: ArrayLike | None = None) -> Rows:
    """The rows of a program over the sample; `images` in place of the clean ones."""
    sample, lists = setting.sample, setting.lists
    return Rows(
        sample.images if images is None else images,
        sample.cameras,
        sample.positions.astype(np.int32),
        lists.matches,
        lists.mask,
        lists.others,
    )


def _shared(setting: Searched, eps: float, key: Array) -> Shared:
    return Shared(setting.sample.embed, setting.lists.gallery, key, np.asarray(eps, np.float32))


def judge_of(shared: Shared, rows: Rows, distance: Distance) -> Callable[[Array], Judged]:
    """A function of images: what is climbed, and what decides: the negated average precision."""
    lists = SearchLists(shared.gallery, rows.matches, rows.mask, rows.others)

    def judge(images: Array) -> Judged:
        features = features_of_rows(shared.embed, images, rows.cameras)
        distances = list_distances(features, lists, distance=distance)
        precision = standing(distances).average_precision[MAIN_PROTOCOL]
        return Judged(nearest_others(distances, count=NEAREST), (-precision[:, None],))

    return judge


@cache
def _ascent(distance: Distance, norm: Norm, steps: int) -> Callable[[Shared, Rows], Climb]:
    @unchecked
    def run(shared: Shared, rows: Rows) -> Climb:
        found = adaptive_ascent(
            judge_of(shared, rows, distance),
            to_float(rows.images),
            threat=THREATS[norm](shared.eps),
            steps=steps,
            key=example_keys(shared.key, rows.position),
        )
        return Climb(found.kept[0].images, found.values.T, -found.history[0][..., 0].T)

    return run


def climb(setting: Searched, *, eps: float, steps: int, start: int = 0, seed: int = 0) -> Climb:
    """Climbs from a random start: one program for all budgets and starts.

    Args:
        setting: the sample and its searches.
        eps: budget in pixel range.
        steps: of the ascent.
        start: its number, for other random numbers.
        seed: likewise.

    Returns:
        Climb.
    """
    shared = _shared(setting, eps, jax.random.fold_in(key_of(seed, START), start))
    program = _ascent(setting.distance, setting.norm, steps)
    found: Climb = setting.sample.over(program, shared, rows_of_sample(setting))
    return found


@cache
def _painting(distance: Distance, norm: Norm, queries: int) -> Callable[[Shared, Rows], Array]:
    @unchecked
    def run(shared: Shared, rows: Rows) -> Array:
        judge = judge_of(shared, rows, distance)

        def score(images: Array) -> Array:
            judged = judge(images)
            # Where the precision is the same, distances tell which way is down.
            return jnp.concatenate([judged.deciding[0], judged.value[:, None]], axis=1)

        found = search_at_random(
            score,
            to_float(rows.images),
            threat=THREATS[norm](shared.eps),
            key=example_keys(shared.key, rows.position),
            queries=queries,
        )
        return -found.score[:, 0]

    return run


def random_search(setting: Searched, *, eps: float, queries: int, seed: int = 0) -> np.ndarray:
    """Least average precision [S] that a search without gradients finds.

    Args:
        setting: the sample and its searches.
        eps: budget in pixel range.
        queries: passes of each image.
        seed: of the random numbers.

    Returns:
        [S] in [0, 1].
    """
    shared = _shared(setting, eps, key_of(seed, START))
    program = _painting(setting.distance, setting.norm, queries)
    found: np.ndarray = setting.sample.over(program, shared, rows_of_sample(setting))
    return found


@cache
def _measuring(distance: Distance) -> Callable[[Shared, Rows], Array]:
    @unchecked
    def run(shared: Shared, rows: Rows) -> Array:
        return -judge_of(shared, rows, distance)(to_float(rows.images)).deciding[0][:, 0]

    return run


def measured(setting: Searched, images: np.ndarray | None = None) -> np.ndarray:
    """Average precision [S] of images in place of the clean ones, ties against the matches.

    Args:
        setting: the sample and its searches.
        images: [S,H,W,3], uint8 or float32 in [0, 1]; None for the clean ones.

    Returns:
        [S] in [0, 1].
    """
    shared = _shared(setting, 0.0, key_of(0, START))
    program = _measuring(setting.distance)
    found: np.ndarray = setting.sample.over(program, shared, rows_of_sample(setting, images))
    return found
