"""What an ensemble is after: in which lists its images are looked for, and what that is worth.

All that tells one goal, side or knowledge from another stands here: the lists that the attacker
climbs, the ranking by which he knows what he has, and the ranking that is reported.
"""

from collections.abc import Callable
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np

from jaxreid.constants import Distance
from jaxreid.evaluation.features import rows_of
from jaxreid.evaluation.guidance import Targets
from jaxreid.evaluation.retrieval import RetrievalTest
from jaxreid.ranking import PROTOCOLS, Matches, cross_camera_matches, match_ranks, retrievable
from jaxreid.ranking.lists import search_lists
from jaxreid.records import Condition
from jaxreid.types import Embedded

__all__ = ["Aim", "Lists", "RowScores", "aim_of", "floor_of"]

Goal = Literal["precision", "rank", "all"]

# By which average precision it is decided whether anything is left to lose, and what is too little.
_DECIDING, _NEAR, _ROUNDING = "market1501", 0.01, 1e-9


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


class Lists(NamedTuple):
    """Lists of a batch, as `jaxreid.ranking.lists.SearchLists` without the gallery they share."""

    matches: np.ndarray
    mask: np.ndarray
    others: np.ndarray


class _Search(NamedTuple):
    """Who is looked for, and where.

    Attributes:
        query: T images.
        gallery: N items.
        own: [T], where the gallery holds the images themselves; None where it does not.
    """

    query: Embedded
    gallery: Embedded
    own: np.ndarray | None = None

    def plain(self) -> tuple[Embedded, Embedded]:
        """Both sets under the protocol's rules.

        Among guides each image is its own camera: none meets itself, and all others count.
        """
        if self.own is None:
            return self.query, self.gallery
        cameras = np.arange(len(np.asarray(self.gallery.identities)))
        return self.query._replace(cameras=self.own), self.gallery._replace(cameras=cameras)

    def matches(self) -> Matches:
        query, gallery = self.plain()
        return cross_camera_matches(
            query.identities, query.cameras, gallery.identities, gallery.cameras
        )

    def scores(self, features: np.ndarray, test: RetrievalTest, distance: Distance) -> RowScores:
        query, gallery = self.plain()
        ranks = match_ranks(
            query._replace(features=features),
            gallery,
            distance=distance,
            ties="pessimistic",
            devices=test.loader.devices,
        )
        precision = {
            name: rules.average_precision(ranks.ranks, ranks.mask)
            for name, rules in PROTOCOLS.items()
        }
        return RowScores(precision, np.where(ranks.mask[:, 0], ranks.ranks[:, 0], 0))


