"""The Python of the README and of docs/attacks.md, run as it stands there."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from toy import random_embed, random_images

from jaxreid import attacks
from jaxreid.attacks import ATTACKS
from jaxreid.evaluation.worst import MemberSpec, members
from jaxreid.models import ResNetConfig, create
from jaxreid.training import TrainBatch
from jaxreid.types import Embedded

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
TRANSFER_PAGE = (ROOT / "docs" / "transfer.md").read_text(encoding="utf-8")
ATTACKS_PAGE = (ROOT / "docs" / "attacks.md").read_text(encoding="utf-8")


def code_of(page, heading):
    section = page.split(f"## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"```python\n(.*?)```", section, re.DOTALL)


def test_a_visitor_reads_to_the_end():
    assert len(README.splitlines()) < 180


def test_every_attack_is_named():
    told = re.search(r"As `jaxreid evaluate --attacks` .*", ATTACKS_PAGE).group()
    assert [name for name in re.findall(r"`(\w+)`", told) if name in ATTACKS] == list(ATTACKS)


def test_attack_your_own_model():
    blocks = code_of(README, "Attack your own model")
    for heading in ("Nearest negatives", "An attack of your own"):
        blocks += code_of(ATTACKS_PAGE, heading)
    assert len(blocks) == 4
    embed, images = random_embed(), random_images(8)
    identities, cameras = np.array([1, 1, 2, 2, 3, 3, 4, 9]), np.zeros(8, int)
    names = {
        "embed": embed,
        "images": images,
        "identities": identities,
        "cameras": cameras,
        "gallery": Embedded(embed(images), identities, cameras + 1),
        "target": embed(random_images(8, seed=1)),
    }
    for block in blocks:
        exec(block, names)
    assert jnp.abs(names["adversarial"] - images).max() <= 5 / 255 + 1e-7
    assert not np.array_equal(names["adversarial"], images)
    # What the text says of values under jit.
    push, pull, own = names["push"], names["pull"], names["own"]
    with pytest.raises(jax.errors.JaxRuntimeError, match=r"images must lie in \[0, 1\]"):
        jax.block_until_ready(names["attack"](255 * images, push, own.mask, pull))
    np.testing.assert_array_equal(names["result"].nonfinite_steps, np.zeros(8))
    assert names["result"].objective.shape == (15, 8)


def test_every_boost_is_named_with_its_cost():
    rows = re.findall(r"^\| `(\w+)` \|.*\| (\d+) \| \[", TRANSFER_PAGE, re.MULTILINE)
    boosts = {name: attacks.boost_of([name]) for name in attacks.BOOSTS}
    assert rows == [(n, str(boost.copies + boost.neighbours)) for n, boost in boosts.items()]


@pytest.mark.slow
def test_attacks_that_are_to_work_elsewhere():
    first, second = code_of(TRANSFER_PAGE, "Boosts")
    embed, images = random_embed(), random_images(4)
    names = {"attacks": attacks, "embed": embed, "images": images}
    names |= {"push": embed(random_images(4, 1)), "keys": jax.random.split(jax.random.key(0), 4)}
    exec(first, names)
    change = jnp.abs(names["adversarial"] - images).max((1, 2, 3))
    np.testing.assert_allclose(change, 8 / 255, atol=1e-6)
    exec(second, names)
    names |= {"old": ((embed(images) - embed(images[::-1])) ** 2).sum(1)}
    near = ((embed(names["found"].images) - names["target"]) ** 2).sum(1)
    assert (near < names["old"]).all()


def test_a_worst_case_from_arrays(monkeypatch):
    (block,) = code_of(ATTACKS_PAGE, "The worst case of a model")
    # One of its attacks in place of them all.
    few = (MemberSpec("sma", "published", metric="all"),)
    monkeypatch.setitem(members._TABLES, ("worst-1-quick", "gallery"), few)
    rng = np.random.default_rng(0)
    faces = rng.integers(64, 192, (5, 64, 32, 3))
    people = np.array([1, 1, 2, 3, 4, 4])

    def drawn(camera):
        noise = rng.integers(-40, 40, (6, 64, 32, 3))
        return (faces[people] + noise).astype(np.uint8), people, np.full(6, camera)

    weights = rng.normal(size=(64 * 32 * 3, 8)).astype(np.float32)
    names = {
        "embed": lambda images: images.reshape(len(images), -1) @ jnp.asarray(weights),
        "query_arrays": drawn(0),
        "gallery_arrays": drawn(1),
    }
    exec(block, names)
    found, score = names["found"], names["score"]
    pixels = names["query_arrays"][0].astype(np.float32) / 255
    change = np.abs(found.images[0] - pixels)[found.changed[0]]
    assert found.changed[0].any()
    assert change.max() <= 5 / 255 + 1e-6
    clean = names["test"].clean_score("euclidean").scores["market1501"]
    assert score.mean_average_precision < clean.mean_average_precision - 0.05
    (member,) = found.worst.members
    assert (member.name, member.images) == ("sma", 6)


def test_a_training_step():
    (block,) = code_of(README, "Training and clusters")
    shape = ResNetConfig(
        block="basic", depths=(1,), widths=(4,), expansion=1, stem="patch", stem_width=4
    )
    images = random_images(4)
    names = {
        "jax": jax,
        "model": create(shape, classes=2, rngs=nnx.Rngs(0)),
        "batch": TrainBatch(
            images=images,
            labels=jnp.array([0, 0, 1, 1]),
            indices=jnp.arange(4),
            push_images=jnp.stack([images] * 4, axis=1),
            push_indices=jnp.zeros((4, 4), int),
            push_mask=jnp.ones((4, 4), bool),
        ),
    }
    exec(block, names)
    assert int(names["state"].step) == 1
    assert float(names["metrics"]["loss"]) > 0
    assert float(names["metrics"]["at_budget"]) > 0


@pytest.mark.slow
def test_the_best_of_all_images_met():
    first, mean, search = code_of(ATTACKS_PAGE, "The best of all images met")
    images, weights = random_images(3), random_images(5, seed=2).reshape(5, -1).T

    def embed(images):
        return images.reshape(len(images), -1) @ weights

    names = {
        "attacks": attacks,
        "embed": embed,
        "images": images,
        "target": embed(random_images(3, seed=1)),
        "threat": attacks.linf(5 / 255),
    }
    exec(first, names)
    found, objective = names["found"], names["objective"]
    np.testing.assert_allclose(objective(found.images).value, found.value, rtol=1e-4)
    assert (found.value > objective(images).value).all()
    assert found.values.shape == (21, 3)
    assert found.history[0].shape == (21, 3, 2)
    exec(mean, names)
    assert names["met"].values.shape == (11, 3)
    assert (names["honest"] > objective(images).value).all()
    exec(search, names)
    blind = names["blind"]
    np.testing.assert_allclose(names["score"](blind.images), blind.score, rtol=1e-4)
    assert (blind.score[:, 1] <= found.value).all()
    assert jnp.abs(blind.images - images).max() <= 5 / 255 + 1e-7
