"""Ranks are right wherever features lie and however large they are: against long double numbers."""

import jax
import numpy as np
import pytest

from jaxreid.errors import InputError
from jaxreid.ranking import KReciprocal, evaluate, k_reciprocal, match_ranks, neighbours
from jaxreid.ranking.frames import Frame, framed
from jaxreid.types import Embedded

DISTANCES = ("euclidean", "cosine")


def people(seed, size, *, dimension=16, offset=0.0, scale=1.0, dtype=np.float32):
    """Features about one point per person; the points have spread 1 about the offset."""
    rng = np.random.default_rng(seed)
    identities = rng.integers(-1, 12, size)
    points = np.random.default_rng(99).normal(size=(13, dimension))
    features = 0.4 * points[identities] + rng.normal(size=(size, dimension))
    return Embedded(
        ((features + offset) * scale).astype(dtype), identities, rng.integers(0, 3, size)
    )


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(neighbours, "_ROWS", 64)
    monkeypatch.setattr(neighbours, "_COLUMNS", 128)


def both(**settings):
    return people(1, 30, **settings), people(2, 200, **settings)


def unit(rows):
    largest = np.abs(rows).max(axis=1, keepdims=True)
    rows = rows / np.where(largest > 0, largest, 1)
    return rows / np.maximum(np.sqrt((rows * rows).sum(axis=1, keepdims=True)), 0.5)


def true_distances(query, gallery, distance):
    """Squared distances [Q,N] from differences, in long double."""
    q, g = (part.features.astype(np.longdouble) for part in (query, gallery))
    zero = [~np.any(x, axis=1) for x in (q, g)]
    if distance == "cosine":
        q, g = (unit(x) for x in (q, g))
    squared = np.stack([((row - g) ** 2).sum(1) for row in q])
    if distance == "cosine":
        squared[zero[0]], squared[:, zero[1]] = 2, 2
    return squared


def true_ranks(query, gallery, distance):
    result = []
    for row, squared in enumerate(true_distances(query, gallery, distance)):
        order = np.argsort(squared, kind="stable")
        same = gallery.identities[order] == query.identities[row]
        drop = (same & (gallery.cameras[order] == query.cameras[row])) | (
            gallery.identities[order] == -1
        )
        result.append((np.flatnonzero((same & (query.identities[row] > 0))[~drop]) + 1).tolist())
    return result


def as_lists(found):
    return [r[m].tolist() for r, m in zip(found.ranks, found.mask, strict=True)]


PLACES = {
    "the origin": {},
    "1,000 away": {"offset": 1e3},
    "3,000 away": {"offset": 3e3},
    "100,000 away": {"offset": 1e5},
    "of size 1e-20": {"scale": 1e-20},
    "of size 1e-30, away": {"scale": 1e-30, "offset": 300},
    "subnormal": {"scale": 1e-40},
    "of size 1e19": {"scale": 1e19},
    "of size 1e30, away": {"scale": 1e30, "offset": 3e3},
    "as large as float32": {"scale": 3e37},
    "float64, 1e-9 about 1,000": {"scale": 1e-9, "offset": 1e12, "dtype": np.float64},
    "float64 of size 1e200": {"scale": 1e200, "offset": 1e3, "dtype": np.float64},
    "float64 of size 1e-300": {"scale": 1e-300, "dtype": np.float64},
    "float16": {"offset": 30, "dtype": np.float16},
    "bfloat16": {"dtype": jax.numpy.bfloat16},
}


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_ranks_are_those_of_long_double_differences(place, distance):
    query, gallery = both(**place)
    found = match_ranks(query, gallery, distance=distance)
    assert as_lists(found) == true_ranks(query, gallery, distance)


def test_features_away_from_the_origin_keep_their_map(kind):
    """Steps of 1/64 are exact up to 2^17: the same features, moved."""
    near = [p._replace(features=np.round(p.features * 64) / np.float32(64)) for p in both()]
    expected = evaluate(*near)
    for offset in (1000, 3000, 2**16):
        far = [p._replace(features=p.features + np.float32(offset)) for p in near]
        moved = evaluate(*far)
        assert moved.mean_average_precision == expected.mean_average_precision
        np.testing.assert_array_equal(moved.average_precision, expected.average_precision)
    kind(
        "ranking features of spread 1 that lie 1,000 or 3,000 from the origin",
        "the mAP of the same features at the origin, to the last digit",
    )


