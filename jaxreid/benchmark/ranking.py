"""Ranking and the selection of guides, beside the distance product that neither can avoid."""

import resource
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from jaxreid import guides
from jaxreid.benchmark.timing import Timing, interleave, ratio
from jaxreid.data.catalogue import DATASETS
from jaxreid.ranking import MatchRanks, cross_camera_matches, match_ranks, retrievable
from jaxreid.types import Array, ArrayLike, Embedded

__all__ = [
    "GUIDES_SIZES",
    "SIZES",
    "GuidesSize",
    "PeakMemory",
    "RankingBenchmark",
    "RankingSize",
    "argsort_ranks",
    "bare_product",
    "benchmark_guides",
    "benchmark_ranking",
    "peak_memory",
    "random_sets",
]


class RankingSize(NamedTuple):
    """How large the random query set and gallery are, in items, identities and cameras."""

    queries: int
    gallery: int
    identities: int
    cameras: int
    distractors: float  # share of the gallery
    dimension: int = 2048


def _size_of(dataset: str, distractors: float) -> RankingSize:
    """That of a dataset in the catalogue, of which junk is not ranked."""
    counts = DATASETS[dataset].counts[""]
    return RankingSize(
        counts.query_images,
        counts.gallery_images_without_junk,
        counts.query_identities,
        counts.cameras,
        distractors,
    )


SIZES = {
    "tiny": RankingSize(64, 500, 20, 3, 0.2, 64),
    "market1501": _size_of("market1501", 0.17),
    "msmt17": _size_of("msmt17", 0.0),
}


class RankingBenchmark(NamedTuple):
    """Result of `benchmark_ranking`.

    Attributes:
        size: name of the size.
        seconds: median seconds per contestant.
        first_seconds: seconds of each contestant's first call, compilation included.
        to_product: median of ranking seconds / bare product seconds, round by round.
        argsort_to_ranking: median of argsort seconds / ranking seconds; None if not run.
        extra_bytes: growth of the peak memory during the first ranking.
        memory_of: whose, as `peak_memory` says.
        repeats: timed rounds.
    """

    size: str
    seconds: dict[str, float]
    first_seconds: dict[str, float]
    to_product: float
    argsort_to_ranking: float | None
    extra_bytes: int
    memory_of: str
    repeats: int


class PeakMemory(NamedTuple):
    """The most memory that was held at a time, so far.

    Attributes:
        bytes: how much.
        of: "device", the one that held most, or "process": all that is resident.
    """

    bytes: int
    of: str


def peak_memory(devices: Sequence[jax.Device]) -> PeakMemory:
    """Asks devices for their peak, or where one has no statistics, as a CPU, the process for its.

    Args:
        devices: of this process, at least one.
    """
    peaks = [(device.memory_stats() or {}).get("peak_bytes_in_use") for device in devices]
    known = [peak for peak in peaks if peak is not None]
    if len(known) == len(peaks):
        return PeakMemory(max(known), "device")
    # Linux counts kilobytes.
    return PeakMemory(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, "process")


@jax.jit
def bare_product(x: ArrayLike, y: ArrayLike) -> Array:
    """Inner products of rows, as precise as distances: in full float32, whatever the default.

    On accelerators the default is less, and several times as fast.

    Args:
        x: [M,D] floating point.
        y: [N,D].

    Returns:
        [M,N].
    """
    contracted = (((1,), (1,)), ((), ()))
    return jax.lax.dot_general(x, y, contracted, precision=jax.lax.Precision.HIGHEST)


def random_sets(size: RankingSize, *, seed: int) -> tuple[Embedded, Embedded]:
    """Queries and gallery: features [Q,D] and [N,D] float32, normal; distractors in the gallery."""
    rng = np.random.default_rng(seed)
    return (
        _random_set(rng, size.queries, size, 0.0),
        _random_set(rng, size.gallery, size, size.distractors),
    )


def _random_set(rng: np.random.Generator, count: int, size: RankingSize, none: float) -> Embedded:
    identities = rng.integers(1, size.identities + 1, count)
    return Embedded(
        rng.standard_normal((count, size.dimension), np.float32),
        np.where(rng.random(count) < none, 0, identities),
        rng.integers(0, size.cameras, count),
    )


