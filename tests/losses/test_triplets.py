"""Triplets of a batch: what may be drawn by each rule, and the means over them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxreid.losses.triplets import hardness, mined, nearer_half, weighted_mean
from jaxreid.random import example_keys

RNG = np.random.default_rng(0)
LABELS = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2, 3])
FEATURES = RNG.normal(size=(10, 2)) + LABELS[:, None]
DISTANCES = np.linalg.norm(FEATURES[:, None] - FEATURES, axis=2).astype(np.float32)
SAME = (LABELS[:, None] == LABELS) & ~np.eye(10, dtype=bool)
OTHER = LABELS[:, None] != LABELS
MARGIN = 0.6
DRAWS = 64


def softhard(row, positives, negatives):
    """The pairs that may be drawn."""
    furthest, nearest = max(row[p] for p in positives), min(row[n] for n in negatives)
    ps = [p for p in positives if row[p] > nearest] or [p for p in positives if row[p] == furthest]
    ns = [n for n in negatives if row[n] < furthest] or [n for n in negatives if row[n] == nearest]
    return {(p, n) for p in ps for n in ns}


def semihard(row, positives, negatives):
    pairs = set()
    for p in positives:
        beyond = [n for n in negatives if row[n] > row[p]]
        near = [n for n in beyond if row[n] - row[p] < MARGIN]
        if not near and beyond:
            near = [min(beyond, key=row.__getitem__)]
        pairs |= {(p, n) for n in near or [max(negatives, key=row.__getitem__)]}
    return pairs


@pytest.fixture(scope="module")
def many():
    """All triplets of many draws, [draws,B]."""
    keys = example_keys(jax.random.key(1), np.arange(10 * DRAWS)).reshape(DRAWS, 10)

    def draw(rule, distances=DISTANCES, same=SAME, other=OTHER):
        def one(keys):
            return mined(rule, distances, same, other, keys, margin=MARGIN)

        return jax.jit(jax.vmap(one))(keys)

    return draw


@pytest.mark.parametrize("rule", [softhard, semihard])
def test_what_is_drawn_is_all_that_the_rule_allows(many, rule):
    found = many(rule.__name__)
    np.testing.assert_array_equal(found.mask, np.tile(LABELS < 3, (DRAWS, 1)))
    seen = 0
    for i in range(9):
        drawn = set(zip(found.positive[:, i].tolist(), found.negative[:, i].tolist(), strict=True))
        allowed = rule(DISTANCES[i].tolist(), np.flatnonzero(SAME[i]), np.flatnonzero(OTHER[i]))
        assert drawn <= allowed
        seen += len(allowed) - len(drawn)
    # 64 draws of at most a dozen pairs leave hardly one out.
    assert seen <= 2


def test_where_nothing_is_hard_the_hardest_is_taken(many):
    # Everybody of the anchor's person at 1 or 2, everybody else at 5 or 6, and the other way round.
    rank = np.arange(10) % 2
    apart = np.where(SAME, 1.0 + rank, 5.0 + rank).astype(np.float32)
    found = many("softhard", apart)
    at = np.arange(9)
    assert (apart[at, found.positive[:, :9]] == apart[:9].max(1, where=SAME[:9], initial=0)).all()
    assert (apart[at, found.negative[:, :9]] == 5).all()
    found = many("semihard", apart)
    assert (apart[at, found.negative[:, :9]] == 5).all()
    turned = (7 - apart).astype(np.float32)
    found = many("semihard", turned)
    assert (turned[at, found.negative[:, :9]] == 2).all()


def test_a_draw_depends_on_its_own_key_alone(many):
    keys = example_keys(jax.random.key(1), np.arange(10))
    whole = mined("softhard", DISTANCES, SAME, OTHER, keys, margin=MARGIN)
    part = mined("softhard", DISTANCES[3:5], SAME[3:5], OTHER[3:5], keys[3:5], margin=MARGIN)
    for one, other in zip(whole, part, strict=True):
        np.testing.assert_array_equal(one[3:5], other)


def test_hardness():
    a, p, n = np.zeros((1, 2)), np.array([[3.0, 4.0]]), np.array([[0.0, 2.0]])
    assert hardness(a, p, n).tolist() == [3]


@pytest.mark.parametrize("sharpness", [0.0, 2.0, 50.0])
def test_the_weighted_mean_is_that_of_its_definition(sharpness):
    distances, mask = RNG.uniform(size=7), np.array([1, 0, 1, 1, 0, 1, 1], bool)
    largest = max(distances[mask])
    weights = [np.exp(sharpness * (d - largest)) for d in distances[mask]]
    expected = sum(w * d for w, d in zip(weights, distances[mask], strict=True)) / sum(weights)
    found = weighted_mean(distances, mask, sharpness=sharpness)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_the_nearer_half():
    distances = np.array([5.0, 1.0, 4.0, 2.0, 3.0, 0.0])
    assert nearer_half(distances, np.array([1, 1, 1, 1, 1, 0], bool)) == 1.5
    assert nearer_half(distances, np.array([1, 1, 1, 1, 0, 0], bool)) == 1.5
    assert nearer_half(distances, np.array([1, 0, 0, 0, 0, 0], bool)) == 5


def test_means_of_nothing_are_zero_with_a_gradient_of_zero():
    none = np.zeros(3, bool)
    for mean in (nearer_half, lambda d, mask: weighted_mean(d, mask, sharpness=3.0)):
        value, slope = jax.value_and_grad(mean)(jnp.arange(3.0), none)
        assert value == 0
        np.testing.assert_array_equal(slope, 0)
