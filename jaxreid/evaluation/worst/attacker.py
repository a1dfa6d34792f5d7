"""Who attacks: which lists the attacker climbs, and by which ranking he knows what is achieved.

All that tells one goal, side or knowledge from another stands here, beside the ranking that is
reported.
"""

from functools import cached_property
from typing import NamedTuple

import numpy as np

from jaxreid.constants import MAIN_PROTOCOL, Distance
from jaxreid.evaluation.features import rows_of
from jaxreid.evaluation.guidance import Targets
from jaxreid.evaluation.retrieval import RetrievalTest
from jaxreid.evaluation.worst.best import BY_PRECISION, BY_RANK, RowScores
from jaxreid.evaluation.worst.members import Metric
from jaxreid.ranking import (
    PROTOCOLS,
    Matches,
    cross_camera_matches,
    impersonation_ranks,
    match_ranks,
    retrievable,
)
from jaxreid.ranking.lists import aligned_size, search_lists
from jaxreid.records import Condition
from jaxreid.types import Embedded

__all__ = ["Attacker", "Lists", "attacker_of", "floor_of"]

# Of average precision: what is too little for another attack, and what is nothing.
_TOO_LITTLE, _ROUNDING = 0.01, 1e-9


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
        sought: int64 [T], the other people as whom the images want to be found; None where they
            are looked for as who they show.
    """

    query: Embedded
    gallery: Embedded
    own: np.ndarray | None = None
    sought: np.ndarray | None = None

    def sets(self) -> tuple[Embedded, Embedded]:
        """Both sets under the protocol's rules.

        Among guides each image is its own camera: none meets itself, and all others count.
        """
        if self.own is None:
            return self.query, self.gallery
        cameras = np.arange(len(np.asarray(self.gallery.identities)))
        return self.query._replace(cameras=self.own), self.gallery._replace(cameras=cameras)

    def matches(self) -> Matches:
        query, gallery = self.sets()
        if self.sought is not None:
            # By whichever camera: none of these images is the query's own.
            nowhere = np.full(len(self.sought), -1)
            anywhere = np.zeros(len(np.asarray(gallery.identities)), np.int64)
            return cross_camera_matches(self.sought, nowhere, gallery.identities, anywhere)
        return cross_camera_matches(
            query.identities, query.cameras, gallery.identities, gallery.cameras
        )

    def scores(self, features: np.ndarray, test: RetrievalTest, distance: Distance) -> RowScores:
        """Of the images with features [T,D]; ties go against whoever is to be found."""
        query, gallery = self.sets()
        query = query._replace(features=features)
        if self.sought is not None:
            found = impersonation_ranks(query, gallery, self.sought, distance=distance)
        else:
            devices = test.loader.devices
            found = match_ranks(
                query, gallery, distance=distance, ties="pessimistic", devices=devices
            )
        first = np.where(found.mask[:, 0], found.ranks[:, 0], 0)
        return RowScores(_precision(found.ranks, found.mask), first)


class Attacker:
    """The lists of T images, and rankings of whatever becomes of these.

    Args:
        test: the retrieval test.
        distance: "euclidean" or "cosine".
        lists: the search that the attacker knows; None where he knows none.
        reported: the search that is reported.

    Attributes:
        climbs: whether the attacker has lists at all.
        shares: whether the attacker ranks as the report does.
        evades: whether matches are to be found late; who impersonates wants them early.
        sign: +1 or -1 accordingly; surrogates and scores are taken times it.
        kind: which of the two best images stands for an attacked query where only one can.
        gallery: what is searched by the attacker's lists, filled up with junk.
    """

    def __init__(
        self, test: RetrievalTest, distance: Distance, lists: _Search | None, reported: _Search
    ) -> None:
        self._test, self._distance, self._reported = test, distance, reported
        self._lists = reported if lists is None else lists
        self.climbs = lists is not None
        self.shares = lists is reported
        self.evades = reported.sought is None
        self.sign = 1 if self.evades else -1
        self.kind = BY_PRECISION if self.evades else BY_RANK
        self.gallery = _filled_up(self._lists.gallery)

    @cached_property
    def _matches(self) -> Matches:
        return self._lists.matches()

    @property
    def matched(self) -> np.ndarray:
        """Which images have anybody to be found by, as far as is known: boolean [T]."""
        return self._matches.mask[:, 0]

    @cached_property
    def _floor(self) -> np.ndarray:
        """[T] average precision where all matches come last, as far as is known."""
        return floor_of(*self._lists.sets())[MAIN_PROTOCOL]

    def left(self, metric: Metric, scores: RowScores) -> np.ndarray:
        """Which images are worth another attack.

        Args:
            metric: "precision": their average precision can still change by more than 0.01, down to
                the floor or up to 1; "rank": their first item is what it should not be; "all":
                precision can change at all.
            scores: theirs so far, of the ranking that the attacker knows.

        Returns:
            boolean [T].
        """
        if metric == "rank":
            return self.matched & ((scores.first_rank == 1) == self.evades)
        precision = scores.precision[MAIN_PROTOCOL]
        change = precision - self._floor if self.evades else 1 - precision
        return self.matched & (change > (_TOO_LITTLE if metric == "precision" else _ROUNDING))

    def lists(self, rows: np.ndarray) -> Lists:
        """Lists of some images, all of one width.

        Args:
            rows: [b] positions among the T images.

        Returns:
            Lists.
        """
        search = self._lists
        found = search_lists(
            rows_of(search.query, rows),
            self.gallery,
            own_positions=None if search.own is None else search.own[rows],
            targets=None if search.sought is None else search.sought[rows],
            width=self._matches.mask.shape[1],
        )
        return Lists(*(np.asarray(part) for part in found[1:]))

    def known_scores(self, features: np.ndarray) -> RowScores:
        """Scores of the images by the ranking that the attacker knows; features [T,D]."""
        return self._lists.scores(features, self._test, self._distance)

    def reported_scores(self, features: np.ndarray) -> RowScores:
        """Scores of the images by the ranking that is reported; features [T,D]."""
        return self._reported.scores(features, self._test, self._distance)


def _precision(ranks: np.ndarray, mask: np.ndarray) -> dict[str, np.ndarray]:
    return {name: rules.average_precision(ranks, mask) for name, rules in PROTOCOLS.items()}


def floor_of(query: Embedded, gallery: Embedded) -> dict[str, np.ndarray]:
    """Average precision of each query where all its matches come last, by protocol."""
    mask = cross_camera_matches(
        query.identities, query.cameras, gallery.identities, gallery.cameras
    ).mask
    identities, own = np.asarray(gallery.identities), np.asarray(query.identities)
    names, counts = np.unique(identities[retrievable(identities)], return_counts=True)
    place = np.minimum(np.searchsorted(names, own), len(names) - 1)
    others = counts.sum() - np.where(names[place] == own, counts[place], 0)
    return _precision((others[:, None] + np.arange(1, mask.shape[1] + 1)) * mask, mask)


def _filled_up(gallery: Embedded) -> Embedded:
    """The gallery with as many rows as lists of it have, so that no batch copies it; by junk."""
    count = len(np.asarray(gallery.identities))
    size = aligned_size(count)
    return Embedded(
        np.asarray(gallery.features)[np.arange(size) % count],
        np.pad(np.asarray(gallery.identities), (0, size - count), constant_values=-1),
        np.pad(np.asarray(gallery.cameras), (0, size - count)),
    )


def attacker_of(
    test: RetrievalTest, condition: Condition, targets: Targets, gallery: Embedded | None = None
) -> Attacker:
    """Who is looked for where, by the condition's goal, side and knowledge.

    Queries are looked for in the gallery; each gallery image, which is attacked once for all
    queries, is looked for among these. Guides are the other images of the attacked split.

    Args:
        test: the retrieval test.
        condition: canonical, of an ensemble.
        targets: the images attacked, with whom they seek where they impersonate.
        gallery: what is searched in place of the clean gallery.

    Returns:
        Attacker.
    """
    clean = test.clean(condition.distance)
    queries, items = test.sets(condition)
    own = rows_of(clean.query if condition.side == "query" else clean.gallery, targets.indices)
    searched = queries if condition.side == "gallery" else (gallery or items)
    reported = _Search(own, searched, sought=targets.sought)
    lists: _Search | None = reported
    if condition.knowledge == "self":
        lists = None
    elif condition.knowledge == "guides":
        lists = _Search(own, targets.guide_set, targets.indices, targets.sought)
    return Attacker(test, condition.distance, lists, reported)