def argsort_ranks(query: Embedded, gallery: Embedded) -> MatchRanks:
    """Ranks as most toolboxes find them: the whole distance matrix, then one sort per query.

    Gives what `jaxreid.ranking.match_ranks` does, up to rounding.
    """
    q, g = np.asarray(query.features), np.asarray(gallery.features)
    distances = (q * q).sum(1)[:, None] + (g * g).sum(1) - 2 * q @ g.T
    matches = cross_camera_matches(
        query.identities, query.cameras, gallery.identities, gallery.cameras
    )
    kept = retrievable(gallery.identities)
    identities, cameras = np.asarray(gallery.identities), np.asarray(gallery.cameras)
    ranks, indices = np.zeros_like(matches.indices), np.zeros_like(matches.indices)
    for row, (identity, camera) in enumerate(zip(query.identities, query.cameras, strict=True)):
        order = np.argsort(distances[row], kind="stable")
        same = identities[order] == identity
        order = order[kept[order] & ~(same & (cameras[order] == camera))]
        found = np.flatnonzero((identities[order] == identity) & (identity > 0))
        ranks[row, : len(found)] = found + 1
        indices[row, : len(found)] = order[found]
    return MatchRanks(ranks, matches.mask, indices)


def benchmark_ranking(
    name: str, *, repeats: int = 5, argsort: bool = True, seed: int = 0
) -> RankingBenchmark:
    """Times ranking, the bare distance product and a sort per query in turns, on random features.

    Each begins with features in the memory of the host. The sort, which holds the whole distance
    matrix, can be left out.
    """
    query, gallery = random_sets(SIZES[name], seed=seed)
    before = peak_memory(jax.local_devices())
    # Alone and first: later the other contestants' memory would hide its own.
    alone = interleave({"ranking": lambda: match_ranks(query, gallery)}, repeats=0)
    after = peak_memory(jax.local_devices())

    contestants = {
        "product": lambda: bare_product(query.features, gallery.features),
        "ranking": lambda: match_ranks(query, gallery),
    }
    if argsort:
        contestants["argsort"] = lambda: argsort_ranks(query, gallery)
    times = interleave(contestants, repeats=repeats)
    times["ranking"] = times["ranking"]._replace(first=alone["ranking"].first)
    return RankingBenchmark(
        size=name,
        seconds={contestant: time.median for contestant, time in times.items()},
        first_seconds={contestant: time.first for contestant, time in times.items()},
        to_product=ratio(times["ranking"], times["product"]),
        argsort_to_ranking=ratio(times["argsort"], times["ranking"]) if argsort else None,
        extra_bytes=after.bytes - before.bytes,
        memory_of=after.of,
        repeats=repeats,
    )


class GuidesSize(NamedTuple):
    """How many targets and identities there are, and the dimension of their features."""

    targets: int
    identities: int
    dimension: int


GUIDES_SIZES = {
    "tiny": GuidesSize(60, 10, 16),
    # Guides of queries are other queries.
    **{
        name: GuidesSize(SIZES[name].queries, SIZES[name].identities, SIZES[name].dimension)
        for name in ("market1501", "msmt17")
    },
}


def benchmark_guides(name: str, *, repeats: int = 5, seed: int = 0) -> dict[str, Timing]:
    """Times every selection FNA and its ablations need, in turns, on random features.

    "product" is the bare product of all targets with all centroids.
    """
    size = GUIDES_SIZES[name]
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((size.targets, size.dimension), np.float32)
    identities = rng.integers(1, size.identities + 1, size.targets)
    key = jax.random.key(seed)
    on_device = jax.device_put(features)
    means = guides.centroids(on_device, identities)
    contestants = {
        "product": lambda: bare_product(on_device, means.features),
        "all of the identity": lambda: guides.same_identity(identities),
        "four of the identity": lambda: guides.same_identity(identities, count=4, key=key),
        "centroids": lambda: guides.centroids(on_device, identities),
        "furthest other identity": lambda: guides.furthest_other(on_device, identities, *means),
        "random other identity": lambda: guides.random_other(identities, means.identities, key),
    }
    return interleave(contestants, repeats=repeats)
