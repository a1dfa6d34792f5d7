"""Exact ranks: against a sort, for any block size and device count, ties included."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxreid.errors import InputError
from jaxreid.ranking import match_ranks, scores
from jaxreid.types import Embedded


def random_set(rng, size, dimension=8, identities=6, cameras=3, low=-1):
    return Embedded(
        rng.normal(size=(size, dimension)).astype(np.float32),
        rng.integers(low, identities, size),
        rng.integers(0, cameras, size),
    )


def sorted_ranks(query, gallery, distance):
    """Ranks by sorting every row, one query at a time, in double precision."""
    q, g = (np.asarray(x.features, np.float64) for x in (query, gallery))
    if distance == "cosine":
        q, g = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (q, g))
    result = []
    for row, (identity, camera) in enumerate(zip(*query[1:], strict=True)):
        order = np.argsort(((q[row] - g) ** 2).sum(1), kind="stable")
        same = gallery.identities[order] == identity
        drop = (same & (gallery.cameras[order] == camera)) | (gallery.identities[order] == -1)
        hits = (same & (identity > 0))[~drop]
        result.append((np.flatnonzero(hits) + 1).tolist())
    return result


def as_lists(ranks):
    return [r[m].tolist() for r, m in zip(ranks.ranks, ranks.mask, strict=True)]


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000),
    queries=st.integers(1, 20),
    items=st.integers(1, 60),
    distance=st.sampled_from(["euclidean", "cosine"]),
)
def test_ranks_equal_those_of_a_sort(seed, queries, items, distance):
    rng = np.random.default_rng(seed)
    query, gallery = random_set(rng, queries), random_set(rng, items, low=0)
    ranks = match_ranks(query, gallery, distance=distance)
    assert as_lists(ranks) == sorted_ranks(query, gallery, distance)


def test_matches_are_named_in_the_order_of_their_ranks():
    rng = np.random.default_rng(0)
    query, gallery = random_set(rng, 10), random_set(rng, 50)
    ranks = match_ranks(query, gallery)
    distances = ((query.features[:, None] - gallery.features) ** 2).sum(-1)
    for row, (items, mask) in enumerate(zip(ranks.indices, ranks.mask, strict=True)):
        found = items[mask]
        assert (gallery.identities[found] == query.identities[row]).all()
        assert (gallery.cameras[found] != query.cameras[row]).all()
        assert (np.diff(distances[row, found]) >= 0).all()


@pytest.mark.slow
@pytest.mark.optimized
@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
@pytest.mark.parametrize("dimension", [8, 200, 2048])
def test_block_size_and_device_count_change_nothing(distance, dimension):
    rng = np.random.default_rng(1)
    query, gallery = random_set(rng, 100, dimension), random_set(rng, 600, dimension)
    # Every feature twice, mostly under another identity: exact ties that only the index breaks.
    gallery = gallery._replace(features=np.tile(gallery.features[:300], (2, 1)))
    expected = match_ranks(query, gallery, distance=distance, devices=jax.devices()[:1])
    for block_size in (1, 80, 256, 100_000):
        for devices in (1, 3, 4):
            ranks = match_ranks(
                query,
                gallery,
                distance=distance,
                block_size=block_size,
                devices=jax.devices()[:devices],
            )
            np.testing.assert_array_equal(ranks.ranks, expected.ranks)
            np.testing.assert_array_equal(ranks.indices, expected.indices)


def test_ties_are_broken_by_gallery_index():
    features = np.ones((6, 4), np.float32)
    gallery = Embedded(features, np.array([2, 1, 3, 1, 4, 1]), np.zeros(6, int))
    query = Embedded(features[:1], np.array([1]), np.array([5]))
    for block_size in (1, 1000):
        assert as_lists(match_ranks(query, gallery, block_size=block_size)) == [[2, 4, 6]]


def test_ties_at_a_score_of_zero_are_broken_by_index_too():
    # Zero features have a cosine score of zero, whose upper neighbour is a subnormal number.
    gallery = Embedded(np.zeros((5, 4), np.float32), np.array([2, 3, 1, 2, 1]), np.zeros(5, int))
    query = Embedded(np.ones((1, 4), np.float32), np.array([1]), np.array([5]))
    for distance in ("euclidean", "cosine"):
        assert as_lists(match_ranks(query, gallery, distance=distance)) == [[3, 5]]


@pytest.mark.slow
def test_more_queries_than_one_product_takes():
    rng = np.random.default_rng(2)
    query, gallery = random_set(rng, 4500, 4, low=1), random_set(rng, 40, 4)
    ranks = match_ranks(query, gallery)
    some = rng.permutation(4500)[:50]
    part = Embedded(*(x[some] for x in query))
    assert as_lists(ranks)[some[0]] == as_lists(match_ranks(part, gallery))[0]
    assert [as_lists(ranks)[i] for i in some] == sorted_ranks(part, gallery, "euclidean")


def test_identities_with_very_many_images(monkeypatch):
    rng = np.random.default_rng(7)
    query, gallery = random_set(rng, 20, identities=3), random_set(rng, 400, identities=3)
    monkeypatch.setattr(scores, "_ITEMS", 128)
    assert as_lists(match_ranks(query, gallery)) == sorted_ranks(query, gallery, "euclidean")


def test_gallery_may_be_a_memory_map_and_progress_is_told(tmp_path):
    rng = np.random.default_rng(3)
    query, gallery = random_set(rng, 5), random_set(rng, 700)
    path = tmp_path / "features.npy"
    np.save(path, gallery.features)
    mapped = gallery._replace(features=np.load(path, mmap_mode="r"))
    seen = []
    devices = jax.devices()[:2]  # one on most accelerators
    ranks = match_ranks(
        query,
        mapped,
        block_size=128,
        devices=devices,
        progress=lambda done, total: seen.append((done, total)),
    )
    blocks = {1: [128, 256, 384, 512, 640, 700], 2: [256, 512, 700]}[len(devices)]
    assert seen == [(done, 700) for done in blocks]
    assert as_lists(ranks) == sorted_ranks(query, gallery, "euclidean")


def test_jax_arrays_serve_as_well():
    rng = np.random.default_rng(4)
    query, gallery = random_set(rng, 5), random_set(rng, 70)
    on_device = [Embedded(*map(jax.numpy.asarray, x)) for x in (query, gallery)]
    assert as_lists(match_ranks(*on_device)) == as_lists(match_ranks(query, gallery))


QUERY = random_set(np.random.default_rng(5), 4, low=1)
GALLERY = random_set(np.random.default_rng(6), 9)
BAD = {
    "rank": ((QUERY._replace(features=QUERY.features[0]), GALLERY), r"query.features .*\[Q,D\]"),
    "rows": ((QUERY, GALLERY._replace(cameras=np.zeros(3, int))), "gallery.cameras .* with N=9"),
    "dimension": ((QUERY._replace(features=QUERY.features[:, :5]), GALLERY), "5 and 8"),
    "empty gallery": ((QUERY, Embedded(*(x[:0] for x in GALLERY))), "gallery is empty"),
    "empty query": ((Embedded(*(x[:0] for x in QUERY)), GALLERY), "query is empty"),
    "only junk": ((QUERY, GALLERY._replace(identities=np.full(9, -1))), "junk"),
    "NaN": (
        (QUERY, GALLERY._replace(features=np.where(np.eye(9, 8, -5), np.nan, 1.0))),
        "gallery.features must be finite; row 5",
    ),
    "infinity": (
        (QUERY._replace(features=np.full((4, 8), np.inf)), GALLERY),
        "query.features must be finite; row 0",
    ),
    "integer features": (
        (QUERY._replace(features=np.ones((4, 8), int)), GALLERY),
        "must be floating point",
    ),
    "list": ((QUERY._replace(identities=[1] * 4), GALLERY), "query.identities must be an array"),
    "wide identities": (
        (QUERY, GALLERY._replace(identities=np.arange(9) + 2**32)),
        "gallery.identities must fit in 32 bits",
    ),
    "float identities": ((QUERY._replace(identities=np.ones(4)), GALLERY), "must be integers"),
}


@pytest.mark.parametrize(("arguments", "message"), BAD.values(), ids=BAD)
@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_bad_input_is_named(arguments, message, distance):
    with pytest.raises(InputError, match=message):
        match_ranks(*arguments, distance=distance)


def test_bad_settings_are_named():
    with pytest.raises(InputError, match="distance must be"):
        match_ranks(QUERY, GALLERY, distance="manhattan")
    with pytest.raises(InputError, match="block_size must be at least 1"):
        match_ranks(QUERY, GALLERY, block_size=0)
    with pytest.raises(InputError, match="devices is empty"):
        match_ranks(QUERY, GALLERY, devices=[])
