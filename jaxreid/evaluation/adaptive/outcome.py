"""What attacked queries leave: ranked as `jaxreid evaluate` ranks, and seen by a detector."""

from typing import NamedTuple

import numpy as np

from jaxreid.constants import Distance, Side
from jaxreid.distances import euclidean
from jaxreid.evaluation.defended import detection_threshold, through
from jaxreid.evaluation.features import Subset, extract
from jaxreid.evaluation.retrieval import RetrievalTest
from jaxreid.evaluation.scoring import Scored
from jaxreid.ranking import retrievable
from jaxreid.records import Alarms, Condition, Detected, Left

__all__ = ["Detector", "Outcome", "detector_of"]


class Detector(NamedTuple):
    """A detector whose threshold is set.

    Attributes:
        threshold: an image whose score is above it raises an alarm.
        clean: float32 [T], scores of the queries before they are attacked.
    """

    threshold: float
    clean: np.ndarray


def detector_of(
    test: RetrievalTest, behind: Detected, rows: np.ndarray, distance: Distance
) -> Detector:
    """Sets the threshold of a detector on the clean gallery, junk left out.

    Args:
        test: whose gallery it is.
        behind: the detector.
        rows: [T] positions of the queries that will be attacked: they have no say in it.
        distance: by which features are compared.

    Returns:
        Detector.
    """
    clean = test.clean(distance)
    squeezed = through(clean.embed, behind.defense)
    gallery = np.flatnonzero(retrievable(np.asarray(clean.gallery.identities)))

    def scores(side: Side, rows: np.ndarray, before: int) -> np.ndarray:
        def report(done: int, _: int) -> None:
            if test.progress is not None:
                test.progress("detector", before + done, images)

        source = Subset(test.source(side), rows)
        moved = extract(squeezed, source, **test.loader._asdict(), progress=report).features
        return np.asarray(euclidean(np.asarray(getattr(clean, side).features)[rows], moved))

    images = len(gallery) + len(rows)
    threshold = detection_threshold(scores("gallery", gallery, 0), behind.false_alarms)
    return Detector(threshold, scores("query", rows, len(gallery)))


class Outcome(NamedTuple):
    """What is left of a ranking, by whatever becomes of its queries.

    Attributes:
        test: the retrieval test.
        rows: [T] positions of the attacked queries.
        distance: by which features are compared.
        detector: None where re-ranking stands behind the network.
    """

    test: RetrievalTest
    rows: np.ndarray
    distance: Distance
    detector: Detector | None

    def clean(self) -> Left:
        """Before any attack."""
        scored = self.test.clean_score(self.distance)
        return self._left(scored, None if self.detector is None else self.detector.clean)

    def attacked(self, features: np.ndarray, scores: np.ndarray) -> Left:
        """With features [T,D] in place of the clean ones, and the detector's scores [T]."""
        sets = self.test.sets(Condition(distance=self.distance), (self.rows, features))
        scored = self.test.score(*sets, self.distance, rerank=self.detector is None)
        return self._left(scored, scores)

    def _left(self, scored: Scored, scores: np.ndarray | None) -> Left:
        if self.detector is None:
            return Left(scored.scores, reranked=scored.reranked)
        raised = np.asarray(scores) > self.detector.threshold
        # Among the queries that are ranked, some of which have no match.
        places = np.searchsorted(self.test.ranked, self.rows)
        before, after = self.test.clean_score(self.distance).per_query, scored.per_query
        first, still = (each.first_match_rank[places] == 1 for each in (before, after))
        precision = np.array(after.market1501)
        precision[places[raised]] = before.market1501[places[raised]]
        alarms = Alarms(
            raised=float(raised.mean()),
            unnoticed=float((first & ~still & ~raised).mean()),
            mean_average_precision=float(precision.mean()),
        )
        return Left(scored.scores, alarms=alarms)
