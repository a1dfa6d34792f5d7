"""From the worst that was met to what is reported: scores per query, and how they came about."""

import numpy as np

from jaxreid.evaluation.scoring import Scored
from jaxreid.evaluation.worst.attacker import floor_of
from jaxreid.evaluation.worst.best import Best
from jaxreid.evaluation.worst.searching import Setting, finished
from jaxreid.ranking import PROTOCOLS, cumulative_matching
from jaxreid.records import PerQuery, Score
from jaxreid.types import Embedded

__all__ = ["Extremes", "Ranking", "in_eight_bits"]


class Extremes:
    """The worst of each query over several rankings.

    Args:
        clean: the first of them.

    Attributes:
        precision: protocol -> [Q], least average precision.
        first_rank: int64 [Q], latest first match; 0 without a match.
    """

    def __init__(self, clean: PerQuery) -> None:
        self.precision = {name: np.array(getattr(clean, name)) for name in PROTOCOLS}
        self.first_rank = np.array(clean.first_match_rank)
        self._clean = clean

    def lower(self, found: PerQuery) -> None:
        """Takes another ranking into account."""
        for name, part in self.precision.items():
            np.minimum(part, getattr(found, name), out=part)
        np.maximum(self.first_rank, found.first_match_rank, out=self.first_rank)

    def put(self, rows: np.ndarray, best: Best) -> None:
        """Takes over what is known of some queries, [T] positions among them."""
        for name, part in self.precision.items():
            part[rows] = best.precision[name]
        self.first_rank[rows] = best.first_rank

    def per_query(self) -> PerQuery:
        """As a run folder holds it."""
        clean = self._clean
        return PerQuery(
            identities=clean.identities,
            cameras=clean.cameras,
            valid=clean.valid,
            first_match_rank=self.first_rank,
            **self.precision,
        )

    def scores(self, one_image: dict[str, Score]) -> dict[str, Score]:
        """Means over the queries; mINP, which needs a ranking as a whole, is the one image's."""
        found, valid = {}, int(self._clean.valid.sum())
        for name, rules in PROTOCOLS.items():
            count = len(self.first_rank) if rules.counts_all else valid
            curve = cumulative_matching(self.first_rank, max_rank=10, queries=count)
            found[name] = Score(
                float(self.precision[name].sum() / count),
                float(curve[0]),
                float(curve[4]),
                float(curve[9]),
                one_image[name].mean_inverse_negative_penalty,
            )
        return found


class Ranking:
    """Ranks a whole test with some images of one side attacked, ties against the matches.

    Args:
        setting: what the ensemble is about.
        gallery: what is searched in place of the clean gallery.
    """

    def __init__(self, setting: Setting, gallery: Embedded | None) -> None:
        self._setting, self._gallery = setting, gallery
        self.clean = self.scored(np.asarray(setting.targets.clean))

    @property
    def rows(self) -> np.ndarray:
        """Positions of the attacked queries among the ranked ones, int64 [T]."""
        return np.searchsorted(self._setting.test.ranked, self._setting.targets.indices)

    def sets(self, features: np.ndarray) -> tuple[Embedded, Embedded]:
        """Queries and gallery with features [T,D] of the attacked images."""
        test, condition, targets, _ = self._setting
        query, gallery = test.sets(condition, (targets.indices, features))
        return query, gallery if self._gallery is None else self._gallery

    def scored(self, features: np.ndarray, *, rerank: bool = False) -> Scored:
        """Ranks with features [T,D] of the attacked images."""
        test, condition, _, _ = self._setting
        sets = self.sets(features)
        return test.score(*sets, condition.distance, ties="pessimistic", rerank=rerank)

    def floor(self) -> dict[str, float]:
        """Protocol -> mAP where every match comes last."""
        lowest = floor_of(*self.sets(np.asarray(self._setting.targets.clean)))
        valid = int(self.clean.per_query.valid.sum())
        return {
            name: float(part.sum() / (len(part) if PROTOCOLS[name].counts_all else valid))
            for name, part in lowest.items()
        }


def in_eight_bits(setting: Setting, ranking: Ranking, best: Best) -> tuple[dict[str, Score], float]:
    """Scores by protocol of the images rounded to 8 bits, and their largest change in 1/255."""
    attacker = setting.attacker
    rounded, change = finished(setting, best)
    levels = [ranking.scored(features) for features in rounded]
    found = Extremes(ranking.clean.per_query)
    for scored in levels:
        found.lower(scored.per_query)
    one = levels[attacker.kind]
    if not attacker.evades:
        found = Extremes(one.per_query)
    return found.scores(one.scores), float(change.max(initial=0))
