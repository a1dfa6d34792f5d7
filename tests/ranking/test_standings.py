"""Standing inside a compiled program: what a sort finds, and what the ranking of the host finds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from searches import distances_of, on_a_grid, pessimistic_ranks, random_set

from jaxreid.ranking import (
    ListDistances,
    list_distances,
    match_ranks,
    search_lists,
    standing,
    summarize,
)
from jaxreid.sharding import over_rows, row_mesh

DISTANCES = ["euclidean", "cosine"]
compiled = jax.jit(standing)
measured = jax.jit(list_distances, static_argnames="distance")


@pytest.mark.slow
@pytest.mark.parametrize("draw", [random_set, on_a_grid])
@pytest.mark.parametrize("distance", DISTANCES)
def test_it_is_what_ranking_finds_with_pessimistic_ties(draw, distance):
    ties = 0
    for seed in range(5):
        rng = np.random.default_rng(seed)
        query, gallery = draw(rng, 16), draw(rng, 120)
        # Cosine distances of a grid are no exact numbers, but those of equal features are equal.
        if distance == "cosine":
            gallery = gallery._replace(features=random_set(rng, 30).features[np.arange(120) % 30])
        lists = search_lists(query, gallery, width=40)
        found = compiled(measured(query.features, lists, distance=distance))
        ranks = match_ranks(query, gallery, distance=distance, ties="pessimistic")
        ties += (ranks.ranks != match_ranks(query, gallery, distance=distance).ranks).any()
        width = ranks.ranks.shape[1]
        np.testing.assert_array_equal(found.ranks[:, :width], ranks.ranks)
        assert not found.ranks[:, width:].any()
        for protocol, values in found.average_precision.items():
            expected = summarize(ranks, protocol=protocol)
            np.testing.assert_allclose(values, expected.average_precision, atol=1e-6)
            np.testing.assert_array_equal(found.first_rank, expected.first_match_rank)
    assert ties or (draw is random_set and distance == "euclidean")


@pytest.mark.parametrize("seed", range(3))
def test_it_is_what_a_sort_finds(seed):
    rng = np.random.default_rng(seed)
    query, gallery = on_a_grid(rng, 16), on_a_grid(rng, 120)
    found = compiled(measured(query.features, search_lists(query, gallery, width=40)))
    for row, lists in enumerate(distances_of(query, gallery, "euclidean")):
        expected = pessimistic_ranks(*lists)
        assert found.ranks[row][: len(expected)].tolist() == expected
        assert not found.ranks[row][len(expected) :].any()
        assert found.first_rank[row] == (expected or [0])[0]
        plain = [place / rank for place, rank in enumerate(expected, 1)]
        assert found.average_precision["torchreid"][row] == pytest.approx(
            np.mean(plain) if plain else 0, abs=1e-6
        )


def test_who_maps_all_images_to_one_feature_finds_nobody():
    rng = np.random.default_rng(0)
    query, gallery = random_set(rng, 16, low=1), random_set(rng, 120, low=1)
    query, gallery = (x._replace(features=np.ones_like(x.features)) for x in (query, gallery))
    for distance in DISTANCES:
        lists = search_lists(query, gallery, width=40)
        found = compiled(measured(query.features, lists, distance=distance))
        np.testing.assert_array_equal(found.first_rank, lists.others.sum(axis=1) + 1)


def test_rows_over_devices_stand_as_they_do_alone():
    rng = np.random.default_rng(1)
    query, gallery = random_set(rng, 8), random_set(rng, 300)
    lists = search_lists(query, gallery)
    rows = (query.features, lists.matches, lists.mask, lists.others)

    def stand(shared, rows):
        features, *own = rows
        return standing(
            measured(
                features,
                lists._replace(gallery=shared)._replace(matches=own[0], mask=own[1], others=own[2]),
            )
        )

    ours = [over_rows(stand, row_mesh(jax.devices()[:n]))(lists.gallery, rows) for n in (1, 4)]
    jax.tree.map(np.testing.assert_array_equal, *ours)


def drawn():
    rng = np.random.default_rng(2)
    matched, other = rng.random((4, 3), np.float32), rng.random((4, 50), np.float32)
    mask = np.ones((4, 3), bool)
    return ListDistances(*map(jnp.asarray, (matched, mask, other, np.ones((4, 50), bool))))


def test_matches_may_stand_anywhere_in_a_row():
    distances = drawn()
    mask = np.array([[False, True, False], [True, False, True], [False] * 3, [True] * 3])
    found = compiled(distances._replace(mask=jnp.asarray(mask)))
    for row, used in enumerate(mask):
        matches = np.asarray(distances.matched)[row, used].tolist()
        expected = pessimistic_ranks(matches, np.asarray(distances.other)[row].tolist())
        assert found.ranks[row].tolist() == expected + [0] * (3 - len(expected))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_at_no_distance_makes_no_rank_worse(value):
    distances = drawn()
    clean = compiled(distances)
    broken = compiled(distances._replace(other=distances.other.at[0].set(value)))
    assert broken.ranks[0].tolist() == [1, 2, 3]
    np.testing.assert_array_equal(broken.ranks[1:], clean.ranks[1:])
    lost = compiled(distances._replace(matched=distances.matched.at[1].set(value)))
    assert lost.first_rank[1] == 1
    broken = distances._replace(
        matched=distances.matched.at[2].set(value), other=distances.other.at[2].set(value)
    )
    assert compiled(broken).ranks[2].tolist() == [1, 2, 3]


def test_rows_without_others_are_perfect_and_those_without_matches_nothing():
    distances = drawn()
    found = compiled(
        distances._replace(
            mask=distances.mask.at[0].set(False), others=distances.others.at[1].set(False)
        )
    )
    for values in found.average_precision.values():
        assert values[0] == 0
        assert values[1] == 1
    assert found.first_rank[:2].tolist() == [0, 1]


def test_no_derivative_flows_through_it():
    distances = drawn()

    def total(other):
        found = standing(distances._replace(other=other))
        return sum(x.sum() for x in found.average_precision.values())

    assert not jax.jit(jax.grad(total))(distances.other).any()


def test_memory_does_not_grow_with_the_number_of_matches():
    rows, items, width = 8, 4096, 64
    shapes = ListDistances(
        jax.ShapeDtypeStruct((rows, width), jnp.float32),
        jax.ShapeDtypeStruct((rows, width), jnp.bool_),
        jax.ShapeDtypeStruct((rows, items), jnp.float32),
        jax.ShapeDtypeStruct((rows, items), jnp.bool_),
    )
    program = jax.jit(standing).lower(shapes).compile()
    assert program.memory_analysis().temp_size_in_bytes < 2 * rows * items * 4
