"""Which queries have anything to find, and what to say where none has."""

import zlib
from typing import Literal

import numpy as np

from jaxreid.data.read.source import ReidSource
from jaxreid.errors import InputError
from jaxreid.evaluation.subsets import evenly_spaced
from jaxreid.ranking import cross_camera_matches

__all__ = ["Cameras", "camera_labels", "matched", "queries_without_match", "refuse_matchless"]

Cameras = Literal["differ", "ignore"]
"""Whether a match must be taken by another camera than the query, or cameras are not looked at."""


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
    if cameras == "differ":
        return np.asarray(query.cameras), np.asarray(gallery.cameras)
    if cameras != "ignore":
        raise InputError(f"cameras must be 'differ' or 'ignore', got {cameras!r}")
    contents = [_checksums(source) for source in (query, gallery)]
    _, labels = np.unique(np.concatenate(contents), return_inverse=True)
    return labels[: len(query)], labels[len(query) :]


def _checksums(source: ReidSource) -> np.ndarray:
    known = getattr(source, "checksums", None)
    if known is not None:
        return np.asarray(known, np.int64)
    return np.array([zlib.crc32(source[i]["image"]) for i in range(len(source))], np.int64)


def matched(query: ReidSource, gallery: ReidSource, cameras: Cameras = "differ") -> np.ndarray:
    """Which queries have a match.

    Args:
        query: Q images.
        gallery: N images.
        cameras: "differ" or "ignore".

    Returns:
        boolean [Q].

    Raises:
        InputError: cameras is something else.
    """
    if len(query) == 0 or len(gallery) == 0:
        return np.zeros(len(query), bool)
    labels = camera_labels(query, gallery, cameras)
    rule = cross_camera_matches(query.identities, labels[0], gallery.identities, labels[1])
    return np.any(rule.mask, axis=1)


def queries_without_match(
    query: ReidSource,
    gallery: ReidSource,
    *,
    limit: int | None = None,
    cameras: Cameras = "differ",
) -> tuple[int, int]:
    """Counts the ranked queries that have nothing to find.

    They count 0 in the protocol "market1501" and are left out in "torchreid".

    Args:
        query: the query split.
        gallery: the gallery split.
        limit: as in `robustness`.
        cameras: as in `robustness`.

    Returns:
        How many have no match, and how many are ranked.

    Raises:
        InputError: limit or cameras is out of range.
    """
    ranked = evenly_spaced(len(query), limit)
    return int((~matched(query, gallery, cameras)[ranked]).sum()), len(ranked)


def refuse_matchless(
    query: ReidSource, gallery: ReidSource, ranked: np.ndarray, cameras: Cameras
) -> None:
    """Refuses a test whose every mean would be one over nothing.

    Args:
        query: the query split.
        gallery: the gallery split.
        ranked: int [Q], positions of the queries that are ranked.
        cameras: "differ" or "ignore".

    Raises:
        InputError: no ranked query has a match; the message says why and what helps.
    """
    found = matched(query, gallery, cameras)
    if found[ranked].any():
        return
    if found.any():
        raise InputError(
            f"none of the {len(ranked)} queries that limit takes has a match in the gallery, and "
            f"{int(found.sum())} of all {len(query)} have: take more (--limit)"
        )
    if cameras == "differ" and matched(query, gallery, "ignore").any():
        raise InputError(
            "no query has a match that another camera took, so there is nothing to measure; for "
            "images without camera labels use --cameras ignore (in Python cameras='ignore'), and "
            "every image of the same person is a match"
        )
    raise InputError(
        "no query has a match in the gallery, so there is nothing to measure: the two splits have "
        "no person in common"
    )
