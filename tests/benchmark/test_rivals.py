"""Foolbox's PGD climbs to the same images as our attack, and who fails is left out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxreid import attacks
from jaxreid.benchmark.contest import Rival
from jaxreid.benchmark.rivals import Rivals, first_calls, foolbox_attack


def test_who_fails_is_left_out_with_the_reason():
    called = []

    def fails():
        raise RuntimeError("CUDA out of memory.\nTried to allocate 20 GiB")

    rivals = Rivals({"a": Rival(lambda: called.append("a")), "b": Rival(fails)}, {"c": "not here"})
    found, seconds = first_calls(rivals)
    assert called == ["a"]
    assert list(found.found) == list(seconds) == ["a"]
    assert seconds["a"] >= 0
    assert found.missing == {
        "c": "not here",
        "b": "it failed: CUDA out of memory. Tried to allocate 20 GiB",
    }


@pytest.mark.parametrize(("attack", "count"), [(attacks.fna, 1), (attacks.nna, 4)])
def test_it_agrees_with_our_attack(attack, count):
    pytest.importorskip("foolbox")
    weights = jax.random.normal(jax.random.key(0), (8 * 4 * 3, 5))

    def embed(images):
        return jnp.tanh(images.reshape(len(images), -1) @ weights)

    images = jax.random.uniform(jax.random.key(1), (3, 8, 4, 3))
    pull = jax.random.normal(jax.random.key(2), (3, count, 5))
    how = {"eps": 5 / 255, "step_size": 1 / 255, "steps": 4}
    ours = attack(embed, images, embed(images)[:, None], pull, **how)
    theirs = foolbox_attack(embed, images, pull, **how)
    assert np.mean(np.abs(ours - theirs) < 1e-6) > 0.99
