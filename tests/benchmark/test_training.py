"""The training benchmark times every variant and puts its cost together from pieces."""

import dataclasses

import jax
import pytest

from jaxreid.benchmark.training import VARIANTS, Variant, benchmark_training, first_state
from jaxreid.models import ARCHITECTURES, ViTConfig


@pytest.fixture
def tiny(monkeypatch):
    config = dataclasses.replace(ARCHITECTURES["resnet_patch"], depths=(1,), widths=(4,))
    monkeypatch.setitem(ARCHITECTURES, "tiny", config)
    return "tiny"


@pytest.mark.slow
def test_variants_are_timed_and_predicted(tiny):
    variants = {
        "plain": VARIANTS["plain"],
        "guides": Variant(2, 1, steps=2),
        "bank": Variant(2, 1, steps=1, bank=True, replays=2),
    }
    result = benchmark_training(tiny, size=(16, 8), batch_size=4, repeats=2, variants=variants)
    assert set(result.timings) == {"forward", "image gradient", *variants}
    assert all(len(timing.runs) == 2 for timing in result.timings.values())
    pieces = {name: result.timings[name].median for name in ("forward", "image gradient", "plain")}
    forward, gradient, update = pieces.values()
    assert result.predicted["plain"] == update
    assert result.predicted["guides"] == pytest.approx(2 * gradient + 3 * forward + update)
    assert result.predicted["bank"] == pytest.approx(2 * (gradient + forward + update))


def test_a_transformer_is_made_for_the_size_of_the_images(monkeypatch):
    vit = ViTConfig(image_size=(24, 24), width=16, depth=1, heads=2, patch=8)
    monkeypatch.setitem(ARCHITECTURES, "tiny", vit)
    plain = {"plain": VARIANTS["plain"]}
    result = benchmark_training("tiny", size=(16, 8), batch_size=2, repeats=1, variants=plain)
    assert set(result.timings) == {"forward", "image gradient", "plain"}
    state = first_state("tiny", (16, 8), "float32", images=4)
    # A class token, and a patch of 8 x 8 pixels twice.
    assert (1, 3, 16) in [leaf.shape for leaf in jax.tree.leaves(state.params)]
    # A step gives a new state beside the one that it was given.
    new = sum(leaf.nbytes for leaf in jax.tree.leaves(state.replace(bank=None)))
    assert new < result.program_bytes["plain"] < 20 * new


def test_forward_passes_that_guides_need():
    passes = {name: variant.forward_passes for name, variant in VARIANTS.items()}
    assert passes["plain"] == 0
    assert passes["GOAT (0,0)"] == 1  # the own feature
    assert passes["GOAT (4,0)"] == 4
    assert passes["GOAT (4,1)"] == 5
    assert passes["GOAT (4,1), guide bank"] == 1
