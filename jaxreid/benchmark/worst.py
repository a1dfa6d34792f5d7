"""The quick worst case: what its attacks cost per query, on random images and a random gallery."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import numpy as np

from jaxreid.attacks import unchecked
from jaxreid.benchmark.networks import network_of
from jaxreid.benchmark.ranking import SIZES, random_sets
from jaxreid.benchmark.timing import Timing, interleave
from jaxreid.constants import EPS
from jaxreid.evaluation.worst import members_of
from jaxreid.evaluation.worst.attacker import Lists
from jaxreid.evaluation.worst.programs import Rows, Shared, program
from jaxreid.models import embedding
from jaxreid.ranking import SearchLists, search_lists
from jaxreid.records import Condition
from jaxreid.types import Array, Embed, Embedded

__all__ = ["PASS", "WorstTimings", "benchmark_worst"]

PASS = "network alone"
"""The contestant that climbs without a gallery: one pass forward and to the images."""

_STEPS = 10  # of PASS, in one loop


class WorstTimings(NamedTuple):
    """Result of `benchmark_worst`.

    Attributes:
        timings: attack -> seconds of a batch; PASS -> seconds of one of its passes.
        passes: attack -> passes of each image through the network.
        batch_size: queries of a batch.
        gallery: name of the size of the gallery.
        matches: the most of any query.
    """

    timings: dict[str, Timing]
    passes: dict[str, int]
    batch_size: int
    gallery: str
    matches: int

    @property
    def per_query(self) -> float:
        """Seconds of a query that meets all attacks."""
        return sum(self.timings[name].median for name in self.passes) / self.batch_size


def benchmark_worst(
    architecture: str = "resnet50",
    *,
    size: tuple[int, int],
    gallery: str = "market1501",
    batch_size: int,
    dtype: str = "float32",
    repeats: int = 3,
) -> WorstTimings:
    """Times the programs of `worst-1-quick` in turns, on one device, and a pass of the network.

    Args:
        architecture: a key of `jaxreid.models.ARCHITECTURES`.
        size: (height, width) of the images in pixels.
        gallery: of `jaxreid.benchmark.ranking.SIZES`: how large the gallery is.
        batch_size: queries attacked at a time.
        dtype: of the backbone, "float32" or "bfloat16".
        repeats: timed rounds.

    Raises:
        InputError: an unknown architecture, or a size that it does not take.
    """
    model = network_of(architecture, size, dtype=dtype)
    embed = jax.jit(lambda e: e.frozen())(embedding(model))
    queries, items = random_sets(
        SIZES[gallery]._replace(dimension=model.config.feature_size), seed=0
    )
    # As many as are attacked at a time, however few there are.
    rows = np.arange(batch_size) % len(queries.identities)
    lists = search_lists(Embedded(*(np.asarray(part)[rows] for part in queries)), items)
    shared, given = jax.device_put(_scene(embed, lists, batch_size, size))
    contestants: dict[str, Callable[[], object]] = {PASS: partial(_passes(), shared, given)}
    specs = members_of(Condition("worst-1-quick", eps=EPS * 255))
    for one in specs:
        # Those that start anew are given the same rows without a start.
        mine = given if one.start == "best" else given._replace(start=None)
        contestants[one.name] = partial(jax.jit(program(one, "linf", "euclidean")), shared, mine)
    timings = interleave(contestants, repeats=repeats)
    runs = tuple(run / _STEPS for run in timings[PASS].runs)
    timings[PASS] = timings[PASS]._replace(runs=runs)
    return WorstTimings(
        timings=timings,
        passes={one.name: one.passes for one in specs},
        batch_size=batch_size,
        gallery=gallery,
        matches=lists.mask.shape[1],
    )


def _scene(
    embed: Embed, lists: SearchLists, count: int, size: tuple[int, int]
) -> tuple[Shared, Rows]:
    """Random images, and the lists in which they are looked for."""
    images = np.random.default_rng(0).integers(0, 256, (count, *size, 3), np.uint8)
    floats = images / np.float32(255)
    shared = Shared(
        embed=embed,
        gallery=lists.gallery,
        identities=np.zeros(len(lists.gallery), np.int32),
        key=jax.random.key(0),
        eps=np.asarray(EPS, np.float32),
        sign=np.asarray(1, np.float32),
        person=np.asarray(0, np.int32),
    )
    rows = Rows(
        images=images,
        cameras=np.full(count, -1, np.int32),
        position=np.arange(count, dtype=np.int32),
        start=floats,
        clean=np.asarray(jax.jit(lambda embed, x: embed(x))(embed, floats)),
        lists=Lists(*(np.asarray(part) for part in lists[1:])),
    )
    return shared, rows


def _passes() -> Callable[[Shared, Rows], Array]:
    """A loop of passes of the network, forward and to the images, each after the one before it."""

    @unchecked
    def run(shared: Shared, rows: Rows) -> Array:
        def value(x: Array) -> Array:
            return (shared.embed(x) * rows.clean).sum()

        def body(x: Array, _: None) -> tuple[Array, None]:
            return x + 1e-6 * jax.grad(value)(x), None

        assert rows.start is not None
        return jax.lax.scan(body, jax.numpy.asarray(rows.start), None, length=_STEPS)[0]

    return jax.jit(run)
