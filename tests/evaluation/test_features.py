"""Features of a split: every image once, whatever the batches, devices and processes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy
from flax import nnx

from jaxreid import sharding
from jaxreid.augmentation import to_float
from jaxreid.data.loader import decode_all
from jaxreid.data.source import InMemorySplit
from jaxreid.errors import InputError
from jaxreid.evaluation import LoaderSettings, extract
from jaxreid.models import create, embedding

SIZE = (16, 8)


@pytest.fixture(scope="module")
def split(encoded):
    return InMemorySplit(
        [encoded(seed) for seed in range(11)],
        [-1, 0, 1, 1, 1, 2, 2, 3, 3, 4, 4],
        [0, 0, 0, 1, 2, 0, 1, 0, 1, 0, 1],
    )


def test_features_are_those_of_each_image(split):
    embed = toy.random_embed()
    found = extract(embed, split, size=SIZE)
    images = to_float(decode_all(split, size=SIZE, filter="bilinear"))
    np.testing.assert_allclose(found.features, embed(images), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found.identities, split.identities)
    np.testing.assert_array_equal(found.cameras, split.cameras)


@pytest.mark.parametrize(("batch_size", "devices"), [(1, 1), (4, 1), (5, 4), (64, 4)])
def test_neither_batch_size_nor_devices_matter(split, batch_size, devices):
    embed = toy.random_embed()
    expected = extract(embed, split, size=SIZE, batch_size=11, devices=jax.local_devices()[:1])
    found = extract(
        embed, split, size=SIZE, batch_size=batch_size, devices=jax.local_devices()[:devices]
    )
    np.testing.assert_allclose(found.features, expected.features, rtol=1e-5, atol=1e-6)


def test_one_program_for_all_batches_and_all_weights(split):
    traces = []

    @jax.tree_util.register_pytree_node_class
    class Scaled:
        def __init__(self, scale):
            self.scale = scale

        def __call__(self, images):
            traces.append(images.shape)
            return self.scale * images.mean((1, 2))

        def tree_flatten(self):
            return (self.scale,), None

        @classmethod
        def tree_unflatten(cls, _, leaves):
            return cls(*leaves)

    once = extract(Scaled(jnp.float32(1)), split, size=SIZE, batch_size=4)
    twice = extract(Scaled(jnp.float32(2)), split, size=SIZE, batch_size=4)
    assert len(traces) == 1
    np.testing.assert_allclose(twice.features, 2 * once.features, rtol=1e-6, atol=1e-6)


@pytest.mark.slow
def test_a_network_and_its_cache(split):
    model = create("resnet_patch", head="none", rngs=nnx.Rngs(0))
    embed = embedding(model, normalize=True)
    seen = []
    found = extract(
        embed,
        split,
        size=SIZE,
        batch_size=8,
        cache=decode_all(split, size=SIZE, filter="bilinear"),
        progress=lambda done, total: seen.append((done, total)),
    )
    np.testing.assert_allclose(np.linalg.norm(found.features, axis=1), 1, rtol=1e-5)
    assert seen == [(8, 11), (11, 11)]


def test_an_unhashable_callable(split):
    class Unhashable:
        __hash__ = None

        def __call__(self, images):
            return images.mean((1, 2))

    assert extract(Unhashable(), split, size=SIZE).features.shape == (11, 3)


@pytest.mark.parametrize(
    ("embed", "message"),
    [
        (lambda images: images, r"\[B,D\] with B="),
        (lambda images: images.mean(), r"\[B,D\]"),
        (lambda images: (images.mean((1, 2)),), "a tuple"),
        (lambda images: images.mean((1, 2)).astype(int), "int32"),
        (lambda images: jnp.asarray(np.asarray(images).mean((1, 2))), "JAX function"),
        (lambda images: jnp.full((len(images), 2), jnp.nan), "NaN or infinity for 11 of 11"),
    ],
)
def test_a_wrong_embedding_is_named(split, embed, message):
    with pytest.raises(InputError, match=message):
        extract(embed, split, size=SIZE)


def test_an_empty_split(encoded):
    with pytest.raises(InputError, match="empty"):
        extract(toy.random_embed(), InMemorySplit([], [], []), size=SIZE)


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"devices": []}])
def test_arguments_out_of_range(split, wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        extract(toy.random_embed(), split, size=SIZE, **wrong)


def test_parts_of_several_processes_are_put_in_order(monkeypatch):
    # Two processes, batches of 2 x 2 rows: each has its half of every batch.
    halves = np.arange(12).reshape(3, 2, 2).swapaxes(0, 1)
    monkeypatch.setattr(sharding.jax, "process_count", lambda: 2)
    sent = halves.reshape(2, -1).view(np.uint32)
    monkeypatch.setattr(sharding.multihost_utils, "process_allgather", lambda local: sent)
    np.testing.assert_array_equal(sharding.gathered(list(halves[0]), 11), np.arange(11))


@pytest.mark.parametrize("processes", [1, 2])
def test_each_image_is_read_by_one_process(split, monkeypatch, processes):
    monkeypatch.setattr(jax, "process_count", lambda: processes)
    read = []
    for process in range(processes):
        monkeypatch.setattr(jax, "process_index", lambda process=process: process)
        with LoaderSettings(SIZE).batches(split, 4) as batches:
            found = [batch.indices for batch in batches]
        assert [len(part) for part in found] == 3 * [4 // processes]
        read.extend(np.concatenate(found).tolist())
    assert sorted(read) == [-1, *range(11)]
