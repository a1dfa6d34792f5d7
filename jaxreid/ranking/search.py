"""Ranks of the matches, exact, without sorting and without the full distance matrix.

The rank of a match is one plus the number of items before it, so it can be counted block by block
over the gallery and summed over devices. Memory is bounded by the block, whatever the gallery: its
features may be a NumPy memory map larger than the machine.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxreid.checks import Sizes, check_integers
from jaxreid.errors import InputError
from jaxreid.ranking.counting import MAX_BLOCK, count_before, round_up
from jaxreid.ranking.protocol import Matches, cross_camera_matches, retrievable
from jaxreid.ranking.scores import ALIGN, Distance, match_scores, row_terms
from jaxreid.types import Embedded

__all__ = ["MatchRanks", "check_sets", "match_ranks"]


class MatchRanks(NamedTuple):
    """Where the matches of each query stand.

    Attributes:
        ranks: [Q,M] int64, 1-based among the items that take part, ascending; 0 in padding.
        mask: [Q,M] boolean; False in padding.
        indices: [Q,M] int64 positions of the matches in the gallery, in the order of `ranks`.
    """

    ranks: np.ndarray
    mask: np.ndarray
    indices: np.ndarray


def check_sets(query: Embedded, gallery: Embedded, distance: str) -> None:
    """Checks everything about a search but the values of the features.

    Args:
        query: features [Q,D] floating point, identities [Q] and cameras [Q] integer.
        gallery: the same with N items.
        distance: "euclidean" or "cosine".

    Raises:
        InputError: on wrong shapes or dtypes, an empty query set or gallery, a gallery of junk
            only, or an unknown distance.
    """
    for name, part, letter in (("query", query, "Q"), ("gallery", gallery, "N")):
        sizes = Sizes()
        for field, letters in (
            ("features", f"{letter}D"),
            ("identities", letter),
            ("cameras", letter),
        ):
            sizes.check(f"{name}.{field}", getattr(part, field), letters)
        if part.features.shape[0] == 0:
            raise InputError(f"{name} is empty; expected at least one item")
        if not jnp.issubdtype(part.features.dtype, jnp.floating):
            raise InputError(f"{name}.features must be floating point, got {part.features.dtype}")
        check_integers(f"{name}.identities", part.identities)
        check_integers(f"{name}.cameras", part.cameras)
    if query.features.shape[1] != gallery.features.shape[1]:
        raise InputError(
            f"query and gallery must have features of one dimension, got "
            f"{query.features.shape[1]} and {gallery.features.shape[1]}"
        )
    if not retrievable(gallery.identities).any():
        raise InputError("every gallery item is junk (identity -1): nothing can be retrieved")
    if distance not in ("euclidean", "cosine"):
        raise InputError(f"distance must be 'euclidean' or 'cosine', got {distance!r}")


def match_ranks(
    query: Embedded,
    gallery: Embedded,
    *,
    distance: Distance = "euclidean",
    block_size: int = 1024,
    devices: Sequence[jax.Device] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> MatchRanks:
    """Exact ranks of each query's matches, by counting the gallery items that come before them.

    ``r_j = 1 + |{n takes part: (d_n, n) < (d_j, j)}|``: equal distances are ordered by gallery
    index. Junk takes no part, nor do images of the query's identity from the query's camera.

    Args:
        query: features [Q,D] floating point in the unit of the embedding, identities [Q] and
            cameras [Q] integer.
        gallery: the same with N items; features may be a NumPy memory map.
        distance: "euclidean" or "cosine".
        block_size: gallery items per device and step; bounds the memory (block_size x D features
            and block_size x 4,096 scores), rounded up to a multiple of 128 and at most 8,064. It
            changes no result.
        devices: where to run; all local devices by default. Their number changes no result.
        progress: called with (gallery items done, all of them) after each step.

    Returns:
        MatchRanks with ranks [Q,M].

    Raises:
        InputError: on wrong shapes or dtypes, NaN, an empty query set or gallery, a gallery of junk
            only, or an unknown distance.
    """
    check_sets(query, gallery, distance)
    if block_size < 1:
        raise InputError(f"block_size must be at least 1, got {block_size}")
    devices = jax.local_devices() if devices is None else devices
    if not devices:
        raise InputError("devices is empty; expected at least one device")
    double = np.float64 in (query.features.dtype, gallery.features.dtype)
    dtype = np.dtype(np.float64 if double and jax.config.read("jax_enable_x64") else np.float32)
    block = round_up(min(block_size, gallery.features.shape[0], MAX_BLOCK), ALIGN)
    row_terms(query.features, dtype, distance, "query")  # for its check; scores need no norms here
    terms = row_terms(gallery.features, dtype, distance, "gallery")
    offset = np.where(retrievable(gallery.identities), terms.offset, np.inf).astype(dtype)
    terms = terms._replace(offset=offset)
    matches = cross_camera_matches(
        query.identities, query.cameras, gallery.identities, gallery.cameras
    )
    order = _by_identity(np.asarray(query.identities), matches.mask)
    queries = np.asarray(query.features[order], dtype)
    identities = np.asarray(query.identities, np.int32)[order]
    sorted_matches = Matches(matches.indices[order], matches.mask[order])
    scores = match_scores(queries, gallery.features, terms, sorted_matches)
    before = count_before(
        queries,
        identities,
        gallery,
        terms,
        sorted_matches,
        scores,
        block_size=block,
        devices=devices,
        progress=progress,
    )
    back = np.argsort(order)
    return _ranks(matches, scores[back], before[back])


def _by_identity(identities: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Order of queries that puts equal identities together, and few matches before many."""
    _, group = np.unique(identities, return_inverse=True)
    most = np.zeros(group.max() + 1, np.int64)
    np.maximum.at(most, group, mask.sum(axis=1))
    return np.lexsort((group, most[group]))


def _ranks(matches: Matches, scores: np.ndarray, before: np.ndarray) -> MatchRanks:
    """Puts the matches in order: they come before each other, too."""
    # Indices ascend within a row, so a stable sort breaks ties by gallery index.
    order = np.argsort(np.where(matches.mask, scores, np.inf), axis=1, kind="stable")
    mask = np.take_along_axis(matches.mask, order, axis=1)
    ranks = np.take_along_axis(before, order, axis=1) + np.arange(1, mask.shape[1] + 1)
    return MatchRanks(ranks * mask, mask, np.take_along_axis(matches.indices, order, axis=1))
