"""Selection of guides: golden numbers, rules, and independence of the batch."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jaxreid import guides
from jaxreid.attacks import example_keys
from jaxreid.errors import InputError

IDENTITIES = np.array([3, 1, 3, 0, 7, 3, -1, 1, 0, 9])


def chosen(selection):
    """Sets of chosen indices, row by row."""
    pairs = zip(np.asarray(selection.indices), np.asarray(selection.mask), strict=True)
    return [set(indices[mask].tolist()) for indices, mask in pairs]


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_golden_guides(golden, distance):
    z = np.load(golden / "guides.npz")
    with jax.enable_x64(True):
        features, identities = z[f"features_{distance}"], z["identities"]
        push = guides.same_identity(identities, include_self=True, pad="self")
        means = guides.centroids(features, identities)
        pull = guides.furthest_other(
            features, identities, means.features, means.identities, distance=distance
        )
        assert push.mask.all()
        assert pull.mask.all()
        ours = np.concatenate([features[push.indices], means.features[pull.indices]], axis=1)
        np.testing.assert_allclose(ours, z[f"guides_{distance}"], rtol=0, atol=1e-12)


def test_golden_furthest_single_feature(golden):
    z = np.load(golden / "guides.npz")
    with jax.enable_x64(True):
        features, identities = z["features_euclidean"], z["identities"]
        pull = guides.furthest_other(features, identities, features, identities)
        np.testing.assert_array_equal(
            features[pull.indices[:, 0]], z["guides_single_euclidean"][:, -1]
        )


def test_all_of_the_identity_without_self():
    selection = guides.same_identity(IDENTITIES)
    expected = [{2, 5}, {7}, {0, 5}, set(), set(), {0, 2}, set(), {1}, set(), set()]
    assert chosen(selection) == expected
    assert selection.indices.dtype == jnp.int32
    # Masked slots point at a real row, so that gathering never reads outside.
    np.testing.assert_array_equal(selection.indices[~selection.mask], 0)


def test_including_self_and_padding_with_self():
    with_self = guides.same_identity(IDENTITIES, include_self=True)
    assert chosen(with_self)[:3] == [{0, 2, 5}, {1, 7}, {0, 2, 5}]
    for include_self in (False, True):
        padded = guides.same_identity(IDENTITIES, include_self=include_self, pad="self")
        assert padded.mask[IDENTITIES > 0].all()
        assert not padded.mask[IDENTITIES <= 0].any()
        np.testing.assert_array_equal(padded.indices[4], [4, 4, 4])
    np.testing.assert_array_equal(padded.indices[0], [0, 2, 5])
    np.testing.assert_array_equal(padded.indices[7], [1, 7, 7])


def test_guides_from_another_set():
    gallery, own = np.array([1, 3, 0, 3, -1]), np.array([-1, 0, 3] + [-1] * 7)
    assert chosen(guides.same_identity(IDENTITIES, gallery))[:4] == [{1, 3}, {0}, {1, 3}, set()]
    selection = guides.same_identity(IDENTITIES, gallery, own_indices=own)
    assert chosen(selection)[:3] == [{1, 3}, set(), {1}]


# Sizes are few: each of them, with each count, is compiled anew.
@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@example(identities=[2], count=2, seed=0)
@given(
    identities=st.lists(st.integers(-1, 4), min_size=14, max_size=14),
    count=st.sampled_from([1, 2, 6]),
    seed=st.integers(0, 99),
)
def test_sampling_obeys_every_rule(identities, count, seed):
    identities = np.array(identities)
    selection = guides.same_identity(identities, count=count, key=jax.random.key(seed))
    assert selection.indices.shape == (len(identities), count)
    for row, (target, found) in enumerate(zip(identities, chosen(selection), strict=True)):
        others = set(np.flatnonzero(identities == target)) - {row} if target > 0 else set()
        assert found <= others
        # Without replacement, and as many as there are.
        assert len(found) == int(selection.mask[row].sum()) == min(count, len(others))


@pytest.mark.slow
def test_sampling_depends_on_neither_batch_nor_order():
    rng = np.random.default_rng(0)
    gallery = rng.integers(0, 8, 100)
    targets = rng.integers(1, 8, 20)
    keys = example_keys(jax.random.key(0), np.arange(20))
    whole = guides.same_identity(targets, gallery, count=3, key=keys)
    order = rng.permutation(20)[:7]
    part = guides.same_identity(targets[order], gallery, count=3, key=keys[order])
    np.testing.assert_array_equal(part.indices, whole.indices[order])
    pull = guides.random_other(targets, gallery, keys)
    np.testing.assert_array_equal(
        guides.random_other(targets[order], gallery, keys[order]).indices, pull.indices[order]
    )
    others = guides.same_identity(targets, gallery, count=3, key=jax.random.key(1))
    assert not np.array_equal(others.indices, whole.indices)


def test_sampling_is_uniform():
    targets, gallery = np.ones(4000, int), np.array([1, 2, 1, 1, 1, 0])
    drawn = guides.same_identity(targets, gallery, count=2, key=jax.random.key(0)).indices
    share = np.bincount(np.ravel(drawn), minlength=6) / 8000
    np.testing.assert_allclose(share, [0.25, 0, 0.25, 0.25, 0.25, 0], atol=0.02)


def test_random_other_is_uniform_over_the_others():
    targets = np.full(6000, 5)
    gallery = np.array([5, 0, 9, 2, -1, 5, 7])
    drawn = guides.random_other(targets, gallery, jax.random.key(0))
    assert drawn.mask.all()
    share = np.bincount(np.ravel(drawn.indices), minlength=7) / 6000
    np.testing.assert_allclose(share, [0, 0, 1 / 3, 1 / 3, 0, 0, 1 / 3], atol=0.03)


@pytest.mark.slow
def test_nothing_is_chosen_for_or_from_distractors_and_junk():
    only = np.array([0, -1, 0])
    key, features = jax.random.key(0), np.eye(3, dtype=np.float32)
    for selection in (
        guides.random_other(only, np.array([4, 5, 6]), key),
        guides.random_other(np.array([4, 5, 6]), only, key),
        guides.furthest_other(features, only, features, np.array([4, 5, 6])),
        guides.furthest_other(features, np.array([4, 5, 6]), features, only),
        guides.nearest_other(features, only, features, np.array([4, 5, 6])),
        guides.nearest_other(features, np.array([4, 5, 6]), features, only, count=2),
        guides.same_identity(only),
    ):
        assert not selection.mask.any()
        np.testing.assert_array_equal(selection.indices, 0)


def test_furthest_other_against_brute_force():
    rng = np.random.default_rng(0)
    features, gallery = rng.normal(size=(2500, 4)), rng.normal(size=(30, 4))
    identities, names = rng.integers(1, 5, 2500), rng.integers(-1, 5, 30)
    with jax.enable_x64(True):
        found = guides.furthest_other(features, identities, gallery, names)
    distances = ((features[:, None] - gallery) ** 2).sum(-1)
    distances[(identities[:, None] == names) | (names <= 0)] = -1
    np.testing.assert_array_equal(found.indices[:, 0], distances.argmax(1))


@pytest.mark.slow
@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_several_furthest_others(distance):
    rng = np.random.default_rng(1)
    features, gallery = rng.normal(size=(9, 4)), rng.normal(size=(12, 4))
    identities = np.array([1, 2, 3, 1, 2, 3, 0, -1, 9])
    names = np.array([1, 1, 1, 1, 1, 1, 1, 2, 2, 3, 0, -1])
    with jax.enable_x64(True):
        found = guides.furthest_other(
            features, identities, gallery, names, count=4, distance=distance
        )
        single = guides.furthest_other(features, identities, gallery, names, distance=distance)
    score = ((features[:, None] - gallery) ** 2).sum(-1)
    if distance == "cosine":
        score = 1 - np.einsum("id,jd->ij", features, gallery) / (
            np.linalg.norm(features, axis=1)[:, None] * np.linalg.norm(gallery, axis=1)
        )
    for row, identity in enumerate(identities):
        allowed = np.flatnonzero((names > 0) & (names != identity) & (identity > 0))
        expected = allowed[np.argsort(-score[row, allowed])][:4]
        assert found.mask[row].sum() == len(expected)
        np.testing.assert_array_equal(found.indices[row, : len(expected)], expected)
        np.testing.assert_array_equal(found.indices[row, len(expected) :], 0)
    # Person 1 has three others only.
    np.testing.assert_array_equal(found.mask[0], [True, True, True, False])
    np.testing.assert_array_equal(single.indices[:, 0], found.indices[:, 0])
    np.testing.assert_array_equal(single.mask[:, 0], found.mask[:, 0])


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_nearest_others_against_brute_force(distance):
    rng = np.random.default_rng(5)
    # More rows than a block has; a lonely row, distractors and junk on both sides.
    features, gallery = rng.normal(size=(1500, 4)), rng.normal(size=(40, 4))
    identities, names = rng.integers(-1, 5, 1500), rng.integers(-1, 5, 40)
    names[:30], identities[0] = 1, 1
    with jax.enable_x64(True):
        nearest = jax.jit(partial(guides.nearest_other, count=12, distance=distance))
        found = jax.tree.map(np.asarray, nearest(features, identities, gallery, names))
    for row in [*range(0, 1500, 11), 1023, 1024, 1499]:
        identity = identities[row]
        apart = ((features[row] - gallery) ** 2).sum(1)
        if distance == "cosine":
            lengths = np.linalg.norm(features[row]) * np.linalg.norm(gallery, axis=1)
            apart = 1 - gallery @ features[row] / lengths
        allowed = [i for i in range(40) if names[i] > 0 and names[i] != identity and identity > 0]
        expected = sorted(allowed, key=lambda i: apart[i])[:12]
        assert found.mask[row].sum() == len(expected)
        np.testing.assert_array_equal(found.indices[row, : len(expected)], expected)
        np.testing.assert_array_equal(found.indices[row, len(expected) :], 0)
    assert 0 < found.mask[0].sum() < 12


def test_nearest_others_that_are_not_there_are_masked():
    features = np.array([[0.0], [1.0], [3.0], [3.0]], np.float32)
    found = guides.nearest_other(features, np.array([1, 2, 3, 4]), features, np.array([1, 2, 3, 4]))
    assert found.indices.shape == found.mask.shape == (4, 30)
    np.testing.assert_array_equal(found.mask.sum(1), 3)
    # Of those that are equally near the first one comes first.
    np.testing.assert_array_equal(found.indices[:2, :3], [[1, 2, 3], [0, 2, 3]])
    one = jax.jit(lambda f, i: guides.nearest_other(f, i, f, i, count=1))(features, np.arange(1, 5))
    np.testing.assert_array_equal(one.indices[:, 0], [1, 0, 3, 2])


def test_centroids_are_means_of_real_identities():
    features = np.arange(20, dtype=np.float32).reshape(10, 2)
    means = guides.centroids(features, IDENTITIES)
    np.testing.assert_array_equal(means.identities, [1, 3, 7, 9])
    np.testing.assert_allclose(means.features[1], features[[0, 2, 5]].mean(0), rtol=1e-6)


@pytest.mark.slow
def test_works_under_jit_where_numbers_are_bounded_by_the_size_of_the_set():
    features = np.arange(20, dtype=np.float32).reshape(10, 2)

    @jax.jit
    def select(features, identities):
        means = guides.centroids(features, identities)
        every = guides.same_identity(identities)
        two = guides.same_identity(identities, count=2)
        return means, every, two, guides.furthest_other(features, identities, *means)

    means, every, two, pull = select(features, IDENTITIES)
    eager = guides.centroids(features, IDENTITIES)
    np.testing.assert_array_equal(means.identities, [1, 3, 7, 9] + [-1] * 6)
    np.testing.assert_allclose(means.features[:4], eager.features, rtol=1e-6)
    assert every.indices.shape == (10, 10)
    assert chosen(every) == chosen(guides.same_identity(IDENTITIES))
    outside = guides.same_identity(IDENTITIES, count=2)
    np.testing.assert_array_equal(two.indices, outside.indices)
    outside = guides.furthest_other(features, IDENTITIES, *eager)
    np.testing.assert_array_equal(pull.indices, outside.indices)


FEATURES = np.eye(10, 4, dtype=np.float32)
BAD = {
    "rank": (lambda: guides.same_identity(IDENTITIES[None]), r"identities must have shape \[B\]"),
    "floats": (lambda: guides.same_identity(IDENTITIES * 1.0), "identities must be integers"),
    "empty": (lambda: guides.same_identity(IDENTITIES[:0]), "identities is empty"),
    "empty guides": (
        lambda: guides.same_identity(IDENTITIES, IDENTITIES[:0]),
        "guide_identities is empty",
    ),
    "count": (lambda: guides.same_identity(IDENTITIES, count=0), "count must be at least 1"),
    "self of another set": (
        lambda: guides.same_identity(IDENTITIES, IDENTITIES, pad="self"),
        "needs own_indices",
    ),
    "padding": (lambda: guides.same_identity(IDENTITIES, pad="own"), "pad must be"),
    "position of too few": (
        lambda: guides.same_identity(IDENTITIES, IDENTITIES, own_indices=np.array([2])),
        r"own_indices .* with B=10 as in identities",
    ),
    "position outside": (
        lambda: guides.same_identity(IDENTITIES, IDENTITIES[:4], own_indices=np.arange(10)),
        r"own_indices must lie in 0\.\.3",
    ),
    "list": (lambda: guides.same_identity([1, 1, 2]), "identities must be an array .* got a list"),
    "wide identities": (
        lambda: guides.same_identity(IDENTITIES + 2**32),
        "identities must fit in 32 bits",
    ),
    "lengths": (lambda: guides.centroids(FEATURES, IDENTITIES[:4]), r"identities .* with N=10"),
    "no identity": (
        lambda: guides.centroids(FEATURES, np.minimum(IDENTITIES, 0)),
        "no identity above 0",
    ),
    "NaN": (lambda: guides.centroids(FEATURES * np.nan, IDENTITIES), "features must be finite"),
    "dimension": (
        lambda: guides.furthest_other(FEATURES, IDENTITIES, FEATURES[:, :3], IDENTITIES),
        "with D=4 as in features",
    ),
    "distance": (
        lambda: guides.furthest_other(
            FEATURES, IDENTITIES, FEATURES, IDENTITIES, distance="manhattan"
        ),
        "distance must be one of",
    ),
    "no guides wanted": (
        lambda: guides.furthest_other(FEATURES, IDENTITIES, FEATURES, IDENTITIES, count=0),
        "count must be 1 to 10, the guides, got 0",
    ),
    "no nearest guides wanted": (
        lambda: guides.nearest_other(FEATURES, IDENTITIES, FEATURES, IDENTITIES, count=0),
        "count must be at least 1, got 0",
    ),
    "more guides than there are": (
        lambda: guides.furthest_other(FEATURES, IDENTITIES, FEATURES, IDENTITIES, count=11),
        "count must be 1 to 10, the guides, got 11",
    ),
}


@pytest.mark.parametrize(("call", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()


def furthest_by_definition(features, identities, guides_, names, count, distance="euclidean"):
    """Positions by distances in 80 bits, from differences."""
    x, y = features.astype(np.longdouble), guides_.astype(np.longdouble)
    if distance == "cosine":
        x, y = (z / np.sqrt((z**2).sum(1, keepdims=True)) for z in (x, y))
    score = ((x[:, None] - y[None]) ** 2).sum(-1)
    score[(identities[:, None] == names) | (names <= 0)] = -1
    return np.argsort(-score, axis=1, kind="stable")[:, :count]


SCALES = [(0, 1), (1000, 1), (3000, 1), (1e5, 1), (0, 1e25), (1000, 1e25), (0, 1e-23), (0, 1e-20)]


@pytest.mark.slow
@pytest.mark.parametrize(("offset", "scale"), SCALES)
def test_furthest_others_far_from_the_origin_large_and_small(offset, scale):
    rng = np.random.default_rng(2)
    features, others = (
        ((rng.normal(size=(n, 6)) + offset) * scale).astype(np.float32) for n in (40, 25)
    )
    identities, names = rng.integers(1, 6, 40), rng.integers(-1, 6, 25)
    for distance in ("euclidean", "cosine"):
        if distance == "cosine" and offset == 1e5:
            continue  # the angles are rounding then
        found = guides.furthest_other(
            features, identities, others, names, count=3, distance=distance
        )
        expected = furthest_by_definition(features, identities, others, names, 3, distance)
        np.testing.assert_array_equal(found.indices, expected)


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 3])
def test_furthest_others_in_float64(count):
    rng = np.random.default_rng(3)
    features = rng.normal(size=(30, 4)) + 1e9
    identities = np.arange(30) % 5 + 1
    found = guides.furthest_other(features, identities, features, identities, count=count)
    expected = furthest_by_definition(features, identities, features, identities, count)
    np.testing.assert_array_equal(found.indices, expected)
    means = guides.centroids(features, identities)
    assert means.features.dtype == np.float64
    true = [features[identities == k].astype(np.longdouble).mean(0) for k in range(1, 6)]
    np.testing.assert_allclose(means.features, true, rtol=1e-15)


def test_what_is_never_chosen_changes_nothing():
    rng = np.random.default_rng(4)
    features = (rng.normal(size=(20, 4)) + 1000).astype(np.float32)
    identities, names = rng.integers(1, 4, 20), np.array([1, 2, 3, -1, 0, 3])
    gallery = np.concatenate([features[:3], np.zeros((2, 4), np.float32), features[5:6]])
    plain = guides.furthest_other(features, identities, gallery, names, count=3)
    for padding in (0, 1e20, -3e38):
        gallery[3:5] = padding
        found = guides.furthest_other(features, identities, gallery, names, count=3)
        np.testing.assert_array_equal(found.indices, plain.indices)
    expected = furthest_by_definition(
        features, identities, gallery[[0, 1, 2, 5]], names[[0, 1, 2, 5]], 1
    )
    np.testing.assert_array_equal(found.indices[:, 0], np.array([0, 1, 2, 5])[expected[:, 0]])


def test_centroids_of_the_largest_and_the_smallest_numbers():
    identities = np.array([1, 1, 1, 2, 2, 0])
    features = np.full((6, 2), 3e38, np.float32)
    features[3:5] = 1e-30
    means = guides.centroids(features, identities)
    np.testing.assert_allclose(means.features, [[3e38, 3e38], [1e-30, 1e-30]], rtol=1e-6)
    half = guides.centroids(np.full((6, 2), 6e4, np.float16), identities)
    np.testing.assert_array_equal(half.features, np.float32(np.float16(6e4)))
    under_jit = jax.jit(lambda f: guides.centroids(f, identities))(features)
    np.testing.assert_array_equal(under_jit.features, means.features)
