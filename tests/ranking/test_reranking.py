"""k-reciprocal re-ranking against the published algorithm, written densely."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxreid.errors import InputError
from jaxreid.ranking import KReciprocal, Reranking, k_reciprocal, match_ranks, reordered
from jaxreid.types import Embedded


def dense_distances(features, queries, k1, k2, weight):
    """Zhong et al. 2017 with every matrix written out; final distances [Q,N]."""
    n = len(features)
    squared = ((features[:, None] - features) ** 2).sum(-1)
    scaled = squared / squared.max(axis=1, keepdims=True)
    nearest = np.argsort(squared, axis=1, kind="stable")

    def reciprocal(i, k):
        return [j for j in nearest[i, : k + 1] if i in nearest[j, : k + 1]]

    encodings = np.zeros((n, n))
    for i in range(n):
        members = set(reciprocal(i, k1))
        for j in reciprocal(i, k1):
            half = set(reciprocal(j, int(np.around(k1 / 2))))
            if len(half & set(reciprocal(i, k1))) > 2 / 3 * len(half):
                members |= half
        members = sorted(members)
        weights = np.exp(-scaled[i, members])
        encodings[i, members] = weights / weights.sum()
    if k2 > 1:
        encodings = encodings[nearest[:, :k2]].mean(axis=1)
    overlap = np.minimum(encodings[:queries, None], encodings[None, queries:]).sum(-1)
    jaccard = 1 - overlap / (2 - overlap)
    return (1 - weight) * jaccard + weight * scaled[:queries, queries:]


def clusters(seed, queries=6, items=40):
    rng = np.random.default_rng(seed)
    identities = rng.integers(1, 6, queries + items)
    features = rng.normal(size=(6, 8))[identities] + 0.8 * rng.normal(size=(len(identities), 8))
    cameras = rng.integers(0, 3, len(identities))
    whole = Embedded(features.astype(np.float32), identities, cameras)
    return Embedded(*(x[:queries] for x in whole)), Embedded(*(x[queries:] for x in whole))


@pytest.mark.parametrize("k2", [1, 3])
@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_equals_the_dense_algorithm(k2, distance):
    query, gallery = clusters(0)
    features = np.concatenate([query.features, gallery.features]).astype(np.float64)
    if distance == "cosine":
        features /= np.linalg.norm(features, axis=1, keepdims=True)
    dense = dense_distances(features, 6, k1=5, k2=k2, weight=0.3)
    settings_ = KReciprocal(top=40, k1=5, k2=k2)
    ours = k_reciprocal(query, gallery, settings=settings_, distance=distance)
    np.testing.assert_allclose(
        ours.distances, np.take_along_axis(dense, ours.indices, axis=1), atol=1e-5
    )
    np.testing.assert_array_equal(np.sort(ours.indices, axis=1), np.tile(np.arange(40), (6, 1)))
    assert (np.diff(ours.distances, axis=1) >= 0).all()


def test_junk_is_left_out_and_top_bounds_the_list():
    query, gallery = clusters(1)
    junk = gallery._replace(identities=np.where(np.arange(40) % 3, gallery.identities, -1))
    told = []
    ours = k_reciprocal(
        query,
        junk,
        settings=KReciprocal(top=10, k1=5, k2=2),
        progress=lambda done, total: told.append((done, total)),
    )
    assert ours.indices.shape == (6, 10)
    assert (ours.indices % 3 != 0).all()
    assert told[-1] == (32, 32)


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), top=st.integers(1, 40))
def test_new_ranks_follow_the_new_order(seed, top):
    rng = np.random.default_rng(seed)
    query, gallery = clusters(seed)
    ranks = match_ranks(query, gallery)
    distances = ((query.features[:, None] - gallery.features) ** 2).sum(-1)
    old = np.argsort(distances, axis=1, kind="stable")
    new = np.concatenate([rng.permuted(old[:, :top], axis=1), old[:, top:]], axis=1)
    order = Reranking(new[:, :top], np.zeros((6, top)))
    ours = reordered(ranks, order, query, gallery)
    for row in range(6):
        same = gallery.identities[new[row]] == query.identities[row]
        kept = ~(same & (gallery.cameras[new[row]] == query.cameras[row]))
        expected = np.flatnonzero(same[kept]) + 1
        np.testing.assert_array_equal(ours.ranks[row][ours.mask[row]], expected)
        np.testing.assert_array_equal(ours.indices[row][ours.mask[row]], new[row][kept & same])


def test_matches_never_share_a_rank_even_where_float32_cannot_tell_distances_apart():
    far = [
        part._replace(features=part.features + np.float32(300))
        for part in clusters(1, queries=40, items=200)
    ]
    order = k_reciprocal(*far, settings=KReciprocal(top=20, k1=5, k2=2))
    ours = reordered(match_ranks(*far), order, *far)
    for ranks, mask in zip(ours.ranks, ours.mask, strict=True):
        assert (np.diff(ranks[mask]) > 0).all()
        np.testing.assert_array_equal(ranks[~mask], 0)


def test_bad_input_is_named():
    query, gallery = clusters(0)
    nan = query._replace(features=np.full_like(query.features, np.nan))
    short = query._replace(features=query.features[:, :3])
    junk = gallery._replace(identities=np.full(40, -1))
    for sets, message in (
        ((nan, gallery), "query.features must be finite; row 0"),
        ((short, gallery), "3 and 8"),
        ((query, junk), "every gallery item is junk"),
    ):
        with pytest.raises(InputError, match=message):
            k_reciprocal(*sets)
    with pytest.raises(InputError, match="distance must be"):
        k_reciprocal(query, gallery, distance="manhattan")
