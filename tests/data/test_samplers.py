"""Batches keep their promises for any labels, and are functions of seed and epoch alone."""

import collections

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxreid.data.samplers import GuideTable, IdentityBatches, ShuffledBatches, evaluation_rows
from jaxreid.errors import InputError

LABELS = st.lists(st.integers(-1, 8), min_size=1, max_size=60).map(lambda x: np.array(x, np.int64))
SEEDS = st.integers(0, 2**31)


@settings(deadline=None)
@given(labels=LABELS, seed=SEEDS, data=st.data())
def test_shuffled(labels: np.ndarray, seed: int, data: st.DataObject) -> None:
    size = data.draw(st.integers(1, len(labels)))
    sampler = ShuffledBatches(size, seed)
    epoch = sampler.epoch(labels, 3)
    assert epoch.shape == (sampler.batches(labels), size) == (len(labels) // size, size)
    assert len(np.unique(epoch)) == epoch.size
    assert epoch.min() >= 0
    assert epoch.max() < len(labels)
    np.testing.assert_array_equal(epoch, sampler.epoch(labels, 3))


@settings(deadline=None)
@given(labels=LABELS.filter(lambda x: x.max() >= 0), seed=SEEDS, data=st.data())
def test_identity_batches(labels: np.ndarray, seed: int, data: st.DataObject) -> None:
    sizes = collections.Counter(labels[labels >= 0].tolist())
    p = data.draw(st.integers(1, len(sizes)))
    k = data.draw(st.integers(1, 6))
    sampler = IdentityBatches(p, k, seed)
    epoch = sampler.epoch(labels, 1)
    assert epoch.shape == (sampler.batches(labels), p * k)
    seen = collections.Counter()
    for batch in epoch.reshape(-1, p, k):
        people = labels[batch]
        assert (people == people[:, :1]).all(), "neighbours share the identity"
        assert len(np.unique(people[:, 0])) == p, "identities of a batch differ"
        seen.update(people[:, 0].tolist())
        for images, label in zip(batch, people[:, 0].tolist(), strict=True):
            assert len(np.unique(images)) == min(k, sizes[label])
    assert set(seen) == set(sizes)
    extra = len(epoch) * p - len(sizes)
    assert sum(seen.values()) - len(sizes) == extra < p
    assert max(seen.values()) <= 2


def test_epochs_and_seeds_differ() -> None:
    labels = np.arange(40) // 4
    for make in (lambda s: ShuffledBatches(8, s), lambda s: IdentityBatches(4, 2, s)):
        first = make(0).epoch(labels, 0)
        assert not np.array_equal(first, make(0).epoch(labels, 1))
        assert not np.array_equal(first, make(1).epoch(labels, 0))


def test_shuffling_is_uniform() -> None:
    labels = np.zeros(10, np.int64)
    places = np.zeros((10, 10))
    for epoch in range(3000):
        order = ShuffledBatches(10, 5).epoch(labels, epoch)[0]
        places[np.arange(10), order] += 1
    # 300 expected each, standard deviation 16.4.
    assert np.abs(places - 300).max() < 6 * 16.4


@settings(deadline=None)
@given(labels=LABELS, seed=SEEDS, pushes=st.integers(1, 6), data=st.data())
def test_guides(labels: np.ndarray, seed: int, pushes: int, data: st.DataObject) -> None:
    indices = np.array(
        data.draw(st.lists(st.integers(-1, len(labels) - 1), min_size=1, max_size=9)), np.int64
    )
    table = GuideTable(labels)
    chosen, mask = table.draw(indices, pushes=pushes, seed=seed, epoch=2)
    assert chosen.shape == mask.shape == (len(indices), pushes)
    np.testing.assert_array_equal(chosen >= 0, mask)
    for own, row, valid in zip(indices.tolist(), chosen, mask, strict=True):
        guides = row[valid].tolist()
        same = (
            {i for i in range(len(labels)) if labels[i] == labels[own]}
            if own >= 0 and labels[own] >= 0
            else set()
        )
        others = same - {own}
        assert len(guides) == len(set(guides)) == min(pushes, len(others) or len(same))
        assert set(guides) <= (others or same)
    # Batch-mates and their order change nothing.
    again, _ = table.draw(indices[::-1], pushes=pushes, seed=seed, epoch=2)
    np.testing.assert_array_equal(again[::-1], chosen)


def test_every_other_image_gets_its_turn_as_a_guide() -> None:
    table = GuideTable(np.zeros(6, np.int64))
    counts = collections.Counter()
    for epoch in range(1000):
        chosen, _ = table.draw(np.array([2]), pushes=2, seed=0, epoch=epoch)
        counts.update(chosen[0].tolist())
    assert set(counts) == {0, 1, 3, 4, 5}
    # 400 expected each, standard deviation 15.5.
    assert all(abs(c - 400) < 6 * 15.5 for c in counts.values())


@given(count=st.integers(0, 50), size=st.integers(1, 20))
def test_evaluation_sees_every_example_once(count: int, size: int) -> None:
    rows = evaluation_rows(count, size)
    assert rows.shape[1] == size
    assert rows[rows >= 0].tolist() == list(range(count))
    assert rows.size - count < size


def test_bad_sizes() -> None:
    labels = np.array([0, 0, 1, 2, -1])
    with pytest.raises(InputError, match="batch_size must be 1 to 5, the number of images, got 6"):
        ShuffledBatches(6).epoch(labels, 0)
    with pytest.raises(InputError, match="must be 1 to 3, the number of identities, got 4"):
        IdentityBatches(4, 2).epoch(labels, 0)
    with pytest.raises(InputError, match="images per identity must be 1 or more, got 0"):
        IdentityBatches(2, 0).epoch(labels, 0)
    with pytest.raises(InputError, match="batch_size must be 1 or more, got 0"):
        evaluation_rows(5, 0)
