"""Every public function of ranking refuses what it cannot use, by one line that names it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxreid import ranking
from jaxreid.errors import InputError
from jaxreid.ranking import KReciprocal, MatchRanks, Reranking
from jaxreid.types import Embedded

RNG = np.random.default_rng(0)
QUERY = Embedded(RNG.normal(size=(3, 8)), np.array([1, 2, 1]), np.zeros(3, int))
GALLERY = Embedded(RNG.normal(size=(5, 8)), np.array([1, 2, 0, -1, 1]), np.ones(5, int))
RANKS = MatchRanks(
    np.array([[1, 3], [2, 0], [1, 4]]),
    np.array([[True, True], [True, False], [True, True]]),
    np.array([[0, 4], [1, 0], [4, 0]]),
)
ORDER = Reranking(np.array([[0, 1], [1, 2], [4, 0]]), np.zeros((3, 2)))


def embedded(**parts):
    """Keyword arguments `query_features` and so on, put together."""
    sets = {"query": QUERY, "gallery": GALLERY}
    rest = {}
    for name, value in parts.items():
        part, _, field = name.partition("_")
        if part in sets and field:
            sets[part] = sets[part]._replace(**{field: value})
        else:
            rest[name] = value
    return sets | rest


def from_ranks(function):
    def call(**given):
        return function(**({"ranks": RANKS.ranks, "mask": RANKS.mask} | given))

    return call


def match_ranks(**given):
    return ranking.match_ranks(**embedded(**given))


def k_reciprocal(**given):
    return ranking.k_reciprocal(**embedded(settings=KReciprocal(3, 2, 1), **given))


def evaluate(**given):
    return ranking.evaluate(**embedded(**given))


def cross_camera_matches(**given):
    right = {
        "query_identities": QUERY.identities,
        "query_cameras": QUERY.cameras,
        "gallery_identities": GALLERY.identities,
        "gallery_cameras": GALLERY.cameras,
    }
    return ranking.cross_camera_matches(**(right | given))


def cumulative_matching(**given):
    right = {"first_ranks": RANKS.ranks[:, 0], "max_rank": 5, "queries": 3}
    return ranking.cumulative_matching(**(right | given))


def summarize(**given):
    fields = {name: given.pop(name) for name in MatchRanks._fields if name in given}
    return ranking.summarize(**({"ranks": RANKS._replace(**fields)} | given))


def reordered(**given):
    order = {name[6:]: given.pop(name) for name in list(given) if name.startswith("order_")}
    ranks = {name[6:]: given.pop(name) for name in list(given) if name.startswith("ranks_")}
    right = {
        "ranks": RANKS._replace(**ranks),
        "order": ORDER._replace(**order),
        "query": QUERY,
        "gallery": GALLERY,
    }
    return ranking.reordered(**(right | given))


def rerank(**given):
    return ranking.evaluate(QUERY, GALLERY, rerank=KReciprocal(**given))


def curve(k):
    return ranking.summarize(RANKS).rank(k)


def certified_ranks(**given):
    """Of queries that could be means of unit rows."""
    sets = embedded(query_features=QUERY.features / 9, **given)
    return ranking.certified_ranks(**({"sigma": 0.5, "error": 0.1, "radii": [0.5]} | sets))


def mean_error(**given):
    right = {"lengths": np.full(3, 0.5), "samples": 100, "failure": 0.1}
    return ranking.mean_error(**(right | given))


METRICS = (
    from_ranks(ranking.average_precision_sum),
    from_ranks(ranking.average_precision_trapezoid),
    from_ranks(ranking.inverse_negative_penalty),
)
NO_ARRAYS = (None, 3, "x", [1, 2], np.float64(1), np.ma.masked_array([1, 2], [0, 1]), object())
NO_COUNTS = (None, "3", 2.0, True, np.array([1]), 0, -1, 10**30, float("nan"))
WHERE_INTEGERS = {
    "identities": (match_ranks, "query_identities"),
    "certified_ranks": (certified_ranks, "gallery_cameras"),
    "cameras": (match_ranks, "gallery_cameras"),
    "k_reciprocal": (k_reciprocal, "gallery_identities"),
    "cross_camera_matches": (cross_camera_matches, "query_cameras"),
    "retrievable": (ranking.retrievable, "gallery_identities"),
    "cumulative_matching": (cumulative_matching, "first_ranks"),
    "reordered": (reordered, "order_indices"),
    "reordered ranks": (reordered, "ranks_indices"),
    "summarize": (summarize, "ranks"),
}
NO_INTEGERS = (
    *NO_ARRAYS,
    np.ones(3),
    np.array(["a", "b", "c"]),
    np.array([None] * 3),
    np.ones(3, bool),
    np.ones((3, 1, 1), int),
    np.array([1, 2, 2**40]),
    np.array([1, 2, 2**63], np.uint64),
    jax.random.key(0),
)


def refused(function, **given):
    with pytest.raises(InputError) as error:
        function(**given)
    message = str(error.value)
    assert "\n" not in message
    assert len(message) < 300
    return message


@pytest.mark.parametrize(("function", "argument"), WHERE_INTEGERS.values(), ids=WHERE_INTEGERS)
def test_integers(function, argument):
    for value in NO_INTEGERS:
        message = refused(function, **{argument: value})
        assert argument.replace("query_", "").replace("order_", "")[:5] in message


@pytest.mark.parametrize("function", [match_ranks, k_reciprocal, evaluate])
@pytest.mark.parametrize("argument", ["query_features", "gallery_features"])
def test_features(function, argument):
    rows = len(QUERY.features) if argument == "query_features" else len(GALLERY.features)
    for value in (
        *NO_ARRAYS,
        np.ones((rows, 8), int),
        np.ones((rows, 8), bool),
        np.ones((rows, 8), complex),
        np.ones((rows, 8), object),
        np.ones(8),
        np.ones((rows + 1, 8)),
        np.ones((rows, 7)),
        np.ones((rows, 0)),
        np.full((rows, 8), np.nan),
        np.full((rows, 8), -np.inf, np.float16),
    ):
        message = refused(function, **{argument: value})
        assert "features" in message
    if np.dtype(np.longdouble).itemsize > 8:
        wide = np.ones((rows, 8), np.longdouble)
        assert "at most 64 bits" in refused(function, **{argument: wide})


@pytest.mark.parametrize("metric", METRICS)
def test_ranks_and_their_mask(metric):
    for value in (*NO_ARRAYS, RANKS.ranks[0], RANKS.ranks.astype(float), RANKS.ranks[:2]):
        assert "ranks" in refused(metric, ranks=value)
    for value in (*NO_ARRAYS, RANKS.mask.astype(int), RANKS.mask[:, :1]):
        assert "mask" in refused(metric, mask=value)
    assert "True first" in refused(metric, mask=~RANKS.mask)
    for wrong in ([[0, 3]], [[-1, 3]], [[3, 3]], [[3, 1]], [[0, 0]]):
        message = refused(metric, ranks=np.array(wrong), mask=np.ones((1, 2), bool))
        assert "1 or more and ascend" in message
    # Padding holds anything.
    value = metric(ranks=np.array([[1, -7]]), mask=np.array([[True, False]]))
    np.testing.assert_array_equal(value, [1])


@pytest.mark.parametrize(
    ("function", "argument"),
    [
        (match_ranks, "block_size"),
        (evaluate, "block_size"),
        (evaluate, "max_rank"),
        (summarize, "max_rank"),
        (cumulative_matching, "max_rank"),
        (cumulative_matching, "queries"),
        (mean_error, "samples"),
        (curve, "k"),
        (rerank, "top"),
        (rerank, "k1"),
        (rerank, "k2"),
    ],
)
def test_counts(function, argument):
    for value in NO_COUNTS:
        assert argument in refused(function, **{argument: value})


def test_settings():
    for function in (match_ranks, evaluate, k_reciprocal):
        for value in (None, "manhattan", 2, ["cosine"], np.array(["cosine", "cosine"])):
            assert "distance must be one of" in refused(function, distance=value)
        assert "progress" in refused(function, progress=3)
    for function in (summarize, evaluate):
        for value in (None, "market", ["market1501"]):
            assert "protocol must be one of" in refused(function, protocol=value)
    for value in (jax.devices()[0], "cpu", [0], [], [jax.devices()[0]] * 2):
        assert "devices" in refused(match_ranks, devices=value)
    for value in (-0.1, 1.1, float("nan"), "0.3", None, True):
        assert "weight" in refused(rerank, weight=value)
    for value in ((100, 20, 6, 0.3), True, {}):
        assert "must be a KReciprocal" in refused(evaluate, rerank=value)


def test_certificates():
    assert certified_ranks().radius.shape == (3,)
    assert "progress" in refused(certified_ranks, progress=3)
    for value in (None, "x", 0, -1, float("nan"), float("inf"), True, np.ones(3)):
        assert "sigma must be above 0" in refused(certified_ranks, sigma=value)
    for value in (None, "x", -0.1, float("nan"), np.full(3, np.inf), np.ones((3, 1)), [0.1] * 3):
        assert "error must be at least 0" in refused(certified_ranks, error=value)
    assert "shape [Q] = [3], got shape [2]" in refused(certified_ranks, error=np.ones(2))
    for value in (None, "12", 1.0, [], np.ones((2, 2)), {0.5}, iter([1])):
        assert "radii must be a sequence" in refused(certified_ranks, radii=value)
    for value in ([0.5, -1], ["1"], (np.nan,), [[1.0], [2.0, 3.0]]):
        assert "must be at least 0" in refused(certified_ranks, radii=value)
    for value in (
        *NO_ARRAYS,
        np.ones(3, int),
        np.full(3, -0.1),
        np.full(3, 1.1),
        np.full(2, np.nan),
    ):
        assert "lengths" in refused(mean_error, lengths=value)
    for value in (None, 0, 1, -0.5, "x", float("nan"), np.full(3, 0.5)):
        assert "failure must lie in (0, 1)" in refused(mean_error, failure=value)
    long = {"query": QUERY, "gallery": GALLERY, "sigma": 1.0, "error": 0.0, "radii": [0]}
    assert "length 1 at most, got one of length" in refused(ranking.certified_ranks, **long)


def test_sets_and_results():
    for value in (None, tuple(QUERY), QUERY.features, {}):
        assert "must be an Embedded" in refused(ranking.match_ranks, query=value, gallery=GALLERY)
        assert "must be an Embedded" in refused(reordered, gallery=value)
    for value in (None, tuple(RANKS), ORDER):
        assert "must be a MatchRanks" in refused(ranking.summarize, ranks=value)
        assert "must be a MatchRanks" in refused(reordered, ranks=value)
    assert "must be a Reranking" in refused(reordered, order=RANKS.indices)


def test_an_order_that_is_none_of_this_gallery():
    for wrong, reason in (
        ([[0, 5], [1, 2], [4, 0]], "below N=5"),
        ([[0, -1], [1, 2], [4, 0]], "at least 0"),
        ([[0, 0], [1, 2], [4, 0]], "name an item once"),
        ([[0, 3], [1, 2], [4, 0]], "not name junk"),
    ):
        assert reason in refused(reordered, order_indices=np.array(wrong))
    empty = np.zeros((3, 0), int)
    assert "at least one item" in refused(
        reordered, order_indices=empty, order_distances=np.zeros((3, 0))
    )
    assert "below N=5" in refused(reordered, ranks_indices=np.full((3, 2), 9))


def test_nothing_to_rank_or_to_average(kind):
    none = np.zeros(0, int)
    assert "at least one query" in refused(
        cross_camera_matches, query_identities=none, query_cameras=none
    )
    assert "at least one query" in refused(
        cross_camera_matches, gallery_identities=none, gallery_cameras=none
    )
    assert "at least 3" in refused(cumulative_matching, queries=2)
    one_camera = refused(evaluate, gallery_cameras=np.zeros(5, int))
    assert "no query has a match" in one_camera
    kind("ranking.evaluate, all images from one camera", f"InputError: {one_camera}")


def test_values_that_are_not_known_yet():
    def traced(features):
        return match_ranks(query_features=features).ranks

    with pytest.raises(InputError, match="not under jit"):
        jax.jit(traced)(jnp.ones((3, 8)))


def test_arrays_of_other_kinds_are_fine():
    expected = match_ranks()
    for kind in (np.int8, np.uint16, ">i8"):
        found = match_ranks(
            query_identities=QUERY.identities.astype(kind),
            query_cameras=jnp.asarray(QUERY.cameras),
        )
        np.testing.assert_array_equal(found.ranks, expected.ranks)


def test_the_table_of_kinds(kind):
    kind(
        "any public function of ranking with lists, wrong shapes, dtypes, NaN or negative numbers",
        "InputError: " + refused(match_ranks, query_identities=[1, 2, 1]),
    )
