"""Which queries are ranked, which of them have anything to find, and what to say where none has."""

import zlib
from typing import Literal, get_args

import numpy as np

from jaxreid.checks import check_choice
from jaxreid.data.read.source import ReidSource
from jaxreid.errors import InputError
from jaxreid.ranking import cross_camera_matches

__all__ = ["Cameras", "camera_labels", "evenly_spaced", "refuse_matchless", "with_match"]

Cameras = Literal["differ", "ignore"]
"""Whether a match must be taken by another camera than the query, or cameras are not looked at."""


def evenly_spaced(count: int, limit: int | None) -> np.ndarray:
    """Positions spread over a list: splits are sorted by person, and a quick look wants many.

    Args:
        count: length of the list.
        limit: how many to take at most; None for all.

    Returns:
        int64 [min(count, limit)], ascending.

    Raises:
        InputError: limit is below 1.
    """
    if limit is None or limit >= count:
        return np.arange(count)
    if limit < 1:
        raise InputError(f"limit must be at least 1, got {limit}")
    return np.arange(limit) * count // limit


def camera_labels(
    query: ReidSource, gallery: ReidSource, cameras: Cameras
) -> tuple[np.ndarray, np.ndarray]:
    """What stands for the camera in the rule that leaves out a query's own images.

    Without cameras only the query's own image is left out, where the gallery holds it: the labels
    are then equal where files are, byte by byte (CRC-32).

    Args:
        query: Q images.
        gallery: N images.
        cameras: "differ" or "ignore".

    Returns:
        int64 [Q] and [N].

    Raises:
        InputError: cameras is something else.
    """
    check_choice("cameras", cameras, get_args(Cameras))
    if cameras == "differ":
        return np.asarray(query.cameras), np.asarray(gallery.cameras)
    contents = [_checksums(source) for source in (query, gallery)]
    _, labels = np.unique(np.concatenate(contents), return_inverse=True)
    return labels[: len(query)], labels[len(query) :]


def _checksums(source: ReidSource) -> np.ndarray:
    known = getattr(source, "checksums", None)
    if known is not None:
        return np.asarray(known, np.int64)
    return np.array([zlib.crc32(source[i]["image"]) for i in range(len(source))], np.int64)


def with_match(
    query: ReidSource, gallery: ReidSource, labels: tuple[np.ndarray, np.ndarray] | None = None
) -> np.ndarray:
    """Which queries have a match in the gallery.

    The others count 0 in the protocol "market1501" and are left out in "torchreid".

    Args:
        query: Q images.
        gallery: N images.
        labels: from `camera_labels`; the cameras by default.

    Returns:
        boolean [Q].
    """
    if len(query) == 0 or len(gallery) == 0:
        return np.zeros(len(query), bool)
    ours, theirs = labels or (query.cameras, gallery.cameras)
    rule = cross_camera_matches(
        np.asarray(query.identities), ours, np.asarray(gallery.identities), theirs
    )
    return np.any(rule.mask, axis=1)


def refuse_matchless(
    query: ReidSource, gallery: ReidSource, ranked: np.ndarray, found: np.ndarray, cameras: Cameras
) -> None:
    """Refuses a test whose every mean would be one over nothing.

    Args:
        query: the query split, Q images.
        gallery: the gallery split.
        ranked: int64 [R], positions of the queries that are ranked.
        found: boolean [Q], from `with_match`.
        cameras: "differ" or "ignore", as in `found`.

    Raises:
        InputError: no ranked query has a match; the message says why and what helps.
    """
    if found[ranked].any():
        return
    if found.any():
        raise InputError(
            f"none of the {len(ranked)} queries that limit takes has a match in the gallery, and "
            f"{int(found.sum())} of all {len(query)} have: take more (--limit)"
        )
    ignored = camera_labels(query, gallery, "ignore") if cameras == "differ" else None
    if ignored is not None and with_match(query, gallery, ignored).any():
        raise InputError(
            "no query has a match that another camera took, so there is nothing to measure; for "
            "images without camera labels use --cameras ignore (in Python cameras='ignore'), and "
            "every image of the same person is a match"
        )
    raise InputError(
        "no query has a match in the gallery, so there is nothing to measure: the two splits have "
        "no person in common"
    )
