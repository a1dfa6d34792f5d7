"""Two classes of pytrees are never taken for each other, whatever they hold."""

from dataclasses import dataclass, field, replace

import jax
import jax.numpy as jnp
import numpy as np
import people
import pytest

from jaxreid.augmentation import to_float
from jaxreid.data.loader import decode_all
from jaxreid.evaluation import extract, mirrored, unit_length
from jaxreid.evaluation.embeds import as_pytree
from jaxreid.pytrees import classes_of, pytree_dataclass

structure = jax.tree.structure


@pytree_dataclass
@dataclass(frozen=True)
class Sum:
    first: object
    name: str = field(metadata={"static": True})
    second: object


@pytree_dataclass
@dataclass(frozen=True)
class Product(Sum):
    """The same fields."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Bright:
    weights: jax.Array

    def __call__(self, images):
        return images.mean((1, 2)) * self.weights


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Dark:
    scales: jax.Array

    def __call__(self, images):
        return (1 - images.mean((1, 2))) * self.scales


def test_classes_with_like_fields_have_unlike_structures():
    one, other = Sum(1.0, "a", 2.0), Product(1.0, "a", 2.0)
    assert structure(one) != structure(other)
    assert structure(one) == structure(Sum(3.0, "a", jnp.ones(2)))
    assert structure(one) != structure(replace(one, name="b"))
    assert structure(one) != structure(Sum(1.0, "a", None))


def test_a_dataclass_is_the_pytree_of_its_fields_that_are_not_static():
    tree = Sum({"x": 1}, "a", (2, 3))
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(tree)]
    assert paths == [".first['x']", ".second[0]", ".second[1]"]
    assert jax.tree.leaves(tree) == [1, 2, 3]
    assert jax.tree.map(lambda leaf: 10 * leaf, tree) == Sum({"x": 10}, "a", (20, 30))
    doubled = jax.jit(jax.vmap(lambda tree: replace(tree, second=2 * tree.first)))
    found = doubled(Sum(jnp.arange(3), "a", jnp.zeros(3)))
    assert found.name == "a"
    np.testing.assert_array_equal(found.second, [0, 2, 4])


def test_classes_of_nodes():
    tree = Sum({"x": 1}, "a", (2, Product(None, "b", 3)))
    assert classes_of(tree) == (Sum, dict, None, tuple, None, Product, type(None), None)
    assert classes_of(1.0) == (None,)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (unit_length(Bright(jnp.ones(3))), mirrored(Bright(jnp.ones(3)))),
        # What users register as JAX's documentation says, and what they put in there.
        (Bright(jnp.ones(3)), Dark(jnp.ones(3))),
        (unit_length(Bright(jnp.ones(3))), unit_length(Dark(jnp.ones(3)))),
    ],
)
def test_embeddings_that_are_not_alike_never_share_a_program(one, other):
    assert structure(as_pytree(one)) != structure(as_pytree(other))
    assert structure(as_pytree(one)) == structure(as_pytree(jax.tree.map(jnp.zeros_like, one)))
    source = people.query()
    images = to_float(decode_all(source, size=people.SIZE, filter="bilinear"))
    for embed in (one, other):
        found = extract(embed, source, size=people.SIZE, batch_size=4)
        np.testing.assert_allclose(found.features, embed(images), rtol=1e-5)
