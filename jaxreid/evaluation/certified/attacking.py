"""What an attack through the noise leaves of a ranking by smoothed features."""

import dataclasses
from pathlib import Path

import jax
import numpy as np

from jaxreid.evaluation.certified.estimates import means_of_images
from jaxreid.evaluation.certified.smoothing import Smoothed
from jaxreid.evaluation.features import Subset
from jaxreid.evaluation.grid import conditions
from jaxreid.evaluation.retrieval import RetrievalTest
from jaxreid.evaluation.scoring import Scored
from jaxreid.evaluation.worst import amount_of_work, forget, worst_case
from jaxreid.evaluation.worst.outcome import Extremes
from jaxreid.records import Score
from jaxreid.types import Embedded

__all__ = ["Attacked"]

# What the attack climbs: as many draws as give a direction. What it finds is ranked by other ones.
_DRAWS = 8
_SEARCH, _JUDGE = 1, 2


class Attacked:
    """A retrieval test by smoothed features, to be attacked at several radii.

    Args:
        test: the retrieval test of the model that is smoothed.
        sets: ranked queries and gallery, with estimated features.
        clean: their ranking, ties against the matches.
        embed: by which the gallery was estimated; what is found is estimated by as many draws.
        folder: of the run; an interrupted search goes on from it.
    """

    def __init__(
        self,
        test: RetrievalTest,
        sets: tuple[Embedded, Embedded],
        clean: Scored,
        *,
        embed: Smoothed,
        folder: Path,
    ) -> None:
        self._test, self._sets, self._clean, self._folder = test, sets, clean, folder
        search = dataclasses.replace(embed, key=jax.random.key(_SEARCH), samples=_DRAWS)
        self._judge = dataclasses.replace(embed, key=jax.random.key(_JUDGE))
        self._searched = RetrievalTest(
            search,
            Subset(test.source("query"), test.ranked),
            test.source("gallery"),
            loader=test.loader,
            cameras=test.cameras,
            progress=test.progress,
        )

    def scores(self, radius: float) -> dict[str, Score]:
        """Scores that the quick worst case leaves, its images ranked anew by other noise.

        Args:
            radius: above 0, L2 length of the change in pixel range.

        Returns:
            Protocol -> Score: per query the least average precision and the latest first match of
            the clean image and of both images that the ensemble kept.

        Raises:
            InputError: as `worst_case` does.
        """
        test, condition = self._test, conditions(["worst-quick"], [radius], norm="l2")[-1]
        total = amount_of_work(condition, len(self._searched.attackable("query")))
        what = f"attack at {radius:g}"
        worst = worst_case(
            self._searched,
            condition,
            folder=self._folder,
            progress=lambda done: _say(test, what, done, total),
        )
        rows, extremes = worst.targets.indices, Extremes(self._clean.per_query)
        cameras = np.asarray(self._searched.source("query").cameras, np.int32)[rows]
        scores = self._clean.scores
        for images, changed in zip(worst.images, worst.changed, strict=True):
            if changed.any():
                found = means_of_images(
                    self._judge,
                    images[changed],
                    cameras[changed],
                    loader=test.loader,
                    progress=lambda done, total: _say(test, f"ranking at {radius:g}", done, total),
                )
                scored = self._ranked(rows[changed], found)
                extremes.lower(scored.per_query)
                scores = scored.scores
        forget(self._folder, condition)
        return extremes.scores(scores)

    def _ranked(self, rows: np.ndarray, features: np.ndarray) -> Scored:
        query, gallery = self._sets
        whole = np.array(query.features)
        whole[rows] = features
        sets = query._replace(features=whole), gallery
        return self._test.score(*sets, "euclidean", ties="pessimistic", rerank=False)


def _say(test: RetrievalTest, what: str, done: int, total: int) -> None:
    if test.progress is not None:
        test.progress(what, done, total)
