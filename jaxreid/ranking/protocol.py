"""Who counts: junk, distractors, same-camera images, and queries without a match."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jaxreid.checks import Sizes
from jaxreid.errors import InputError
from jaxreid.ranking.arguments import host_integers
from jaxreid.ranking.metrics import average_precision_sum, average_precision_trapezoid
from jaxreid.types import ArrayLike

__all__ = ["PROTOCOLS", "Matches", "Protocol", "cross_camera_matches", "retrievable"]


class Protocol(NamedTuple):
    """A way to turn ranks into one number.

    Attributes:
        average_precision: (ranks [Q,M], mask [Q,M]) -> average precision [Q] in [0, 1].
        counts_all: whether means run over all queries (those without a match count 0) or over the
            queries that have a match.
    """

    average_precision: Callable[[np.ndarray, np.ndarray], np.ndarray]
    counts_all: bool


PROTOCOLS = {
    "market1501": Protocol(average_precision_trapezoid, counts_all=True),
    "torchreid": Protocol(average_precision_sum, counts_all=False),
}


class Matches(NamedTuple):
    """The gallery items each query should find.

    Attributes:
        indices: [Q,M] int64 positions in the gallery, ascending; 0 where the mask is False.
        mask: [Q,M] boolean; True comes first.
    """

    indices: np.ndarray
    mask: np.ndarray


def retrievable(gallery_identities: ArrayLike) -> np.ndarray:
    """Which gallery items take part at all: everything but junk (identity -1).

    Distractors (identity 0) take part: they are wrong answers. Images of the query's identity from
    the query's camera take no part in that query only; see `cross_camera_matches`.

    Args:
        gallery_identities: [N] integer.

    Returns:
        [N] boolean.

    Raises:
        InputError: on another shape or dtype.
    """
    return host_integers("gallery_identities", gallery_identities, "N") != -1


def cross_camera_matches(
    query_identities: ArrayLike,
    query_cameras: ArrayLike,
    gallery_identities: ArrayLike,
    gallery_cameras: ArrayLike,
) -> Matches:
    """Gallery items with the query's identity, seen by another camera.

    Zheng et al., "Scalable Person Re-identification: A Benchmark", ICCV 2015,
    https://doi.org/10.1109/ICCV.2015.133.

    Args:
        query_identities: [Q] integer; 0 and -1 have no matches.
        query_cameras: [Q] integer.
        gallery_identities: [N] integer.
        gallery_cameras: [N] integer.

    Returns:
        Matches with indices [Q,M] and mask [Q,M]; M is the most matches of any query (at least 1).

    Raises:
        InputError: on other shapes or dtypes, or if there is no query or no gallery item.
    """
    sizes = Sizes()
    identities = host_integers("query_identities", query_identities, "Q", sizes)
    cameras = host_integers("query_cameras", query_cameras, "Q", sizes)
    others = host_integers("gallery_identities", gallery_identities, "N", sizes)
    other_cameras = host_integers("gallery_cameras", gallery_cameras, "N", sizes)
    if not len(identities) or not len(others):
        raise InputError("expected at least one query and one gallery item")
    order = np.argsort(others, kind="stable")
    start = np.searchsorted(others[order], identities, side="left")
    end = np.searchsorted(others[order], identities, side="right")
    end = np.where(identities > 0, end, start)

    slots = start[:, None] + np.arange(max(int((end - start).max()), 1))
    same = slots < end[:, None]
    items = order[np.minimum(slots, len(order) - 1)]
    mask = same & (other_cameras[items] != cameras[:, None])
    first = np.argsort(~mask, axis=1, kind="stable")[:, : max(int(mask.sum(axis=1).max()), 1)]
    mask = np.take_along_axis(mask, first, axis=1)
    return Matches(np.take_along_axis(items, first, axis=1) * mask, mask)