@pytest.mark.parametrize("offset", [0, 2**20])
def test_whole_numbers_tie_exactly_and_ties_go_by_index(offset):
    rng = np.random.default_rng(3)
    query, gallery = (
        Embedded(
            (rng.integers(0, 6, (size, 3)) + offset).astype(np.float32),
            rng.integers(1, 5, size),
            rng.integers(0, 3, size),
        )
        for size in (20, 300)
    )
    assert as_lists(match_ranks(query, gallery)) == true_ranks(query, gallery, "euclidean")


@pytest.mark.parametrize("distance", DISTANCES)
def test_a_few_rows_elsewhere_spoil_nothing_for_the_others(distance):
    query, gallery = both()
    gallery.features[7] = 1e9
    gallery.features[8] = 1e30
    query.features[3] = -1e6
    assert as_lists(match_ranks(query, gallery, distance=distance)) == true_ranks(
        query, gallery, distance
    )


@pytest.mark.parametrize("distance", [30, 1000, 30_000])
def test_two_groups_far_apart(distance):
    """A point between them is far from both: float64 takes over."""
    query, gallery = both()
    for part in (query, gallery):
        part.features[::2] += np.float32(distance)
    assert as_lists(match_ranks(query, gallery)) == true_ranks(query, gallery, "euclidean")


def test_every_camera_with_an_offset_of_its_own():
    query, gallery = both()
    for part in (query, gallery):
        part.features[:] += 1000 * np.float32(part.cameras)[:, None]
    assert as_lists(match_ranks(query, gallery)) == true_ranks(query, gallery, "euclidean")


def test_two_bundles_of_directions():
    query, gallery = both()
    for part in (query, gallery):
        part.features[::2, 0] += 30_000
        part.features[1::2, 1] += 30_000
    assert as_lists(match_ranks(query, gallery, distance="cosine")) == true_ranks(
        query, gallery, "cosine"
    )


def test_near_duplicates_of_a_query():
    rng = np.random.default_rng(4)
    query, gallery = both()
    copies = np.tile(query.features, (2, 1))
    copies += 1e-3 * rng.normal(size=copies.shape).astype(np.float32)
    gallery = Embedded(
        np.concatenate([gallery.features, copies]),
        np.concatenate([gallery.identities, rng.integers(1, 12, 60)]),
        np.concatenate([gallery.cameras, rng.integers(0, 3, 60)]),
    )
    for which in DISTANCES:
        found = match_ranks(query, gallery, distance=which)
        assert as_lists(found) == true_ranks(query, gallery, which)


@pytest.mark.parametrize("offset", [0, 50, 3000])
def test_the_cosine_distance_to_zero_is_one_and_all_sizes_are_one(offset):
    query, gallery = both(offset=offset)
    query.features[::7], gallery.features[::9] = 0, 0
    query.features[1] *= np.float32(1e-30)
    gallery.features[1::6] *= np.float32(1e25)
    gallery.features[2::6] *= np.float32(2.0**-130)  # subnormal, and so a little rounded
    found = match_ranks(query, gallery, distance="cosine")
    assert as_lists(found) == true_ranks(query, gallery, "cosine")


@pytest.mark.slow
@pytest.mark.parametrize(
    "place", ["100,000 away", "of size 1e30, away", "float64, 1e-9 about 1,000"]
)
@pytest.mark.parametrize("distance", DISTANCES)
def test_block_size_devices_and_kinds_of_arrays_change_nothing(place, distance, tmp_path):
    query, gallery = both(dimension=200, **PLACES[place])
    # Copies: exact ties, which only the same bits in every product preserve.
    gallery.features[100:] = gallery.features[:100]
    gallery.features[:30] = query.features
    expected = match_ranks(query, gallery, distance=distance, devices=jax.devices()[:1])
    np.save(tmp_path / "features.npy", gallery.features)
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r")
    swapped = gallery.features.astype(gallery.features.dtype.newbyteorder())
    with jax.enable_x64(True):
        on_device = jax.numpy.asarray(gallery.features)
    for features, block_size, devices in (
        (gallery.features, 1, 4),
        (np.asfortranarray(gallery.features), 128, 1),
        (mapped, 1000, 3),
        (swapped, 128, 2),
        (on_device, 128, 2),
    ):
        ranks = match_ranks(
            query,
            gallery._replace(features=features),
            distance=distance,
            block_size=block_size,
            devices=jax.devices()[:devices],
        )
        np.testing.assert_array_equal(ranks.ranks, expected.ranks)
        np.testing.assert_array_equal(ranks.indices, expected.indices)


