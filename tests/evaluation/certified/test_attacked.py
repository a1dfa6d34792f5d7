"""Attacks on features that are smoothed exactly never get below what is certified of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxreid.attacks import adaptive_ascent, l2
from jaxreid.ranking import (
    certified_ranks,
    list_distances,
    match_ranks,
    search_lists,
    smooth_ap,
    soft_margin,
    summarize,
)
from jaxreid.types import Embedded

SHAPE, DIMENSION, SIGMA = (4, 3, 2), 6, 0.2
RNG = np.random.default_rng(5)
PLANES = RNG.normal(size=(DIMENSION, 24))
PLANES /= np.linalg.norm(PLANES, axis=1, keepdims=True)


def exact(images):
    """E f(x + sigma e) of f(x) = sign(planes (x - 1/2)) / sqrt(D)."""
    along = (images.reshape(len(images), -1) - 0.5) @ jnp.asarray(PLANES, jnp.float32).T
    return jax.scipy.special.erf(along / SIGMA / np.sqrt(2)) / np.sqrt(DIMENSION)


def search():
    """Ten people in the middle of the range of pixels: three queries and five pictures of each."""
    faces = RNG.uniform(0.4, 0.6, (10, *SHAPE))
    people, shown = np.repeat(np.arange(1, 11), 3), np.repeat(np.arange(1, 11), 5)
    queries = faces[people - 1] + RNG.normal(0, 0.02, (30, *SHAPE))
    stored = faces[shown - 1] + RNG.normal(0, 0.02, (50, *SHAPE))
    query = Embedded(np.asarray(exact(queries)), people, np.zeros(30, int))
    gallery = Embedded(np.asarray(exact(stored)), shown, np.ones(50, int))
    return queries.astype(np.float32), query, gallery


@pytest.mark.parametrize("objective", [smooth_ap, soft_margin])
def test_no_attack_gets_below_the_certificate(objective):
    images, query, gallery = search()
    lists, radii = search_lists(query, gallery), [0.02, 0.05, 0.1, 0.2]
    found = certified_ranks(query, gallery, sigma=SIGMA, error=0.0, radii=radii)
    gaps = []

    @jax.jit
    def attacked(images, radius):
        def climbs(x):
            return objective(list_distances(exact(x), lists), temperature=0.02)

        return adaptive_ascent(climbs, images, threat=l2(radius), steps=30).images

    for radius, bound in zip(radii, found.ranks, strict=True):
        moved = np.asarray(attacked(images, radius))
        assert np.linalg.norm((moved - images).reshape(30, -1), axis=1).max() <= radius * (1 + 1e-5)
        features = np.asarray(exact(moved), np.float64)
        ranks = match_ranks(query._replace(features=features), gallery, ties="pessimistic")
        assert np.all(ranks.ranks <= bound.ranks)
        assert np.all(ranks.ranks[found.radius > radius, 0] == 1)
        for protocol in ("market1501", "torchreid"):
            certain, left = (summarize(one, protocol=protocol) for one in (bound, ranks))
            assert np.all(left.average_precision >= certain.average_precision - 1e-12)
            gaps.append(left.mean_average_precision - certain.mean_average_precision)
    # Neither is empty: something is certain, and attacks do something.
    assert 0.1 < np.mean(found.radius > 0.02) < 1
    assert left.mean_average_precision < 0.9
    assert min(gaps) >= 0
