"""Equal distances: by gallery index, or others first, in every block and on every device."""

import jax
import numpy as np
import pytest
from searches import distances_of, on_a_grid, pessimistic_ranks, random_set

from jaxreid.errors import InputError
from jaxreid.ranking import KReciprocal, evaluate, match_ranks, summarize
from jaxreid.types import Embedded


def as_lists(ranks):
    return [r[m].tolist() for r, m in zip(ranks.ranks, ranks.mask, strict=True)]


@pytest.mark.parametrize("seed", range(4))
def test_others_come_before_matches_at_the_same_distance(seed):
    rng = np.random.default_rng(seed)
    query, gallery = on_a_grid(rng, 20), on_a_grid(rng, 150)
    expected = [pessimistic_ranks(*x) for x in distances_of(query, gallery, "euclidean")]
    assert as_lists(match_ranks(query, gallery, ties="pessimistic")) == expected
    assert as_lists(match_ranks(query, gallery)) != expected


def test_float64_features_have_the_same_ties():
    rng = np.random.default_rng(4)
    query, gallery = on_a_grid(rng, 20), on_a_grid(rng, 150)
    expected = match_ranks(query, gallery, ties="pessimistic")
    query, gallery = (x._replace(features=x.features.astype(np.float64)) for x in (query, gallery))
    assert as_lists(match_ranks(query, gallery, ties="pessimistic")) == as_lists(expected)


def far_enough(matches, others):
    """Whether float32 tells a match from any other item that is not at the very same distance."""
    apart = np.abs(np.subtract.outer(matches, others))
    return not ((apart > 1e-12) & (apart < 2e-5)).any()


@pytest.mark.slow
@pytest.mark.optimized
@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
@pytest.mark.parametrize("dimension", [8, 200])
def test_block_size_and_device_count_change_nothing(distance, dimension):
    rng = np.random.default_rng(5)
    query, gallery = random_set(rng, 40, dimension), random_set(rng, 300, dimension)
    # Every feature twice, mostly under another identity.
    gallery = gallery._replace(features=np.tile(gallery.features[:150], (2, 1)))
    found = distances_of(query, gallery, distance)
    clear = np.array([far_enough(*lists) for lists in found])
    assert clear.mean() > 0.5
    expected = np.array([pessimistic_ranks(*lists) for lists in found], object)
    for block_size in (40, 100_000):
        for devices in (1, 3):
            ranks = match_ranks(
                query,
                gallery,
                distance=distance,
                ties="pessimistic",
                block_size=block_size,
                devices=jax.devices()[:devices],
            )
            ours = np.array([*as_lists(ranks), None], object)[:-1]
            assert ours[clear].tolist() == expected[clear].tolist()


def test_the_order_of_the_gallery_changes_no_pessimistic_rank():
    rng = np.random.default_rng(6)
    query, gallery = on_a_grid(rng, 20), on_a_grid(rng, 150)
    order = rng.permutation(150)
    shuffled = Embedded(*(x[order] for x in gallery))
    ranks = [as_lists(match_ranks(query, x, ties="pessimistic")) for x in (gallery, shuffled)]
    assert ranks[0] == ranks[1]


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_who_maps_all_images_to_one_feature_finds_nobody(distance, value):
    rng = np.random.default_rng(7)
    query, gallery = random_set(rng, 10, low=1), random_set(rng, 90, low=1)
    query, gallery = (
        x._replace(features=np.full_like(x.features, value)) for x in (query, gallery)
    )
    metrics = evaluate(query, gallery, distance=distance, ties="pessimistic")
    wrong = (query.identities[:, None] != gallery.identities).sum(axis=1)
    np.testing.assert_array_equal(metrics.first_match_rank, wrong + 1)
    lucky = evaluate(query, gallery, distance=distance)
    assert lucky.mean_average_precision > metrics.mean_average_precision


def test_evaluation_is_of_these_ranks():
    rng = np.random.default_rng(8)
    query, gallery = on_a_grid(rng, 20), on_a_grid(rng, 150)
    for protocol in ("market1501", "torchreid"):
        ours = evaluate(query, gallery, protocol=protocol, ties="pessimistic")
        ranks = match_ranks(query, gallery, ties="pessimistic")
        expected = summarize(ranks, protocol=protocol)
        assert ours.mean_average_precision == expected.mean_average_precision


def test_what_is_wrong_is_named():
    rng = np.random.default_rng(9)
    query, gallery = random_set(rng, 5), random_set(rng, 50)
    with pytest.raises(InputError, match="ties must be"):
        match_ranks(query, gallery, ties="optimistic")
    with pytest.raises(InputError, match='ties must be "index" with rerank'):
        evaluate(query, gallery, ties="pessimistic", rerank=KReciprocal())
