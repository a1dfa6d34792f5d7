"""A batch decodes each image once and is cut for devices without being reordered."""

import io

import numpy as np
import pytest
from PIL import Image

from jaxreid.data.batches import (
    Batch,
    BatchMaker,
    Images,
    TrainRows,
    by_device,
)
from jaxreid.data.samplers import GuideTable, ShuffledBatches
from jaxreid.data.source import InMemorySplit
from jaxreid.errors import InputError

SIZE = (8, 4)


class Counting(InMemorySplit):
    """Remembers which images were read."""

    def __init__(self, count: int) -> None:
        images = []
        for i in range(count):
            buffer = io.BytesIO()
            Image.new("RGB", (4, 8), (10 * i, i, 0)).save(buffer, format="PNG")
            images.append(buffer.getvalue())
        super().__init__(images, [1 + i // 4 for i in range(count)], [0] * count)
        self.read: list[int] = []

    def __getitem__(self, index: int) -> dict[str, object]:
        self.read.append(index)
        return super().__getitem__(index)


def test_an_image_that_is_wanted_twice_is_decoded_once() -> None:
    source = Counting(6)
    wanted = np.array([[3, 1, 3], [-1, 1, 5]])
    images = Images(source, SIZE, "bicubic", None)(wanted)
    assert sorted(source.read) == [1, 3, 5]
    assert images.shape == (2, 3, *SIZE, 3)
    np.testing.assert_array_equal(images[:, :, 0, 0, 1], np.maximum(wanted, 0))
    assert not images[1, 0].any()


def test_a_batch_of_padding_alone_reads_nothing() -> None:
    source = Counting(4)
    images = Images(source, SIZE, "bicubic", None)(np.full((2, 1), -1))
    assert images.shape == (2, 1, *SIZE, 3)
    assert not images.any()
    assert source.read == []


def test_guides_in_the_batch_cost_no_second_decoding() -> None:
    source = Counting(8)
    rows = TrainRows(ShuffledBatches(8), source.labels, 1)
    maker = BatchMaker(
        Images(source, SIZE, "bicubic", None), rows, (0, 1), GuideTable(source.labels), pushes=3
    )
    batch = maker(0)
    assert sorted(source.read) == list(range(8))
    np.testing.assert_array_equal(batch["push_images"][..., 0, 0, 1], batch["push_indices"])


def test_images_and_guides_come_with_their_cameras() -> None:
    source = Counting(8)
    source.cameras = 10 + np.arange(8)
    rows = np.array([3, -1, 7, 0])
    maker = BatchMaker(
        Images(source, SIZE, "bicubic", None),
        lambda number: (rows, 0),
        (0, 1),
        GuideTable(source.labels),
        pushes=5,
    )
    batch = maker(0)
    assert batch["cameras"].tolist() == [13, -1, 17, 10]
    expected = np.where(batch["push_mask"], 10 + batch["push_indices"], -1)
    np.testing.assert_array_equal(batch["push_cameras"], expected)
    # Three others of each person, and padding.
    assert batch["push_mask"].sum() == 9


def test_rows_know_their_epoch() -> None:
    labels = np.arange(10)
    rows = TrainRows(ShuffledBatches(5), labels, 2)
    order = [rows(k) for k in (3, 0, 1, 2, 3)]
    assert [epoch for _, epoch in order] == [1, 0, 0, 1, 1]
    np.testing.assert_array_equal(order[0][0], order[4][0])
    first = np.concatenate([order[1][0], order[2][0]])
    assert sorted(first.tolist()) == list(range(10))


def test_by_device() -> None:
    source = Counting(6)
    maker = BatchMaker(
        Images(source, SIZE, "bicubic", None),
        lambda number: (np.arange(6), 0),
        (0, 1),
        GuideTable(source.labels),
        pushes=2,
    )
    batch = Batch(**maker(0))
    split = by_device(batch, 3)
    assert split.images.shape == (3, 2, *SIZE, 3)
    assert split.push_images.shape == (3, 2, 2, *SIZE, 3)
    np.testing.assert_array_equal(split.indices.ravel(), batch.indices)
    for devices in (4, 0):
        with pytest.raises(InputError, match=f"6 cannot be split over {devices} devices"):
            by_device(batch, devices)
