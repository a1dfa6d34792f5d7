"""Collapsed features are flagged; cosines and ties are those of a count by hand."""

import masked
import numpy as np
import people
import pytest

from jaxreid.evaluation import LoaderSettings, extract
from jaxreid.evaluation.audit.collapse import collapse_flags
from jaxreid.types import Embedded


def flags(query, gallery, distance="euclidean"):
    rows = np.flatnonzero(np.asarray(query.identities) > 0)
    return {flag.name: flag for flag in collapse_flags(query, gallery, rows, distance=distance)}


def sets(embed):
    loader = LoaderSettings(people.SIZE)._asdict()
    return [extract(embed, split, **loader) for split in (people.query(), people.gallery())]


@pytest.mark.parametrize(
    ("embed", "expected"),
    [(people.embed, []), (masked.alike, ["all alike"]), (masked.two_values, ["ties"])],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_is_collapsed_is_flagged(embed, expected):
    found = flags(*sets(embed))
    assert [name for name, flag in found.items() if flag.raised] == expected


def test_the_cosine_is_the_mean_over_pairs_of_two_people():
    query, gallery = sets(people.embed)
    unit = [np.asarray(s.features, float) for s in (query, gallery)]
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in unit]
    pairs = [
        unit[0][i] @ unit[1][j]
        for i, ours in enumerate(query.identities)
        for j, other in enumerate(gallery.identities)
        if ours > 0 and other > 0 and ours != other
    ]
    found = flags(query, gallery)["all alike"]
    assert found.number == pytest.approx(np.mean(pairs))


def test_ties_are_counted_by_pairs():
    # The match at distance 2; four wrong items at 1, 2, 2 and 3 (squared 1, 4, 4, 9), one of them
    # a distractor; junk and the same camera's image take no part.
    query = Embedded(np.zeros((1, 1), np.float32), np.array([1]), np.array([0]))
    features = np.array([[2], [1], [2], [-2], [3], [2], [2]], np.float32)
    gallery = Embedded(features, np.array([1, 2, 3, 0, 4, -1, 1]), np.array([1, 1, 1, 1, 1, 1, 0]))
    assert flags(query, gallery)["ties"].number == pytest.approx(2 / 4)


def test_one_person_alone_has_nobody_to_be_alike():
    one = Embedded(np.ones((2, 3), np.float32), np.array([1, 1]), np.array([0, 1]))
    found = flags(one, one)
    assert found["all alike"].raised is None
    assert found["all alike"].number is None
    assert found["ties"].raised is False
