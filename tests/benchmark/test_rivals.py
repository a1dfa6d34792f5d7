"""Foolbox's PGD climbs to the same images as our attack, and who fails is left out."""

import sys
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxreid import attacks
from jaxreid.benchmark import attack, rivals
from jaxreid.benchmark.contest import Rival
from jaxreid.benchmark.rivals import Rivals, first_calls, foolbox_attack
from jaxreid.benchmark.timing import Ceilings


def test_who_fails_is_left_out_with_the_reason():
    called = []

    def fails():
        raise RuntimeError("CUDA out of memory.\nTried to allocate 20 GiB")

    given = Rivals({"a": Rival(lambda: called.append("a")), "b": Rival(fails)}, {"c": "not here"})
    found, seconds = first_calls(given)
    assert called == ["a"]
    assert list(found.found) == list(seconds) == ["a"]
    assert seconds["a"] >= 0
    assert found.missing == {
        "c": "not here",
        "b": "it failed: CUDA out of memory. Tried to allocate 20 GiB",
    }


@pytest.fixture
def contest(monkeypatch):
    """Runs a benchmark of an attack, as short as they come."""
    monkeypatch.setattr(attack, "measure_ceilings", lambda dtype, devices: Ceilings(1, 1))
    how = {"size": (16, 8), "batch_size": 1, "steps": 1, "devices": 1, "repeats": 1}
    return lambda **more: attack.benchmark_attack("resnet_patch", unfrozen=False, **how, **more)


@pytest.mark.parametrize("where", ["importing", "beginning"])
def test_ours_is_measured_where_another_cannot_begin(contest, monkeypatch, where):
    def broken(*_, **__):
        raise RuntimeError("cuDNN version incompatibility")

    monkeypatch.setattr(rivals, "_no_pytorch", broken if where == "importing" else lambda _: "")
    name = "jaxreid.benchmark.torch_rivals"
    monkeypatch.setitem(sys.modules, name, SimpleNamespace(torch_rivals=broken))
    found = contest()
    assert found.timings[attack.OURS].median > 0
    assert found.missing["PyTorch"] == "it failed: cuDNN version incompatibility"


@pytest.mark.torch
def test_who_cannot_compile_takes_part_as_it_is(contest, monkeypatch):
    import torch

    def refused(*_, **__):
        raise RuntimeError("torch.compile is not supported on Python 3.99")

    monkeypatch.setattr(torch, "compile", refused)
    found = contest(torch_compile=True)
    assert {"PyTorch, as the paper's code", "PyTorch, at its best"} < set(found.timings)
    why = "it failed: torch.compile is not supported on Python 3.99"
    assert found.missing["PyTorch, at its best, compiled"] == why


@pytest.mark.parametrize(("ours", "count"), [(attacks.fna, 1), (attacks.nna, 4)])
def test_it_agrees_with_our_attack(ours, count):
    pytest.importorskip("foolbox")
    weights = jax.random.normal(jax.random.key(0), (8 * 4 * 3, 5))

    def embed(images):
        return jnp.tanh(images.reshape(len(images), -1) @ weights)

    images = jax.random.uniform(jax.random.key(1), (3, 8, 4, 3))
    pull = jax.random.normal(jax.random.key(2), (3, count, 5))
    how = {"eps": 5 / 255, "step_size": 1 / 255, "steps": 4}
    found = ours(embed, images, embed(images)[:, None], pull, **how)
    theirs = foolbox_attack(embed, images, pull, **how)
    assert np.mean(np.abs(found - theirs) < 1e-6) > 0.99
