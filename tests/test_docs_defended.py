"""The page of defenses at test time: it names them all, and its Python runs."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import people
import pytest
from toy import random_embed, random_images

from jaxreid.evaluation import DEFENSES
from jaxreid.evaluation.defended import parts_of

PAGE = (Path(__file__).parent.parent / "docs/test-time-defenses.md").read_text(encoding="utf-8")


def code_of(heading):
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    (block,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    return block


def test_every_defense_is_named_with_whether_it_draws():
    rows = re.findall(r"^\| `([\w.:]+)` \|.*\| (yes|no) \|$", PAGE, re.MULTILINE)
    found = {parts_of(form)[0][0]: word == "yes" for form, word in rows}
    assert found == {name: one.random for name, one in DEFENSES.items()}


@pytest.mark.slow
def test_attackers_of_a_random_defense():
    names = {"embed": people.embed, "query": people.query(), "gallery": people.gallery()}
    names["size"] = people.SIZE
    exec(code_of("From Python"), names)
    done = [result.condition.surrogate for result in names["results"]]
    assert done == ["", "undefended", "mean"]


@pytest.mark.slow
def test_an_attack_on_a_re_ranked_list():
    embed, images = random_embed(), random_images(2)
    rng = np.random.default_rng(0)
    items = jnp.asarray(embed(images)[:, None] + 0.3 * rng.normal(size=(2, 30, 16)), jnp.float32)
    names = {"embed": embed, "images": images, "items": items}
    names["matches"] = jnp.asarray(np.arange(30) < 5) & jnp.ones((2, 1), bool)
    exec(code_of("Re-ranking"), names)
    objective, found = names["objective"], names["found"]
    assert (objective(found.images) > objective(images)).all()
    assert jnp.abs(found.images - images).max() <= 5 / 255 + 1e-6


@pytest.mark.slow
def test_an_attack_below_a_threshold():
    embed, images = random_embed(), random_images(4)
    clean = embed(images)
    names = {"embed": embed, "images": images, "others": random_images(20, 1)}
    names["objective"] = lambda x: jnp.sum((embed(x) - clean) ** 2, axis=1)
    names["key"] = jax.random.key(0)
    exec(code_of("Detectors"), names)
    before = np.asarray(names["score"](images)) > names["threshold"]
    assert not np.any(np.asarray(names["alarms"]) & ~before)
    assert (names["objective"](names["hidden"]) > 0).all()