class Aim:
    """The lists of T images, and rankings of whatever becomes of these.

    Args:
        test: the retrieval test.
        distance: "euclidean" or "cosine".
        lists: the search that the attacker knows; None where he knows none.
        reported: the search that is reported.

    Attributes:
        climbs: whether the attacker has lists at all.
        sign: +1 to be found late, -1 to be found early; surrogates and scores are taken times it.
        gallery: what is searched by the attacker's lists, filled up with junk.
        kind: which of the two images is the one that is shown.
        about_owner: whether the scores of its search are those that are reported: of who is in the
            image.
    """

    sign = 1
    kind = 0
    about_owner = True

    def __init__(
        self, test: RetrievalTest, distance: Distance, lists: _Search | None, reported: _Search
    ) -> None:
        self._test, self._distance, self._reported = test, distance, reported
        self.climbs = lists is not None
        self._lists = reported if lists is None else lists
        self.gallery = _filled_up(self._lists)

    @property
    def shares(self) -> bool:
        """Whether the attacker ranks as the report does."""
        return self.climbs and self._lists is self._reported

    @cached_property
    def _known(self) -> Matches:
        return self._lists.matches()

    @property
    def matched(self) -> np.ndarray:
        """Which images have anybody to be found by, as far as is known: boolean [T]."""
        return self._known.mask[:, 0]

    @cached_property
    def floor(self) -> dict[str, np.ndarray]:
        """Protocol -> [T] average precision where all matches come last, as far as is known."""
        return floor_of(*self._lists.plain())

    def left(self, goal: Goal, scores: RowScores) -> np.ndarray:
        """Which images can still lose something.

        Args:
            goal: "precision": their average precision is not near the floor; "rank": the first item
                is a match; "all": the floor itself is not reached.
            scores: theirs so far, of the ranking that the attacker knows.

        Returns:
            boolean [T].
        """
        if goal == "rank":
            return self.matched & (scores.first_rank == 1)
        above = scores.precision[_DECIDING] - self.floor[_DECIDING]
        return self.matched & (above > (_NEAR if goal == "precision" else _ROUNDING))

    def lists(self, rows: np.ndarray) -> Lists:
        """Lists of some images, all of one width.

        Args:
            rows: [b] positions among the T images.

        Returns:
            Lists.
        """
        own = None if self._lists.own is None else self._lists.own[rows]
        found = search_lists(
            rows_of(self._lists.query, rows),
            self.gallery,
            own_positions=own,
            width=self._known.mask.shape[1],
        )
        return Lists(*(np.asarray(part) for part in found[1:]))

    def known(self, features: np.ndarray) -> RowScores:
        """Scores of the images by the ranking that the attacker knows; features [T,D]."""
        return self._lists.scores(features, self._test, self._distance)

    def judged(self, features: np.ndarray) -> RowScores:
        """Scores of the images by the ranking that is reported; features [T,D]."""
        return self._reported.scores(features, self._test, self._distance)


def floor_of(query: Embedded, gallery: Embedded) -> dict[str, np.ndarray]:
    """Average precision of each query where all its matches come last, by protocol."""
    mask = cross_camera_matches(
        query.identities, query.cameras, gallery.identities, gallery.cameras
    ).mask
    identities, own = np.asarray(gallery.identities), np.asarray(query.identities)
    names, counts = np.unique(identities[retrievable(identities)], return_counts=True)
    place = np.minimum(np.searchsorted(names, own), len(names) - 1)
    others = counts.sum() - np.where(names[place] == own, counts[place], 0)
    ranks = (others[:, None] + np.arange(1, mask.shape[1] + 1)) * mask
    return {name: rules.average_precision(ranks, mask) for name, rules in PROTOCOLS.items()}


def _filled_up(lists: _Search) -> Embedded:
    """The gallery with as many rows as lists of it have, so that no batch copies it; by junk."""
    count = len(np.asarray(lists.gallery.identities))
    first = np.arange(1)
    own = None if lists.own is None else lists.own[first]
    size = len(search_lists(rows_of(lists.query, first), lists.gallery, own_positions=own).gallery)
    return Embedded(
        np.asarray(lists.gallery.features)[np.arange(size) % count],
        np.pad(np.asarray(lists.gallery.identities), (0, size - count), constant_values=-1),
        np.pad(np.asarray(lists.gallery.cameras), (0, size - count)),
    )


def aim_of(
    test: RetrievalTest,
    condition: Condition,
    targets: Targets,
    gallery: Embedded | None = None,
    *,
    build: Callable[..., Aim] = Aim,
) -> Aim:
    """Who is looked for where, by the condition's side and knowledge.

    Queries are looked for in the gallery; each gallery image, which is attacked once for all
    queries, is looked for among these. Guides are the other images of the attacked split.

    Args:
        test: the retrieval test.
        condition: canonical, of an ensemble.
        targets: the images attacked.
        gallery: what is searched in place of the clean gallery.
        build: what is made of the two searches.

    Returns:
        Aim.
    """
    clean = test.clean(condition.distance)
    queries, items = test.sets(condition)
    own = rows_of(clean.query if condition.side == "query" else clean.gallery, targets.indices)
    searched = queries if condition.side == "gallery" else (gallery or items)
    reported = _Search(own, searched)
    lists: _Search | None = reported
    if condition.knowledge == "self":
        lists = None
    elif condition.knowledge == "guides":
        lists = _Search(own, targets.guide_set, targets.indices)
    return build(test, condition.distance, lists, reported)
