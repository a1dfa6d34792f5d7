"""Selection of guides at the size of a dataset, beside the distance product it cannot avoid."""

from typing import NamedTuple

import jax
import numpy as np

from jaxreid import guides
from jaxreid.benchmark.timing import Timing, interleave

__all__ = ["SIZES", "GuidesSize", "benchmark_guides"]


class GuidesSize(NamedTuple):
    """How many targets and identities there are, and the dimension of their features."""

    targets: int
    identities: int
    dimension: int


SIZES = {"tiny": GuidesSize(60, 10, 16), "market1501": GuidesSize(3_368, 750, 2_048)}


def benchmark_guides(name: str, *, repeats: int = 5, seed: int = 0) -> dict[str, Timing]:
    """Times every selection FNA and its ablations need, in turns, on random features.

    Args:
        name: key of `SIZES`.
        repeats: timed rounds.
        seed: of the random features.

    Returns:
        contestant -> Timing; "product" is the bare product of all targets with all centroids.
    """
    size = SIZES[name]
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((size.targets, size.dimension), np.float32)
    identities = rng.integers(1, size.identities + 1, size.targets)
    key = jax.random.key(seed)
    on_device = jax.device_put(features)
    means = guides.centroids(on_device, identities)
    product = jax.jit(lambda x, y: x @ y.T)
    contestants = {
        "product": lambda: product(on_device, means.features),
        "all of the identity": lambda: guides.same_identity(identities),
        "four of the identity": lambda: guides.same_identity(identities, count=4, key=key),
        "centroids": lambda: guides.centroids(on_device, identities),
        "furthest other identity": lambda: guides.furthest_other(on_device, identities, *means),
        "random other identity": lambda: guides.random_other(identities, means.identities, key),
    }
    return interleave(contestants, repeats=repeats)
