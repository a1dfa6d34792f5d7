"""What an attacker makes of a rank list: how far it is from not showing the person any more."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from jaxreid.checks import Sizes, check_integers
from jaxreid.errors import InputError
from jaxreid.evaluation.blackbox.ranker import NOTHING
from jaxreid.types import ArrayLike

__all__ = ["People", "Seen", "seen_in"]

_MATCH, _OTHER, _LEFT_OUT = 1, 0, -1


class People(NamedTuple):
    """Who is in the pictures, as far as the attacker knows.

    Attributes:
        identities: [B] integer, of the queries; positive.
        cameras: [B] integer, who took the queries.
        gallery_identities: [N] integer, of the items; 0 is a distractor, -1 junk.
        gallery_cameras: [N] integer. Where no cameras are known, any that differ from the queries'.
    """

    identities: np.ndarray
    cameras: np.ndarray
    gallery_identities: np.ndarray
    gallery_cameras: np.ndarray

    def relations(self) -> Int[np.ndarray, "B N"]:
        """What each item is to each query, by the protocol.

        Returns:
            int8 [B,N]: 1 for a match, 0 for another person, -1 for what takes no part, which is
            junk and the query's person by the query's camera.

        Raises:
            InputError: on other shapes or dtypes, or identities of queries below 1.
        """
        sizes = Sizes()
        for name, axis in zip(self._fields, "BBNN", strict=True):
            sizes.check(name, getattr(self, name), axis)
            check_integers(name, getattr(self, name))
        if (np.asarray(self.identities) < 1).any():
            raise InputError("identities must be positive: distractors and junk are not attacked")
        same = self.identities[:, None] == self.gallery_identities
        left_out = same & (self.cameras[:, None] == self.gallery_cameras)
        relations = np.where(same, _MATCH, _OTHER).astype(np.int8)
        relations[left_out | (self.gallery_identities == -1)] = _LEFT_OUT
        return relations


class Seen(NamedTuple):
    """What lists show.

    Attributes:
        first: int32 [B], rank of the first match among what takes part, from 1; top + 1 where the
            list shows none.
        value: float32 [B], the larger the better for the attacker; see `seen_in`.
        score: float32 [B,L], by which images are compared, column after column; see `seen_in`.
    """

    first: np.ndarray
    value: np.ndarray
    score: np.ndarray

    @property
    def found(self) -> Bool[np.ndarray, " B"]:
        """Whether the first item is a match, boolean [B]."""
        return self.first == 1


def seen_in(
    relations: Int[ArrayLike, "B N"],
    items: Int[np.ndarray, "B k"],
    scores: Float[np.ndarray, "B k"] | None = None,
) -> Seen:
    """What an attacker reads in rank lists.

    Of a list alone, ranks r of the matches that it shows,

        ``value = -sum_r 1 / log2(1 + r)``,  ``score = (r_1, value)``:

    the (negative) discounted cumulative gain of Järvelin and Kekäläinen, ACM TOIS 2002,
    https://doi.org/10.1145/582415.582418, which moves whenever a match does. Where scores s are
    seen,

        ``value = max_others s - max_matches s``,  ``score = (r_1 > 1, value, -gain)``;

    of a kind that the list does not show, s is at most that of the last item, which is taken for
    it. Whoever is still found first has a lower score than whoever is not, in both.

    Args:
        relations: int8 [B,N], from `People.relations`.
        items: int32 [B,k], the lists; -1 after their end.
        scores: float32 [B,k], falling along a list; None where they are not seen.

    Returns:
        Seen.
    """
    shown = items != NOTHING
    relation = np.take_along_axis(np.asarray(relations), np.maximum(items, 0), axis=1)
    matches, others = shown & (relation == _MATCH), shown & (relation == _OTHER)
    rank = np.cumsum(matches | others, axis=1)
    gain = np.where(matches, 1 / np.log2(1 + np.maximum(rank, 1)), 0).sum(axis=1)
    first = np.where(matches, rank, items.shape[1] + 1).min(axis=1).astype(np.int32)
    if scores is None:
        value = -gain
        columns = [first, value]
    else:
        least = np.where(shown, scores, np.inf).min(axis=1)
        least[~shown.any(axis=1)] = 0
        nearest_other, nearest_match = (
            np.maximum(np.where(kind, scores, -np.inf).max(axis=1), least)
            for kind in (others, matches)
        )
        value = nearest_other - nearest_match
        columns = [first > 1, value, -gain]
    as_float = [np.asarray(column, np.float32) for column in (value, *columns)]
    return Seen(first, as_float[0], np.stack(as_float[1:], axis=1))
