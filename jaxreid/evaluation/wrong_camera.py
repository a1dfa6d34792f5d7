"""What clean retrieval is worth where every query is said to come from another camera."""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from jaxreid.cameras import wanted_cameras
from jaxreid.constants import MAIN_PROTOCOL
from jaxreid.data.source import ReidSource
from jaxreid.evaluation.features import Subset, extract
from jaxreid.records import Result, WrongCamera

if TYPE_CHECKING:
    from jaxreid.evaluation.retrieval import RetrievalTest

__all__ = ["with_wrong_camera"]


class _Mistaken(Subset):
    """Some images of a split, each said to be of the camera after its own, of so many."""

    def __init__(self, source: ReidSource, indices: np.ndarray, cameras: int) -> None:
        super().__init__(source, indices)
        self.cameras = (self.cameras + 1) % cameras


def with_wrong_camera(test: "RetrievalTest", result: Result) -> Result:
    """Adds to a clean result how much of it hangs on the true cameras of the queries.

    The ranked queries are embedded once more, with camera c + 1 in place of c (the first in place
    of the last), and look for the same gallery.

    Args:
        test: the retrieval test.
        result: of clean images.

    Returns:
        The same result where the embedding needs no cameras, or has but one.
    """
    distance = result.condition.distance
    embed = test.clean(distance).embed
    count = wanted_cameras(embed)
    if count < 2:
        return result
    query, gallery = test.sets(result.condition)

    def report(done: int, total: int) -> None:
        if test.progress is not None:
            test.progress("wrong cameras", done, total)

    mistaken = _Mistaken(test.source("query"), test.ranked, count)
    found = extract(embed, mistaken, **test.loader._asdict(), progress=report).features
    scored = test.score(query._replace(features=found), gallery, distance, rerank=False)
    score = scored.scores[MAIN_PROTOCOL]
    changed = WrongCamera(
        cameras=count,
        change=_change(np.asarray(query.features), np.asarray(found)),
        mean_average_precision=score.mean_average_precision,
        rank1=score.rank1,
    )
    return dataclasses.replace(result, wrong_camera=changed)


def _change(before: np.ndarray, after: np.ndarray) -> float:
    """Median over images of ||after - before|| / ||before||, features [N,D]."""
    moved = np.linalg.norm(after - before, axis=1)
    lengths = np.linalg.norm(before, axis=1)
    return float(np.median(moved / np.where(lengths > 0, lengths, 1)))
