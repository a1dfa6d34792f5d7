"""Smooth re-ranking: its limit is `k_reciprocal`, and climbing it undoes re-ranked lists."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxreid.attacks import linf, projected_ascent, steepest_step
from jaxreid.errors import InputError
from jaxreid.ranking import KReciprocal, k_reciprocal, soft_k_reciprocal
from jaxreid.types import Embedded

ITEMS = 30


def clusters(seed):
    """A query of the first of five people, and items of all of them."""
    rng = np.random.default_rng(seed)
    people = np.concatenate([[0], rng.integers(0, 5, ITEMS)])
    features = rng.normal(size=(5, 8))[people] + 0.6 * rng.normal(size=(len(people), 8))
    return features.astype(np.float32), people


def exactly(features, chosen, distance="euclidean"):
    """What `k_reciprocal` gives for the first row, item by item."""
    rows = [np.ones(len(features), np.int64)] * 2
    whole = Embedded(features, *rows)
    query, gallery = (Embedded(*(x[part] for x in whole)) for part in (slice(1), slice(1, None)))
    found = k_reciprocal(query, gallery, settings=chosen, distance=distance)
    distances = np.empty(ITEMS)
    distances[found.indices[0]] = found.distances[0]
    return distances


@pytest.mark.slow
@given(
    seed=st.integers(0, 1000),
    k1=st.sampled_from([3, 6, 40]),
    k2=st.sampled_from([1, 3]),
    distance=st.sampled_from(["euclidean", "cosine"]),
)
@settings(max_examples=12)
def test_it_tends_to_the_exact_distances(seed, k1, k2, distance):
    features, _ = clusters(seed)
    chosen = KReciprocal(k1=k1, k2=k2, weight=0.3)
    expected = exactly(features, chosen, distance)
    errors = [
        np.abs(
            np.asarray(
                soft_k_reciprocal(
                    features[:1],
                    features[None, 1:],
                    settings=chosen,
                    temperature=t,
                    distance=distance,
                )
            )[0]
            - expected
        ).max()
        for t in (0.05, 1e-5)
    ]
    # Two distances that nearly tie stay half a neighbour each at any temperature that float32 has.
    assert errors[1] < 0.02
    assert errors[1] <= errors[0] + 1e-5


@pytest.mark.slow
def test_rows_are_searches_of_their_own():
    searches = [clusters(seed)[0] for seed in range(3)]
    query, items = (np.stack([s[part] for s in searches]) for part in (0, slice(1, None)))
    whole = np.asarray(soft_k_reciprocal(query, items))
    assert whole.shape == (3, ITEMS)
    alone = [soft_k_reciprocal(query[i : i + 1], items[i : i + 1])[0] for i in range(3)]
    np.testing.assert_allclose(whole, alone, atol=1e-6)
    np.testing.assert_allclose(jax.jit(soft_k_reciprocal)(query, items), whole, atol=1e-6)


def test_its_gradient_is_that_of_finite_differences():
    features, _ = clusters(4)
    query, items = jnp.asarray(features[:1]), jnp.asarray(features[None, 1:])
    weights = jnp.asarray(np.random.default_rng(0).normal(size=ITEMS), jnp.float32)

    @jax.jit
    def value(x):
        return soft_k_reciprocal(x, items, temperature=0.1)[0] @ weights

    slope = jax.grad(value)(query)
    along, step = slope / jnp.linalg.norm(slope), 3e-3
    moved = (value(query + step * along) - value(query - step * along)) / (2 * step)
    np.testing.assert_allclose(jnp.vdot(slope, along), moved, rtol=0.02)


@pytest.mark.slow
def test_climbing_it_takes_more_from_a_re_ranked_list_than_climbing_distances():
    """The query is the image; the lists are re-ranked exactly before and after."""
    chosen, left = KReciprocal(k1=6, k2=3), {"clean": [], "distances": [], "re-ranked": []}
    for seed in range(4):
        features, people = clusters(seed)
        items, match = jnp.asarray(features[1:]), jnp.asarray(people[1:] == 0)
        image = jax.nn.sigmoid(jnp.asarray(features[:1])).reshape(1, 2, 4, 1)

        def embed(x):
            return jnp.log(x / (1 - x)).reshape(1, -1)

        def apart(distances, match=match):
            mean = [jnp.sum(distances * m, -1) / jnp.sum(m) for m in (match, ~match)]
            return mean[0] - mean[1]

        objectives = {
            "distances": lambda x, items=items: apart(((embed(x)[:, None] - items) ** 2).sum(-1)),
            "re-ranked": lambda x, items=items: apart(
                soft_k_reciprocal(embed(x), items[None], settings=chosen, temperature=0.05)
            ),
        }
        images = {"clean": image}
        for name, objective in objectives.items():
            threat, rule = linf(0.04), steepest_step(linf(0.04).steepest, 0.005)
            images[name] = projected_ascent(
                objective, image, threat=threat, rule=rule, steps=20
            ).images
        for name, found in images.items():
            order = np.argsort(exactly(np.asarray([embed(found)[0], *items]), chosen))
            ranks = np.flatnonzero(np.asarray(match)[order]) + 1
            left[name].append(np.mean(np.arange(1, len(ranks) + 1) / ranks))
    mean = {name: np.mean(precision) for name, precision in left.items()}
    assert mean["re-ranked"] < mean["distances"] < mean["clean"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"features": np.ones((2, 8), np.float32)}, "items"),
        ({"features": np.ones((1, 8), int)}, "features"),
        ({"items": np.ones((1, 3), np.float32)}, "items"),
        ({"items": np.ones((1, 3, 8), int)}, "items"),
        ({"temperature": 0.0}, "temperature must be above 0"),
        ({"temperature": np.nan}, "temperature must be above 0"),
        ({"distance": "manhattan"}, "distance must be one of"),
        ({"settings": KReciprocal(k1=0)}, "k1 of re-ranking"),
        ({"settings": 3}, "rerank must be a KReciprocal"),
    ],
)
def test_wrong_arguments_are_named(changed, message):
    features, _ = clusters(0)
    given = {"features": features[:1], "items": features[None, 1:], **changed}
    with pytest.raises(InputError, match=message):
        soft_k_reciprocal(**given)
