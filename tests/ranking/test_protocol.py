"""Who counts and for how much: against golden numbers, in both protocols."""

import jax
import numpy as np
import pytest

from jaxreid.errors import InputError
from jaxreid.ranking import (
    KReciprocal,
    cross_camera_matches,
    evaluate,
    match_ranks,
    retrievable,
    summarize,
)
from jaxreid.types import Embedded


@pytest.fixture(scope="module")
def z(golden):
    return np.load(golden / "ranking.npz")


def sets(z):
    return (
        Embedded(z["query_features"], z["query_ids"], z["query_cams"]),
        Embedded(z["gallery_features"], z["gallery_ids"], z["gallery_cams"]),
    )


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_golden_metrics(z, distance):
    with jax.enable_x64(True):
        ours = evaluate(*sets(z), distance=distance, max_rank=300)
        theirs = evaluate(*sets(z), distance=distance, max_rank=300, protocol="torchreid")
    valid = z[f"valid_{distance}"]
    np.testing.assert_array_equal(ours.valid, valid)
    np.testing.assert_allclose(ours.average_precision[valid], z[f"ap_{distance}"][valid], 1e-12)
    np.testing.assert_array_equal(ours.average_precision[~valid], 0)
    assert ours.mean_average_precision == pytest.approx(z[f"map_reference_{distance}"], abs=1e-12)
    np.testing.assert_allclose(ours.cumulative_matching, z[f"cmc_reference_{distance}"], 1e-12)
    # The golden mean over valid queries keeps the trapezoid, but takes torchreid's denominator.
    over_valid = ours.average_precision[valid].mean()
    assert over_valid == pytest.approx(z[f"map_valid_{distance}"], abs=1e-12)
    np.testing.assert_allclose(theirs.cumulative_matching, z[f"cmc_valid_{distance}"], 1e-12)


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_golden_metrics_in_single_precision(z, distance):
    ours = evaluate(*sets(z), distance=distance, max_rank=300)
    valid = z[f"valid_{distance}"]
    # Rounding may swap neighbours whose distances agree to seven digits.
    equal = np.isclose(ours.average_precision, z[f"ap_{distance}"], rtol=0, atol=1e-12)[valid]
    assert equal.mean() >= 0.95
    assert ours.mean_average_precision == pytest.approx(z[f"map_reference_{distance}"], abs=1e-3)


def test_both_protocols_from_one_search(z):
    ranks = match_ranks(*sets(z))
    for protocol in ("market1501", "torchreid"):
        one, other = summarize(ranks, protocol=protocol), evaluate(*sets(z), protocol=protocol)
        assert one.mean_average_precision == other.mean_average_precision
        assert one.rank(5) == other.rank(5) == one.cumulative_matching[4]


@pytest.mark.slow
def test_reranking_is_an_option(z):
    plain, again = evaluate(*sets(z)), evaluate(*sets(z), rerank=KReciprocal(top=50, k1=6, k2=3))
    np.testing.assert_array_equal(plain.valid, again.valid)
    assert plain.mean_average_precision != again.mean_average_precision
    # With nothing but the original distance it changes nothing.
    same = evaluate(*sets(z), rerank=KReciprocal(top=50, k1=6, k2=3, weight=1.0))
    np.testing.assert_array_equal(plain.first_match_rank, same.first_match_rank)


def test_bad_settings_are_named(z):
    with pytest.raises(InputError, match="protocol must be one of"):
        evaluate(*sets(z), protocol="market")
    for k in (0, 51):
        with pytest.raises(InputError, match=r"k must lie in 1\.\.50"):
            evaluate(*sets(z)).rank(k)
    with pytest.raises(InputError, match="max_rank"):
        evaluate(*sets(z), max_rank=0)
    with pytest.raises(InputError, match="k1 of re-ranking must be at least 1"):
        evaluate(*sets(z), rerank=KReciprocal(k1=0))


@pytest.mark.parametrize("protocol", ["market1501", "torchreid"])
def test_a_mean_over_nothing_is_refused(protocol):
    one_camera = Embedded(np.eye(4, dtype=np.float32), np.arange(1, 5), np.zeros(4, int))
    with pytest.raises(InputError, match="no query has a match"):
        evaluate(one_camera, one_camera, protocol=protocol, max_rank=3)


def test_queries_without_a_match_count_as_each_protocol_says():
    query = Embedded(np.eye(3, dtype=np.float32), np.array([1, 2, 3]), np.zeros(3, int))
    gallery = Embedded(np.eye(3, dtype=np.float32), np.array([1, 2, 4]), np.array([1, 0, 1]))
    found = {name: evaluate(query, gallery, protocol=name) for name in ("market1501", "torchreid")}
    assert found["market1501"].mean_average_precision == pytest.approx(1 / 3)
    assert found["torchreid"].mean_average_precision == 1
    assert found["torchreid"].valid.tolist() == [True, False, False]


def test_matches_have_the_identity_and_another_camera():
    matches = cross_camera_matches(
        np.array([5, 5, 7, 0, -1]),
        np.array([0, 1, 0, 0, 0]),
        np.array([7, 5, -1, 5, 0, 5]),
        np.array([0, 1, 1, 0, 1, 2]),
    )
    found = [i[m].tolist() for i, m in zip(matches.indices, matches.mask, strict=True)]
    assert found == [[1, 5], [3, 5], [], [], []]
    np.testing.assert_array_equal(matches.indices[~matches.mask], 0)


def test_junk_is_out_and_distractors_are_in():
    np.testing.assert_array_equal(retrievable(np.array([-1, 0, 4])), [False, True, True])
