"""What an attacker reads in a list, beside loops over plain numbers."""

import math

import boxes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxreid.errors import InputError
from jaxreid.evaluation.blackbox import seen_in

ROW = boxes.PEOPLE.relations()[:1]


def test_who_matches_whom():
    # Item 5 is junk; item 6 is the first two queries' person by their own camera.
    expected = [[1, 0, 1, 0, 0, -1, -1, 0]] * 2 + [[0, 0, 0, 1, 0, -1, 0, 1]]
    np.testing.assert_array_equal(boxes.PEOPLE.relations(), expected)


@given(st.permutations(range(8)), st.integers(0, 8))
def test_the_gain_of_a_list_is_that_of_a_loop(order, length):
    items = np.array([order[:length] + [-1] * (8 - length)])
    kinds = [ROW[0, item] for item in order[:length] if ROW[0, item] >= 0]
    ranks = [rank for rank, kind in enumerate(kinds, 1) if kind == 1]
    gain = sum(1 / math.log2(1 + rank) for rank in ranks)
    seen = seen_in(ROW, items)
    first = min(ranks, default=9)
    assert seen.first[0] == first
    assert seen.found[0] == (first == 1)
    np.testing.assert_allclose(seen.value, [-gain], rtol=1e-6)
    np.testing.assert_allclose(seen.score, [[first, -gain]], rtol=1e-6)
    scores = np.array([[9.0, 7, 6, 4, 3, 2, 1, 0.5]])
    known = dict(zip(order[:length], scores[0], strict=False))
    least = min(known.values(), default=0)
    other, match = (
        max([score for item, score in known.items() if ROW[0, item] == kind], default=least)
        for kind in (0, 1)
    )
    seen = seen_in(ROW, items, scores)
    np.testing.assert_allclose(seen.value, [other - match])
    np.testing.assert_allclose(seen.score, [[first > 1, other - match, -gain]], rtol=1e-6)


def test_people_must_fit():
    with pytest.raises(InputError, match="identities must be positive"):
        boxes.PEOPLE._replace(identities=np.array([1, 0, 3])).relations()
    with pytest.raises(InputError, match="gallery_cameras"):
        boxes.PEOPLE._replace(gallery_cameras=boxes.CAMERAS[:3]).relations()
    with pytest.raises(InputError, match="cameras must be integers"):
        boxes.PEOPLE._replace(cameras=np.zeros(3)).relations()
