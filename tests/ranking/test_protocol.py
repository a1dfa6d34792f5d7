"""Who counts."""

import numpy as np

from jaxreid.ranking import cross_camera_matches, retrievable


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
