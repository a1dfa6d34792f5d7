"""To be found as another person: the lists of an ensemble that impersonates."""

from functools import cached_property, partial
from typing import Any

import numpy as np

from jaxreid.evaluation.features import rows_of
from jaxreid.evaluation.guidance import Targets
from jaxreid.evaluation.retrieval import RetrievalTest
from jaxreid.evaluation.worst.aims import Aim, Lists, RowScores, aim_of
from jaxreid.evaluation.worst.best import BY_RANK
from jaxreid.ranking import PROTOCOLS, MatchRanks, impersonation_ranks, search_lists
from jaxreid.records import Condition

__all__ = ["posing"]

# Below an average precision of 1: what is not worth another attack, and rounding.
_NEAR, _ROUNDING = 0.01, 1e-9


class _Posing(Aim):
    """The lists of people who are sought, and rankings of these, ties for the impersonator.

    Everything is the other way round: matches are the images of the sought person, by any camera,
    others are all else that takes part, the query's own person included, and scores are to rise.
    """

    sign = -1
    kind = BY_RANK
    about_owner = False

    def __init__(self, *searches: Any, sought: np.ndarray) -> None:
        super().__init__(*searches)
        self._sought = sought

    @cached_property
    def _standing(self) -> MatchRanks:
        """Of the clean images, by the lists that are known."""
        query, gallery = self._lists.plain()
        return impersonation_ranks(query, gallery, self._sought, distance=self._distance)

    @property
    def matched(self) -> np.ndarray:
        """Which images have anybody to be found as: boolean [T]."""
        return self._standing.mask[:, 0]

    def left(self, goal: str, scores: RowScores) -> np.ndarray:
        """Which images can still gain something, [T]: the first rank, or precision up to 1."""
        if goal == "rank":
            return self.matched & (scores.first_rank > 1)
        below = 1 - scores.precision["market1501"]
        return self.matched & (below > (_NEAR if goal == "precision" else _ROUNDING))

    def lists(self, rows: np.ndarray) -> Lists:
        """Lists of some images, all of one width: [b] positions among the T images."""
        found = search_lists(
            rows_of(self._lists.query, rows),
            self.gallery,
            own_positions=None if self._lists.own is None else self._lists.own[rows],
            targets=self._sought[rows],
            width=self._standing.mask.shape[1],
        )
        return Lists(*(np.asarray(part) for part in found[1:]))

    def known(self, features: np.ndarray) -> RowScores:
        """Scores of the sought people by the ranking that the attacker knows; features [T,D]."""
        return self._scores(features, *self._lists.plain())

    def judged(self, features: np.ndarray) -> RowScores:
        """Scores of the sought people by the ranking that is reported; features [T,D]."""
        return self._scores(features, *self._reported.plain())

    def _scores(self, features: np.ndarray, query: Any, gallery: Any) -> RowScores:
        attacked = query._replace(features=features)
        found = impersonation_ranks(attacked, gallery, self._sought, distance=self._distance)
        precision = {
            name: rules.average_precision(found.ranks, found.mask)
            for name, rules in PROTOCOLS.items()
        }
        return RowScores(precision, found.ranks[:, 0])


def posing(test: RetrievalTest, condition: Condition, targets: Targets) -> Aim:
    """Whom queries want to be found as, and where.

    Args:
        test: the retrieval test.
        condition: canonical, of an ensemble, with the goal "impersonate".
        targets: the images attacked, with whom they seek.

    Returns:
        Aim.
    """
    assert targets.sought is not None
    return aim_of(test, condition, targets, build=partial(_Posing, sought=targets.sought))
