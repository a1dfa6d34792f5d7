"""What a report shows beside the metrics: rank lists with images, features before and after."""

import dataclasses
from collections.abc import Iterable

import numpy as np

from jaxreid.constants import Side
from jaxreid.data.batches import Images
from jaxreid.evaluation.features import rows_of
from jaxreid.evaluation.guidance import Targets
from jaxreid.evaluation.retrieval import RetrievalTest
from jaxreid.evaluation.scoring import evenly_spaced
from jaxreid.ranking import top_items
from jaxreid.records import Condition, Examples, FeatureMap, PerQuery
from jaxreid.types import Embedded

__all__ = ["example_queries", "examples_of", "feature_map", "first_items", "strongest"]

_ITEMS = 10


def strongest(conditions: Iterable[Condition]) -> set[Condition]:
    """The conditions to illustrate: of each attack the largest budget above 0, first seed."""
    best: dict[Condition, Condition] = {}
    for condition in conditions:
        # Steps of l2 attacks, and of attacks of one step, grow with eps: not a difference.
        attack = dataclasses.replace(condition, eps=0, step_size=0, seed=0)
        if condition.eps > 0 and condition.eps > best.get(attack, attack).eps:
            best[attack] = condition
    return set(best.values())


def example_queries(clean: PerQuery, count: int) -> np.ndarray:
    """Up to `count` queries to show, int64 [E], positions among the ranked queries.

    Spread over those whose first item is right without attack, or if those are too few over all
    that have a match.
    """
    right = np.flatnonzero(clean.first_match_rank == 1)
    candidates = right if len(right) >= count else np.flatnonzero(clean.valid)
    chosen: np.ndarray = candidates[evenly_spaced(len(candidates), count)]
    return chosen


def first_items(
    query: Embedded, gallery: Embedded, chosen: np.ndarray, condition: Condition
) -> tuple[np.ndarray, np.ndarray]:
    """Rank lists of the chosen [E] queries: positions in the gallery [E,K] and distances [E,K]."""
    return top_items(rows_of(query, chosen), gallery, count=_ITEMS, distance=condition.distance)


def examples_of(
    test: RetrievalTest,
    condition: Condition,
    chosen: np.ndarray,
    after: tuple[np.ndarray, np.ndarray],
    pictures: dict[int, np.ndarray],
) -> Examples:
    """Rank lists before and after an attack, with their images.

    Args:
        test: the retrieval test.
        condition: the attack.
        chosen: [E] positions among the ranked queries.
        after: rank lists after the attack, from `first_items`.
        pictures: position in the attacked split -> its adversarial image, float32 [H,W,3] in
            [0, 1]; images without one stayed as they were.
    """
    query, gallery = test.sets(condition)
    before = first_items(query, gallery, chosen, condition)
    source = test.source("query")
    positions = test.ranked[chosen]
    clean = _decoded(test, "query", positions)
    shown = clean.astype(np.float32) / 255
    after_images = _decoded(test, "gallery", after[0])
    if condition.side == "query":
        for row, position in enumerate(positions.tolist()):
            shown[row] = pictures.get(position, shown[row])
    else:
        for place in np.ndindex(*after[0].shape):
            picture = pictures.get(int(after[0][place]))
            if picture is not None:
                after_images[place] = np.round(255 * picture).astype(np.uint8)
    names = np.array(test.source("gallery").file_names, dtype=np.str_)
    correct = [
        np.asarray(gallery.identities)[items] == np.asarray(query.identities)[chosen][:, None]
        for items in (before[0], after[0])
    ]
    return Examples(
        names=np.array([source.file_names[i] for i in positions.tolist()], dtype=np.str_),
        identities=np.asarray(query.identities)[chosen],
        cameras=np.asarray(source.cameras)[positions],
        clean=clean,
        adversarial=shown,
        before_names=names[before[0]],
        before_images=_decoded(test, "gallery", before[0]),
        before_distances=before[1],
        before_correct=correct[0],
        after_names=names[after[0]],
        after_images=after_images,
        after_distances=after[1],
        after_correct=correct[1],
    )


def _decoded(test: RetrievalTest, side: Side, positions: np.ndarray) -> np.ndarray:
    """uint8 [...,H,W,3]."""
    loader = test.loader
    return Images(test.source(side), loader.size, loader.filter, None)(positions)


def feature_map(
    test: RetrievalTest,
    condition: Condition,
    chosen: np.ndarray,
    targets: Targets,
    adversarial: np.ndarray,
) -> FeatureMap:
    """Features of the people in the examples, clean and attacked, and of the other side's images.

    Args:
        test: the retrieval test.
        condition: the attack.
        chosen: [E] positions among the ranked queries.
        targets: the images attacked.
        adversarial: [T,D], their features after the attack.
    """
    query, gallery = test.sets(condition)
    other = gallery if condition.side == "query" else query
    people = np.unique(np.asarray(query.identities)[chosen])
    ours = np.isin(targets.identities, people)
    theirs = np.isin(np.asarray(other.identities), people)
    return FeatureMap(
        identities=targets.identities[ours],
        clean=targets.clean[ours],
        adversarial=adversarial[ours],
        other_identities=np.asarray(other.identities)[theirs],
        other=np.asarray(other.features)[theirs],
    )
