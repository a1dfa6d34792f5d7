"""What is counted with one change of its source computes what it did, in the other form."""

import importlib.util
import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxreid.attacks import Guides, signed_guides
from jaxreid.models import layers, transformer
from jaxreid.training import TrainState, adversaries

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "choices.py"
FOUND = {"flops": 10.344e9, "bytes": 95.8e6, "memory_bytes": 45.52e6, "held": 0.99e9}


@pytest.fixture
def choices(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    spec = importlib.util.spec_from_file_location("choices", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def drawn(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def same(function):
    """The value of a function and its primitives, which a change is to change."""
    # A function that was traced before would not be traced again.
    return function(), str(jax.make_jaxpr(lambda: function())())


def test_every_change_has_rows_beside_the_program_as_it_is(choices):
    assert {one.change for one in choices.CHOICES} == {"", *choices.CHANGES}
    for one in choices.CHOICES:
        assert one._replace(change="") in choices.CHOICES


def test_products_are_the_convolutions(choices, monkeypatch):
    # What a TPU's program has.
    monkeypatch.setattr(lax, "platform_dependent", lambda *args, tpu, **_: tpu(*args))
    images, kernel = drawn(0, 2, 4, 3, 5), drawn(1, 1, 1, 5, 6)

    def run():
        return layers.convolution(images, kernel, stride=1, padding=0)

    value, text = same(run)
    assert "conv_general_dilated" in text
    with choices.changed("1x1 convolutions as products"):
        other, text = same(run)
        strided = layers.convolution(images, kernel, stride=2, padding=0)
        padded = layers.convolution(images, drawn(2, 3, 3, 5, 6), stride=1, padding=1)
    assert "conv_general_dilated" not in text
    np.testing.assert_allclose(other, value, atol=1e-5)
    np.testing.assert_allclose(strided, value[:, ::2, ::2], atol=1e-5)
    assert padded.shape == (2, 4, 3, 6)


def test_the_sum_over_guides_is_the_closed_form_of_it(choices):
    weights = jnp.asarray([[1, -1, 0], [0.5, 0.5, -1]], jnp.float32)
    guides = Guides(drawn(0, 2, 3, 4), weights)
    features = drawn(1, 2, 4)

    def run():
        return signed_guides(lambda x: x, guides)(features)

    value, text = same(run)
    with choices.changed("objective summed over its guides"):
        found, other = same(run)
    assert other != text
    expected = (weights * ((features[:, None] - guides.features) ** 2).sum(-1)).sum(1)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_allclose(value, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "form"),
    [
        ("attention of 4 images at a time", "length=2"),
        ("attention computed again for its gradient", "remat"),
    ],
)
def test_attention_in_another_form_is_attention(choices, change, form):
    query, key, value = (drawn(seed, 8, 1, 5, 2, 3) for seed in range(3))

    def run():
        return transformer._attend(query, key, value, None, scale=0.5)

    expected, text = same(run)
    assert form not in text
    with choices.changed(change):
        found, text = same(run)
    assert form in text
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_state_is_not_donated(choices):
    def run():
        step = jax.pmap(lambda x: x + 1, donate_argnums=0, devices=jax.local_devices()[:1])
        return "tf.aliasing_output" in step.lower(jnp.zeros((1, 3))).as_text()

    assert run()
    with choices.changed("state not donated"):
        assert not run()


def test_pushing_guides_pass_at_once(choices):
    state = TrainState.__new__(TrainState)
    with choices.changed("all pushing guides at once"):
        assert adversaries._together(state, "running")


def test_what_is_in_the_record_is_not_compiled_again(choices, monkeypatch, tmp_path):
    asked = []

    def printed(command):
        asked.append(int(command[-1]))
        return json.dumps(FOUND)

    record = tmp_path / "choices-v5e.json"
    monkeypatch.setattr(choices, "printed", printed)
    monkeypatch.setattr(sys, "argv", ["choices.py", str(record)])
    choices.main()
    assert asked == [*range(len(choices.CHOICES))]
    first = json.loads(record.read_text(encoding="utf-8"))
    assert first["rows"][0][4:] == ["10.34", "95.8", "45.5", "0.99"]
    assert {len(row) for row in first["rows"]} == {len(choices.COLUMNS)}
    asked.clear()
    record.write_text(json.dumps({**first, "rows": first["rows"][1:]}), encoding="utf-8")
    choices.main()
    assert asked == [0]
    assert json.loads(record.read_text(encoding="utf-8"))["rows"] == first["rows"]
