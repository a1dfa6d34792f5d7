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
from jaxreid.benchmark.networks import network_of
from jaxreid.benchmark.rivals import Rivals, first_calls, foolbox_attack
from jaxreid.benchmark.timing import Ceilings
from jaxreid.errors import InputError
from jaxreid.models import ARCHITECTURES, ViTConfig, embedding
from jaxreid.random import example_keys


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
    return lambda architecture="resnet_patch", **more: attack.benchmark_attack(
        architecture, unfrozen=False, **{**how, **more}
    )


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


@pytest.mark.parametrize("fails_in", [1, 2, 3])
def test_who_fails_in_any_round_is_left_out(contest, monkeypatch, fails_in):
    calls = []

    def tires():
        calls.append(1)
        if len(calls) == fails_in:
            raise RuntimeError("CUDA out of memory")

    features = np.zeros((1, 1), np.float32)
    given = Rivals({"tired": Rival(tires, lambda: features), "other": Rival(lambda: None)}, {})
    monkeypatch.setattr(attack, "installed_rivals", lambda *_, **__: given)
    # The call that compiles, one before the rounds, and one round.
    found = contest()
    assert found.missing == {"tired": "it failed: CUDA out of memory"}
    assert set(found.timings) == {attack.OURS, "other"}
    assert found.agreement == {}
    assert {len(timing.runs) for timing in found.timings.values()} == {1}


def test_ours_that_fails_ends_the_benchmark(contest, monkeypatch):
    def broken(*_, **__):
        def run():
            raise RuntimeError("ours is broken")

        return {attack.OURS: attack._Program(run, 0.0, None)}

    monkeypatch.setattr(attack, "_programs", broken)
    with pytest.raises(RuntimeError, match="ours is broken"):
        contest(rivals=False)


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


@pytest.fixture
def tiny(monkeypatch):
    """Names a transformer that is small enough to be told its cameras in a test."""
    shape = ViTConfig(width=16, depth=1, heads=2, patch=8, image_size=(16, 8))
    monkeypatch.setitem(ARCHITECTURES, "tiny", shape)


def test_cameras_took_the_images_in_turn(tiny):
    """On every device of several as well, which has a part of the batch."""
    model = network_of("tiny", (16, 8), dtype="float32", cameras=3)
    problem = attack._problem(model, "fna", (16, 8), 4, 1, "float32")
    embed, keys = embedding(model), example_keys(jax.random.key(0), np.arange(4))
    features = jax.jit(lambda embed: embed(problem.images))
    expected = features(embed.seen_by([0, 1, 2, 0]))
    np.testing.assert_array_equal(features(problem.embed), expected)
    assert np.abs(features(embed.seen_by([0, 0, 0, 0])) - expected).max() > 1e-3
    attacked = jax.jit(
        lambda embed: attack.own_attack(embed, problem.images, problem.pull, keys, 1)
    )
    got = np.asarray(attack._jaxreid(problem, freeze=False, devices=2).run())
    # A sign of a gradient of nearly zero may be rounding's.
    assert np.mean(np.abs(got - attacked(embed.seen_by([0, 1, 2, 0]))) < 1e-6) > 0.99
    assert np.mean(np.abs(got - attacked(embed.seen_by([0, 1, 0, 1]))) < 1e-6) < 0.99


@pytest.mark.torch
def test_cameras_and_the_layer_behind_pooling_are_in_pytorch_too(tiny, contest):
    found = contest("tiny", cameras=2, head="embedding", batch_size=2)
    assert len(found.agreement) >= 2
    assert max(found.agreement.values()) < 1e-5


@pytest.mark.parametrize(
    ("architecture", "variant", "message"),
    [
        ("resnet_patch", {"cameras": 3}, "cameras belongs to vision transformers; a ResNet has"),
        ("resnet_patch", {"stride": 8}, "stride belongs to vision transformers; a ResNet has none"),
        ("resnet_patch", {"semantic_weight": 0.2}, "semantic_weight belongs to Swin transformers"),
        ("tiny", {"last_stride": 1}, "last_stride belongs to ResNets; a vision transformer has"),
        ("tiny", {"pool": "ceil"}, "pool belongs to ResNets and MGNs; a vision transformer has"),
        ("resnet_patch", {"last_stride": 3}, "last_stride"),
    ],
)
def test_what_a_network_does_not_have_is_refused(tiny, architecture, variant, message):
    with pytest.raises(InputError, match=message):
        network_of(architecture, (16, 8), dtype="float32", **variant)


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
