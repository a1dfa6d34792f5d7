"""Wrong people to be taken for, found by looping over all of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from searches import random_set

from jaxreid.errors import InputError
from jaxreid.ranking import (
    ListDistances,
    images_of,
    list_distances,
    margin,
    nearest_others,
    search_lists,
    target_people,
    toward,
)


def drawn(identities=30, seed=0):
    rng = np.random.default_rng(seed)
    query = random_set(rng, 8, identities=identities)
    gallery = random_set(rng, 200, identities=identities)
    lists = search_lists(query, gallery)
    return query, gallery, jax.jit(list_distances)(query.features, lists)


@pytest.mark.parametrize(("identities", "count"), [(30, 9), (30, 3), (5, 9), (2, 9)])
def test_targets_are_the_nearest_wrong_people_and_the_furthest(identities, count):
    query, gallery, distances = drawn(identities)
    found = target_people(distances, gallery.identities, count=count)
    for row, own in enumerate(query.identities):
        nearest = []
        for person in set(gallery.identities.tolist()) - {-1, 0, int(own)}:
            shown = np.flatnonzero(gallery.identities == person)
            nearest.append((float(min(distances.other[row, n] for n in shown)), person))
        people = [person for _, person in sorted(nearest)]
        expected = people[:-1][:count]
        assert found.identities[row][found.mask[row]].tolist() == expected + people[-1:]
        assert found.mask[row, -1] == bool(people)
        assert not found.identities[row][~found.mask[row]].any()


def test_the_only_others_are_images_of_the_target():
    _, gallery, distances = drawn()
    targets = target_people(distances, gallery.identities).identities[:, 0]
    shown = images_of(gallery.identities, targets, distances.others.shape[1])
    alone = toward(distances, shown)
    for row, target in enumerate(targets):
        expected = np.flatnonzero(gallery.identities == target)
        assert np.flatnonzero(alone.others[row]).tolist() == expected.tolist()
        least = np.asarray(distances.other)[row, expected].min()
        if distances.mask[row].any():
            match = np.asarray(distances.matched)[row, np.asarray(distances.mask)[row]].min()
            assert margin(alone)[row] == pytest.approx(match - least, abs=1e-6)
    # What takes no part is nobody's image.
    nobody = toward(distances._replace(others=jnp.zeros_like(distances.others)), shown)
    assert not nobody.others.any()


def test_a_target_of_nobody_has_no_images():
    shown = images_of(np.array([0, -1, 3, 0, 3]), np.array([0, 3, -1]), 6)
    assert [np.flatnonzero(row).tolist() for row in shown] == [[], [2, 4], []]


def test_pulling_at_the_nearest_images_of_a_target():
    distances = ListDistances(
        jnp.array([[1.0, 3.0]]),
        jnp.ones((1, 2), bool),
        jnp.array([[4.0, 5.0, 9.0, 0.5]]),
        jnp.ones((1, 4), bool),
    )
    alone = toward(distances, np.array([[True, True, True, False]]))
    assert nearest_others(alone, count=2).tolist() == [2.0 - 4.5]


def test_what_is_wrong_is_named():
    _, gallery, distances = drawn()
    for call, words in (
        (lambda: target_people(distances, gallery.identities, count=0), "count"),
        (lambda: target_people(distances, np.zeros(300, int)), "identities must be at most N=256"),
        (lambda: target_people(distances, np.zeros(3)), "identities must be integers"),
        (lambda: toward(distances, np.ones((8, 256))), "target must be boolean"),
        (lambda: toward(distances, np.ones((8, 9), bool)), "target"),
        (lambda: images_of(gallery.identities, np.ones(8, int), 100), "size"),
    ):
        with pytest.raises(InputError, match=words):
            call()
