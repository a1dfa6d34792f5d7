"""Lists of a search and the distances to them: the rules of the protocol, in loops over float64."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from searches import distance_between, distances_of, on_a_grid, positions, random_set

from jaxreid.errors import InputError
from jaxreid.ranking import (
    list_distances,
    log_intruders,
    margin,
    nearest_match,
    nearest_others,
    opposite_means,
    person_at,
    scaled_margin,
    search_lists,
    smooth_ap,
    soft_margin,
    standing,
    temperature_of,
    toward,
)
from jaxreid.types import Embedded

DISTANCES = ["euclidean", "cosine"]
measured = jax.jit(list_distances, static_argnames="distance")
PEOPLE = np.array([-1, 0, 9, 1, 2, 3, 4, 1])


def drawn(seed=0, items=60, draw=random_set):
    rng = np.random.default_rng(seed)
    return draw(rng, 8)._replace(identities=PEOPLE), draw(rng, items)


def named(lists):
    """Matches and others of each row, as positions."""
    return [
        (sorted(row[mask].tolist()), np.flatnonzero(others).tolist())
        for row, mask, others in zip(lists.matches, lists.mask, lists.others, strict=True)
    ]


@pytest.mark.parametrize("seed", range(5))
def test_lists_follow_the_protocol(seed):
    query, gallery = drawn(seed)
    lists = search_lists(query, gallery)
    assert named(lists) == [positions(query, gallery, row) for row in range(8)]
    assert lists.gallery.shape == (128, 5)
    np.testing.assert_array_equal(lists.gallery[:60], gallery.features)
    assert (lists.mask[:, :-1] >= lists.mask[:, 1:]).all()
    assert lists.matches.dtype == np.int32


def test_guides_leave_out_the_query_itself_and_no_camera():
    query, guides = drawn(1)
    own = np.array([np.flatnonzero(guides.identities == max(name, 1) % 5)[0] for name in PEOPLE])
    query = query._replace(identities=guides.identities[own])
    expected = []
    for name, place in zip(query.identities, own, strict=True):
        others = [n for n in range(60) if guides.identities[n] not in (-1, name)]
        same = [n for n in range(60) if guides.identities[n] == name and n != place]
        expected.append((same if name > 0 else [], others))
    assert any(matches for matches, _ in expected)
    assert named(search_lists(query, guides, own_positions=own)) == expected


def test_a_target_is_looked_for_in_the_same_search():
    query, gallery = drawn(2)
    targets = np.array([1, 2, 3, 4, 1, 2, 3, 2])
    found = named(search_lists(query, gallery, targets=targets))
    clean = named(search_lists(query, gallery))
    for row, (matches, others) in enumerate(found):
        assert matches == np.flatnonzero(gallery.identities == targets[row]).tolist()
        assert sorted(matches + others) == sorted(clean[row][0] + clean[row][1])
    people = gallery.identities[:8]
    targets = np.where(people == 1, 2, 1)
    guided = search_lists(
        query._replace(identities=people), gallery, targets=targets, own_positions=np.arange(8)
    )
    for row, (matches, others) in enumerate(named(guided)):
        takes_part = (gallery.identities != -1) & (np.arange(60) != row)
        takes_part &= (gallery.identities != people[row]) | (people[row] > 0)
        wanted = takes_part & (gallery.identities == targets[row])
        assert matches == np.flatnonzero(wanted).tolist()
        assert others == np.flatnonzero(takes_part & ~wanted).tolist()


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_distances_are_those_of_the_definition(distance, offset):
    query, gallery = drawn(3)
    query, gallery = (x._replace(features=x.features + np.float32(offset)) for x in drawn(3))
    gallery.features[7] = 0
    lists = search_lists(query, gallery)
    ours = measured(query.features, lists, distance=distance)
    for row, (matches, others) in enumerate(distances_of(query, gallery, distance)):
        # Beside an offset of 1,000, float32 holds numbers to 6e-5.
        atol = 1e-6 if offset == 0 else 1e-3 if distance == "euclidean" else 1e-6
        np.testing.assert_allclose(ours.other[row][ours.others[row]], others, 1e-5, atol)
        np.testing.assert_allclose(ours.matched[row][ours.mask[row]], matches, 1e-5, atol)


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("items", [501, 1500])
def test_equal_features_are_at_equal_distances(distance, items):
    rng = np.random.default_rng(4)
    query, gallery = random_set(rng, 7, 200), random_set(rng, items, 200)
    gallery = gallery._replace(features=gallery.features[np.arange(items) % 167])
    lists = search_lists(query, gallery)
    other = np.asarray(measured(query.features, lists, distance=distance).other)
    assert lists.gallery.shape == (*lists.others.shape[1:], 200)
    for start in range(0, items, 167):
        part = other[:, start : min(start + 167, items)]
        np.testing.assert_array_equal(part, other[:, : part.shape[1]])


def test_integers_are_measured_exactly():
    query, gallery = drawn(5, draw=on_a_grid)
    ours = measured(query.features, search_lists(query, gallery)).other[:, :60]
    squares = np.square(query.features[:, None] - gallery.features).sum(-1)
    np.testing.assert_array_equal(ours, np.sqrt(squares))


@pytest.mark.parametrize("scale", [1e-15, 1e15])
@pytest.mark.parametrize("distance", DISTANCES)
def test_no_unit_is_too_small_or_too_large(distance, scale):
    query, gallery = drawn(6)
    unit = 1.0 if distance == "cosine" else scale
    expected = measured(query.features, search_lists(query, gallery), distance=distance)
    query, gallery = (x._replace(features=x.features * np.float32(scale)) for x in (query, gallery))
    ours = measured(query.features, search_lists(query, gallery), distance=distance)
    np.testing.assert_allclose(ours.other, expected.other * unit, rtol=1e-4, atol=1e-6 * unit)


@pytest.mark.slow
@pytest.mark.parametrize("distance", DISTANCES)
def test_gradients_are_those_of_finite_differences(distance):
    rng = np.random.default_rng(7)
    query, gallery = drawn(8)
    with jax.enable_x64(True):
        lists = search_lists(query, gallery._replace(features=gallery.features.astype(np.float64)))
        weights = rng.normal(size=(8, 128)), rng.normal(size=lists.mask.shape)

        def total(x, gallery):
            found = list_distances(x, lists._replace(gallery=gallery), distance=distance)
            return (weights[0] * found.other).sum() + (weights[1] * found.matched).sum()

        at = jnp.asarray(query.features, jnp.float64), lists.gallery
        values = jax.jit(total)
        slopes = jax.jit(jax.grad(total, argnums=(0, 1)))(*at)
        for part in (0, 1):
            way, step = rng.normal(size=at[part].shape), 1e-6
            ahead, behind = (
                values(*at[:part], at[part] + h * way, *at[part + 1 :]) for h in (step, -step)
            )
            ours = float((slopes[part] * way).sum())
            assert ours == pytest.approx(float(ahead - behind) / (2 * step), rel=1e-6)


@pytest.mark.parametrize("distance", DISTANCES)
def test_gradients_are_finite_where_distances_vanish(distance):
    query, gallery = drawn(9)
    query.features[3], query.features[4], gallery.features[5] = gallery.features[9], 0, 0
    slopes = jax.jit(
        jax.grad(lambda x, lists: list_distances(x, lists, distance=distance).other.sum())
    )
    assert np.isfinite(slopes(query.features, search_lists(query, gallery))).all()
    alike = gallery._replace(features=np.ones_like(gallery.features))
    assert np.isfinite(slopes(np.ones_like(query.features), search_lists(query, alike))).all()
    zeros = gallery._replace(features=np.zeros_like(gallery.features))
    found = search_lists(query, zeros)
    assert np.isfinite(slopes(np.zeros_like(query.features), found)).all()
    apart = measured(np.zeros_like(query.features), found, distance=distance)
    assert (apart.other == distance_between([0.0], [0.0], distance)).all()


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_row_that_is_not_finite_spoils_no_other(distance, value):
    query, gallery = drawn(10)
    lists = search_lists(query, gallery)
    clean = measured(query.features, lists, distance=distance)
    query.features[2, 1] = value
    ours = measured(query.features, lists, distance=distance)
    assert not np.isfinite(ours.other[2]).any()
    rest = np.arange(8) != 2
    np.testing.assert_array_equal(ours.other[rest], clean.other[rest])


def test_features_on_the_device_are_not_copied():
    rng = np.random.default_rng(11)
    gallery = random_set(rng, 256)
    features = jnp.asarray(gallery.features)
    query = random_set(rng, 3)
    assert search_lists(query, gallery._replace(features=features)).gallery is features
    assert search_lists(query, gallery, width=200).matches.shape == (3, 200)


def test_what_is_wrong_is_named():
    query, gallery = drawn()
    lists = search_lists(query, gallery)
    spoiled = gallery.features.copy()
    spoiled[3, 1] = np.nan
    for call, words in (
        (lambda: search_lists(query, gallery._replace(features=spoiled)), "gallery.features"),
        (lambda: search_lists(query, gallery, width=0), "width"),
        (lambda: search_lists(query, gallery, own_positions=np.full(8, 60)), "own_positions"),
        (lambda: search_lists(query, gallery, own_positions=np.arange(3)), "own_positions"),
        (lambda: search_lists(query, gallery, own_positions=np.zeros(8, int)), "own_positions"),
        (lambda: search_lists(query, gallery, targets=PEOPLE), "targets must be at least 1"),
        (lambda: search_lists(query, gallery, targets=np.full(8, 9)), "targets must not be"),
        (lambda: search_lists(Embedded(*gallery[:2], None), gallery), "query.cameras"),
        (lambda: list_distances(query.features[:3], lists), "lists.matches"),
        (lambda: list_distances(query.features[:, :2], lists), "lists.gallery"),
        (lambda: list_distances(query.features, lists, distance="l1"), "distance"),
    ):
        with pytest.raises(InputError, match=words):
            call()


@pytest.mark.parametrize("name", ["gallery", "matches", "mask", "others"])
def test_lists_that_are_none_are_refused_by_name(name):
    query, gallery = drawn()
    lists = search_lists(query, gallery)
    wrong = getattr(lists, name).astype(np.int32) if name != "matches" else lists.matches + 10_000
    for function in (list_distances, opposite_means):
        with pytest.raises(InputError, match=rf"lists\.{name} must"):
            function(query.features, lists._replace(**{name: wrong}))
        with pytest.raises(InputError, match="lists must be a SearchLists"):
            function(query.features, gallery)


@pytest.mark.parametrize(
    "function",
    [
        margin,
        nearest_match,
        scaled_margin,
        standing,
        temperature_of,
        partial(nearest_others, count=3),
        partial(person_at, identities=PEOPLE, place=0),
        partial(toward, target=np.ones((8, 128), bool)),
        *(partial(each, temperature=1.0) for each in (soft_margin, smooth_ap, log_intruders)),
    ],
    ids=lambda function: getattr(function, "func", function).__name__,
)
def test_distances_that_are_none_are_refused_by_name(function):
    query, gallery = drawn()
    lists = search_lists(query, gallery)
    distances = list_distances(query.features, lists)
    for wrong, words in (
        (None, "distances must be a ListDistances .*NoneType"),
        (lists, "distances must be a ListDistances .*SearchLists"),
        (distances._replace(mask=distances.mask[:2]), r"distances\.mask must have shape \[B,M\]"),
        (distances._replace(other=distances.other[:, :3]), r"distances\.others must .*N=3"),
        (distances._replace(others=distances.other), r"distances\.others must be boolean"),
        (distances._replace(matched=lists.matches), r"distances\.matched must be floating"),
    ):
        with pytest.raises(InputError, match=words):
            function(wrong)
