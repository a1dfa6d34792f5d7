"""The network that draws changes: any size, bounded, each image by itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from networks import images

from jaxreid.models.generator import ChangeGenerator


@pytest.mark.slow
@pytest.mark.parametrize("size", [(16, 8), (9, 5)])
def test_changes_are_bounded_and_each_image_has_its_own(size):
    network = ChangeGenerator(rngs=nnx.Rngs(0))
    x = images(3, *size, 3)
    found = network(jnp.asarray(x))
    assert found.shape == x.shape
    assert 0 < np.abs(found).max() <= 1
    np.testing.assert_allclose(network(jnp.asarray(x[1:2])), found[1:2], atol=1e-5)
    assert np.abs(found[0] - found[1]).max() > 1e-3
    assert sum(leaf.size for leaf in jax.tree.leaves(nnx.state(network))) == 21_891
