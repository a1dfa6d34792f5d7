"""Foolbox's PGD climbs the same objective to the same images as our attack."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxreid import attacks

pytest.importorskip("foolbox")


@pytest.mark.parametrize(("attack", "count"), [(attacks.fna, 1), (attacks.nna, 4)])
def test_it_agrees_with_our_attack(attack, count):
    from jaxreid.benchmark.rivals import foolbox_attack

    weights = jax.random.normal(jax.random.key(0), (8 * 4 * 3, 5))

    def embed(images):
        return jnp.tanh(images.reshape(len(images), -1) @ weights)

    images = jax.random.uniform(jax.random.key(1), (3, 8, 4, 3))
    pull = jax.random.normal(jax.random.key(2), (3, count, 5))
    how = {"eps": 5 / 255, "step_size": 1 / 255, "steps": 4}
    ours = attack(embed, images, embed(images)[:, None], pull, **how)
    theirs = foolbox_attack(embed, images, pull, **how)
    assert np.mean(np.abs(ours - theirs) < 1e-6) > 0.99
