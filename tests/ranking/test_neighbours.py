"""The first items of a few rankings."""

import numpy as np
import pytest

from jaxreid.errors import InputError
from jaxreid.ranking import top_items
from jaxreid.types import Embedded


def sets(offset=0.0, scale=1.0):
    rng = np.random.default_rng(0)
    return [
        Embedded(
            ((rng.normal(size=(size, 8)) + offset) * scale).astype(np.float32),
            rng.integers(-1, 5, size),
            rng.integers(0, 3, size),
        )
        for size in (4, 60)
    ]


@pytest.mark.parametrize("place", [{}, {"offset": 3000}, {"scale": 1e-25}, {"scale": 1e25}])
@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_the_first_items_are_the_nearest_that_take_part(place, distance):
    query, gallery = sets(**place)
    q, g = (part.features.astype(np.longdouble) for part in (query, gallery))
    if distance == "cosine":
        q, g = (x / np.sqrt((x * x).sum(axis=1, keepdims=True)) for x in (q, g))
    squared = ((q[:, None] - g) ** 2).sum(axis=-1)
    true = np.sqrt(squared) if distance == "euclidean" else squared / 2
    same = gallery.identities == query.identities[:, None]
    true[(gallery.identities == -1) | same & (gallery.cameras == query.cameras[:, None])] = np.inf
    items, distances = top_items(query, gallery, count=7, distance=distance)
    np.testing.assert_array_equal(items, np.argsort(true, axis=1, kind="stable")[:, :7])
    np.testing.assert_allclose(
        distances, np.take_along_axis(true, items, axis=1).astype(np.float64), rtol=1e-6
    )


def test_the_cosine_distance_to_a_zero_row_is_one():
    query, gallery = sets()
    query.features[1], gallery.features[:] = 0, 0
    _, distances = top_items(query, gallery, count=3, distance="cosine")
    np.testing.assert_array_equal(distances, 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"distance": "cos"}, "distance must be one of"),
        ({"count": 0}, "count must be at least 1"),
        ({"query": None}, "query must be an Embedded"),
    ],
)
def test_bad_arguments_are_named(changes, message):
    query, gallery = sets()
    arguments = {"query": query, "gallery": gallery, "count": 3, "distance": "cosine", **changes}
    with pytest.raises(InputError, match=message):
        top_items(**arguments)