def test_queries_do_not_change_each_other():
    query, gallery = both(offset=3)
    query.features[0] = gallery.features[np.argmax(gallery.identities == 1)]
    query.features[1] *= np.float32(1e20)
    query.identities[:2] = 1
    together = match_ranks(query, gallery, distance="cosine")
    for row in range(5):
        alone = Embedded(*(x[row : row + 1] for x in query))
        assert (
            as_lists(match_ranks(alone, gallery, distance="cosine"))[0] == (as_lists(together)[row])
        )


def test_differences_of_directions_keep_their_digits():
    """Rows of one length and almost one direction, against long double."""
    rng = np.random.default_rng(5)
    rows = 1e3 + 1e-9 * rng.normal(size=(20, 8))
    ours = framed(rows, Frame("cosine", np.dtype(np.float64), centre=rows[0]))
    wide = rows.astype(np.longdouble)
    expected = (unit(wide) - unit(wide)[0]).astype(np.float64)
    # Long double itself has 1e-19.
    np.testing.assert_allclose(ours, expected, rtol=0, atol=3e-19)
    assert 1e-13 < np.abs(ours[1:]).max() < 1e-11


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("place", ["3,000 away", "of size 1e-20", "float64 of size 1e200"])
def test_reranking_is_right_there_too(place, distance, small_blocks):
    """The order that the same search finds with features brought near by exact arithmetic."""
    far = both(**PLACES[place])
    point = far[1].features[0].astype(np.longdouble)
    size = far[1].features.max()
    settings = KReciprocal(top=30, k1=6, k2=3)
    near = []
    for part in far:
        wide = part.features.astype(np.longdouble)
        if distance == "euclidean":
            wide = (wide - point) / size * np.longdouble(PLACES[place].get("offset", 1))
        else:
            wide = wide / size
        near.append(part._replace(features=wide.astype(np.float64)))
    ours = k_reciprocal(*far, settings=settings, distance=distance)
    expected = k_reciprocal(*near, settings=settings, distance=distance)
    np.testing.assert_allclose(ours.distances, expected.distances, atol=1e-4)
    agree = np.mean(ours.indices == expected.indices)
    assert agree > 0.99


@pytest.mark.parametrize("distance", DISTANCES)
def test_reranking_away_from_the_origin_starts_from_the_true_neighbours(distance, small_blocks):
    query, gallery = both(offset=3e3)
    order = k_reciprocal(
        query, gallery, settings=KReciprocal(top=10, k1=6, k2=1, weight=1.0), distance=distance
    )
    squared = true_distances(query, gallery, distance)
    squared[:, gallery.identities == -1] = np.inf
    nearest = np.argsort(squared, axis=1, kind="stable")[:, :10]
    np.testing.assert_array_equal(order.indices, nearest)


def test_a_zero_row_is_as_far_as_a_right_angle_when_reranked(small_blocks):
    query, gallery = both()
    gallery.features[5] = 0
    order = k_reciprocal(
        query, gallery, settings=KReciprocal(top=200, k1=6, k2=1, weight=1.0), distance="cosine"
    )
    squared = true_distances(query, gallery, "cosine")
    row = order.indices[0].tolist()
    before = row[: row.index(5)]
    assert (squared[0, before] < 2).all()
    assert (squared[0, row[row.index(5) + 1 :]] > 2).all()


def test_what_cannot_be_computed_is_refused_for_its_reason(kind):
    query, gallery = both(dtype=np.float64)
    gallery.features[3] *= 1e300
    gallery.features[4] *= 1e-200
    with pytest.raises(
        InputError, match=r"from .*e-2.. to .*e\+30. are too far apart for Euclidean"
    ) as e:
        match_ranks(query, gallery)
    kind("ranking float64 features of size 1e-200 beside others of 1e300", f"InputError: {e.value}")
    assert as_lists(match_ranks(query, gallery, distance="cosine")) == true_ranks(
        query, gallery, "cosine"
    )
    query.features[2, 1] = np.inf
    with pytest.raises(InputError, match=r"query\.features must be finite; row 2"):
        match_ranks(query, gallery)
