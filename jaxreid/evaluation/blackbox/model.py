"""The evaluator's own model as a black box, and what its images do to the whole ranking."""

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8

from jaxreid.cameras import wanted_cameras
from jaxreid.constants import MAIN_PROTOCOL, Distance
from jaxreid.distances import pairwise_euclidean
from jaxreid.errors import InputError
from jaxreid.evaluation.blackbox.ranker import Answer, Ranker
from jaxreid.evaluation.embeds import as_pytree, features_of_rows
from jaxreid.evaluation.features import rows_of
from jaxreid.evaluation.retrieval import RetrievalTest
from jaxreid.ranking import evaluate
from jaxreid.sharding import over_rows, replicated, row_mesh, whole_batch
from jaxreid.types import Array, Embed

__all__ = ["average_precision", "ranker_of"]


class _Shared(NamedTuple):
    embed: Embed
    gallery: Array  # [N,D]


@cache
def _first_items(top: int) -> Callable[[_Shared, Array], tuple[Array, Array]]:
    # The same object for the same length: programs are kept by it.
    return partial(_nearest, top=top)


def _nearest(shared: _Shared, images: Array, *, top: int) -> tuple[Array, Array]:
    distances = pairwise_euclidean(features_of_rows(shared.embed, images), shared.gallery)
    scores, items = jax.lax.top_k(-distances, top)
    return items, scores


def _features(embed: Embed, images: Array) -> tuple[Array]:
    return (features_of_rows(embed, images),)


def ranker_of(test: RetrievalTest, distance: Distance, *, top: int) -> Ranker:
    """A retrieval test's own model as a service: images -> the first items, and minus distances.

    Lists are of the whole gallery, junk and the query's own camera with it, as a service would
    show them. One program serves all calls: images are padded to one for each query of the test, or
    to its batch where that is less.

    Args:
        test: the retrieval test.
        distance: "euclidean" or "cosine".
        top: how many items a list has; all, where the gallery has fewer.

    Returns:
        uint8 [B,H,W,3] -> Answer, scores float32 in the unit of the features.

    Raises:
        InputError: the model must be told which camera took an image, or as `RetrievalTest.clean`
            does.
    """
    clean = test.clean(distance)
    if wanted_cameras(clean.embed):
        raise InputError(
            "the model must be told which camera took an image, which a service cannot know: fix "
            "one for all, as --camera mean does"
        )
    shared = _Shared(as_pytree(clean.embed), jnp.asarray(clean.gallery.features))
    run = _in_batches(test, _first_items(min(top, len(shared.gallery))), shared)
    return lambda images: Answer(*run(images))


def _in_batches(
    test: RetrievalTest, function: Callable[[Any, Array], Sequence[Array]], shared: object
) -> Callable[[np.ndarray], list[np.ndarray]]:
    """One program for any number of images [B,...]: as many at a time as the test has queries."""
    mesh = row_mesh(test.loader.devices)
    size = whole_batch(test.loader.batch_size, len(test.ranked), mesh)
    program, on_devices = over_rows(function, mesh), replicated(shared, mesh)

    def run(images: np.ndarray) -> list[np.ndarray]:
        parts = []
        for start in range(0, len(images), size):
            part = images[start : start + size]
            padded = np.pad(part, [(0, size - len(part)), (0, 0), (0, 0), (0, 0)])
            parts.append([np.asarray(x)[: len(part)] for x in program(on_devices, padded)])
        return [np.concatenate(column) for column in zip(*parts, strict=True)]

    return run


def average_precision(
    test: RetrievalTest,
    distance: Distance,
    rows: np.ndarray,
    images: UInt8[np.ndarray, "C B H W 3"],
) -> Float[np.ndarray, "C B"]:
    """Exact average precision of images in place of queries, in the ranking of the whole gallery.

    Args:
        test: the retrieval test.
        distance: "euclidean" or "cosine".
        rows: int [B], the queries' positions in their split; each has a match.
        images: uint8 [C,B,H,W,3], what they are replaced by.

    Returns:
        [C,B] in [0, 1], by the main protocol.
    """
    clean = test.clean(distance)
    run = _in_batches(test, _features, as_pytree(clean.embed))
    (features,) = run(images.reshape(-1, *images.shape[2:]))
    changed = rows_of(clean.query, np.tile(rows, len(images)))
    changed = changed._replace(features=features)
    found = evaluate(changed, clean.gallery, distance=distance, protocol=MAIN_PROTOCOL)
    return found.average_precision.reshape(images.shape[:2])
