"""What the members of an ensemble climb and decide by, against their definitions."""

import jax.numpy as jnp
import numpy as np

from jaxreid.evaluation.worst.objectives import deciding_of
from jaxreid.ranking import Standing


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
