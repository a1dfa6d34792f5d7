"""The worst that was met of each image so far: two images, their features and their scores."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

__all__ = ["BY_PRECISION", "BY_RANK", "Best", "Offer", "RowScores"]

BY_PRECISION, BY_RANK = 0, 1
"""Which of the two images: that of least average precision, or of the latest first match."""

_CLEAN = -1


class RowScores(NamedTuple):
    """How the search for each image ends, ties against the matches.

    Attributes:
        precision: protocol -> [T] average precision in [0, 1]; 0 without a match.
        first_rank: int64 [T], 1-based; 0 without a match.
    """

    precision: dict[str, np.ndarray]
    first_rank: np.ndarray

    def rows(self, rows: np.ndarray) -> "RowScores":
        """Those of some images."""
        precision = {name: part[rows] for name, part in self.precision.items()}
        return RowScores(precision, self.first_rank[rows])


class Offer(NamedTuple):
    """Images that were met, of some of the T, ranked.

    Attributes:
        rows: int64 [n], positions among the T images.
        images: float32 [n,H,W,3] in [0, 1].
        features: [n,D].
        scores: of these n.
    """

    rows: np.ndarray
    images: np.ndarray
    features: np.ndarray
    scores: RowScores


class Best:
    """Keeps, of all images offered, the one of least average precision and the one found latest.

    Ties go to the earlier one. The extremes of each score are kept beside: the least average
    precision by each protocol, and the latest first match, of all that was offered.

    Args:
        features: [T,D] of the clean images.
        scores: theirs.
        size: (height, width) of an image.
        sign: +1 where late is better for the attacker, -1 where early is.

    Attributes:
        images: float32 [2,T,H,W,3]; zeros where the clean image stands.
        features: [2,T,D].
        winner: int32 [2,T], number of the member that made the image; -1 for the clean one.
        scores: of the two images.
        precision: protocol -> [T], the extreme.
        first_rank: int64 [T], the extreme.
    """

    def __init__(
        self, features: np.ndarray, scores: RowScores, size: tuple[int, int], *, sign: int = 1
    ) -> None:
        count = len(features)
        self._sign = sign
        # Pages that nothing is written to take no memory.
        self.images = np.zeros((2, count, *size, 3), np.float32)
        self.features = np.stack([features, features])
        self.winner = np.full((2, count), _CLEAN, np.int32)
        self.scores = [scores.rows(np.arange(count)) for _ in range(2)]
        self.precision = {name: np.array(part) for name, part in scores.precision.items()}
        self.first_rank = np.array(scores.first_rank)

    def offer(self, offer: Offer, number: int) -> None:
        """Takes what is worse than all before.

        Args:
            offer: images of some rows, each row once.
            number: of the member.
        """
        rows = offer.rows
        for kind in (BY_PRECISION, BY_RANK):
            taken = self._ahead(offer.scores, self.scores[kind].rows(rows), kind)
            if taken.any():
                self._take(kind, offer, taken, number)
        later = np.maximum if self._sign > 0 else np.minimum
        earlier = np.minimum if self._sign > 0 else np.maximum
        for name, part in self.precision.items():
            part[rows] = earlier(part[rows], offer.scores.precision[name])
        self.first_rank[rows] = later(self.first_rank[rows], offer.scores.first_rank)

    def _ahead(self, new: RowScores, old: RowScores, kind: int) -> np.ndarray:
        """Which are better for the attacker: the second score decides where the first is equal.

        As `jaxreid.attacks.climbing.better`, but in float64, which does without a device.
        """
        scores = [
            [*(-part for part in one.precision.values()), one.first_rank] for one in (new, old)
        ]
        ahead = np.zeros(len(new.first_rank), bool)
        equal = ~ahead
        if kind == BY_RANK:
            scores = [one[::-1] for one in scores]
        for ours, theirs in zip(*scores, strict=True):
            ahead |= equal & (self._sign * ours > self._sign * theirs)
            equal &= ours == theirs
        return ahead

    def _take(self, kind: int, offer: Offer, taken: np.ndarray, number: int) -> None:
        rows = offer.rows[taken]
        self.images[kind, rows] = offer.images[taken]
        self.features[kind, rows] = offer.features[taken]
        self.winner[kind, rows] = number
        theirs, mine = offer.scores.rows(taken), self.scores[kind]
        mine.first_rank[rows] = theirs.first_rank
        for name, part in mine.precision.items():
            part[rows] = theirs.precision[name]

    def extremes(self) -> RowScores:
        """The worst of each score, of whatever images."""
        return RowScores(self.precision, self.first_rank)

    def arrays(self) -> dict[str, np.ndarray]:
        """All that is small, by name: the same arrays that `offer` changes."""
        arrays = {"winner": self.winner, "first_rank": self.first_rank}
        arrays |= {f"precision_{name}": part for name, part in self.precision.items()}
        for kind, scores in enumerate(self.scores):
            arrays[f"first_rank_{kind}"] = scores.first_rank
            arrays |= {f"precision_{name}_{kind}": p for name, p in scores.precision.items()}
        return arrays

    def made_by(self, number: int) -> dict[str, np.ndarray]:
        """The images that a member made and that still stand, with their features, by name."""
        made: dict[str, np.ndarray] = {}
        for kind, winner in enumerate(self.winner):
            rows = np.flatnonzero(winner == number)
            made |= {
                f"rows_{kind}": rows,
                f"images_{kind}": self.images[kind, rows],
                f"features_{kind}": self.features[kind, rows],
            }
        return made

    def put_back(self, made: Mapping[str, np.ndarray]) -> None:
        """Takes what `made_by` gave."""
        for kind in (BY_PRECISION, BY_RANK):
            rows = made[f"rows_{kind}"]
            self.images[kind, rows] = made[f"images_{kind}"]
            self.features[kind, rows] = made[f"features_{kind}"]
