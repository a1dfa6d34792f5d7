"""What the members of an ensemble climb and decide by, against their definitions."""

import jax.numpy as jnp
import numpy as np

from jaxreid.evaluation.worst.objectives import deciding_of, person_at
from jaxreid.ranking import ListDistances, Standing

IDENTITIES = np.array([1, 1, 0, 2, 2, 3, -1, 4])


def distances():
    """Two queries: of person 1, and of person 3."""
    other = np.array([[9, 9, 0.1, 3, 5, 2, 0, 4], [1, 6, 0.1, 7, 2, 9, 0, 3]], np.float32)
    others = (IDENTITIES != -1) & (np.array([[1], [3]]) != IDENTITIES)
    none = np.zeros((2, 1), bool)
    return ListDistances(jnp.zeros((2, 1)), none, jnp.asarray(other), jnp.asarray(others))


def chosen(place):
    found = np.asarray(person_at(distances(), jnp.asarray(IDENTITIES), jnp.asarray(place)))
    return [sorted(set(IDENTITIES[row].tolist())) for row in found]


def test_people_by_their_nearest_image():
    # The distractor (0) and junk (-1) are nearer, and nobody. Person 2's images are at 3 and 5.
    assert chosen(0) == [[3], [1]]
    assert chosen(1) == [[2], [2]]
    assert chosen(2) == [[4], [4]]
    # No fourth person: the last one again.
    assert chosen(3) == [[4], [4]]
    # By the furthest image: person 2's at 5 and at 7.
    assert chosen(-1) == [[2], [2]]
    everyone = np.asarray(person_at(distances(), jnp.asarray(IDENTITIES), jnp.asarray(1)))
    np.testing.assert_array_equal(everyone[0], IDENTITIES == 2)


def test_scores_of_the_attacker():
    found = Standing(
        average_precision={
            "market1501": jnp.array([0.5, 0.25]),
            "torchreid": jnp.array([0.75, 0.5]),
        },
        first_rank=jnp.array([1, 7]),
        ranks=jnp.zeros((2, 1)),
    )
    by_precision, by_rank = deciding_of(found, jnp.asarray(1.0))
    np.testing.assert_array_equal(by_precision, [[-0.5, -0.75, 1], [-0.25, -0.5, 7]])
    np.testing.assert_array_equal(by_rank, [[1, -0.75, -0.5], [7, -0.5, -0.25]])
    # Who wants to be found early wants the opposite.
    np.testing.assert_array_equal(deciding_of(found, jnp.asarray(-1.0))[0], -by_precision)
