"""Wrong people to be taken for, found by looping over all of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from searches import random_set

from jaxreid.errors import InputError
from jaxreid.ranking import (
    ListDistances,
    list_distances,
    margin,
    nearest_others,
    person_at,
    search_lists,
    toward,
)


def drawn(identities=30, seed=0):
    """Queries, identities of the gallery as lists have it, and distances."""
    rng = np.random.default_rng(seed)
    query = random_set(rng, 8, identities=identities)
    gallery = random_set(rng, 200, identities=identities)
    distances = jax.jit(list_distances)(query.features, search_lists(query, gallery))
    padding = distances.others.shape[1] - 200
    return query, np.pad(gallery.identities, (0, padding), constant_values=-1), distances


@pytest.mark.parametrize("identities", [30, 5, 2])
def test_people_come_by_their_nearest_image_and_last_by_their_furthest(identities):
    query, shown, distances = drawn(identities)
    apart, chosen = np.asarray(distances.other), jax.jit(person_at)
    found = {place: np.asarray(chosen(distances, shown, place)) for place in (0, 1, 8, -1)}
    for row, own in enumerate(query.identities):
        people = sorted(set(shown.tolist()) - {-1, 0, int(own)})
        if not people:
            assert not any(images[row].any() for images in found.values())
            continue
        nearest = sorted(people, key=lambda person: apart[row, shown == person].min())
        furthest = max(people, key=lambda person: apart[row, shown == person].max())
        for place, images in found.items():
            person = furthest if place < 0 else nearest[min(place, len(nearest) - 1)]
            np.testing.assert_array_equal(images[row], shown == person)


def test_the_only_others_are_images_of_the_target():
    _, shown, distances = drawn()
    target = person_at(distances, shown, 0)
    alone = toward(distances, target)
    np.testing.assert_array_equal(alone.others, target)
    for row in np.flatnonzero(distances.mask.any(axis=1)):
        match = np.asarray(distances.matched)[row, np.asarray(distances.mask)[row]].min()
        least = np.asarray(distances.other)[row, np.asarray(target)[row]].min()
        assert margin(alone)[row] == pytest.approx(match - least, abs=1e-6)
    # What takes no part is nobody's image.
    nobody = distances._replace(others=jnp.zeros_like(distances.others))
    assert not toward(nobody, target).others.any()
    assert not person_at(nobody, shown, 0).any()


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
    _, shown, distances = drawn()
    for call, words in (
        (lambda: person_at(distances, shown[:9], 0), "identities"),
        (lambda: person_at(distances, np.zeros(len(shown)), 0), "identities must be integers"),
        (lambda: toward(distances, np.ones((8, 256))), "target must be boolean"),
        (lambda: toward(distances, np.ones((8, 9), bool)), "target"),
    ):
        with pytest.raises(InputError, match=words):
            call()
