"""Several training splits as one: the same images, and everybody in one is nobody in another."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from people import split

from jaxreid.data.joined import JoinedSplits, open_splits
from jaxreid.data.loader import train_batches
from jaxreid.data.samplers import IdentityBatches
from jaxreid.data.source import InMemorySplit, ReidSource, open_split
from jaxreid.errors import InputError


def test_each_counts_on_where_the_one_before_ends():
    first = split(1, [5, 5, 9], [0, 2, 2])
    second = split(2, [5, 7, 0], [1, 0, 0])
    joined = JoinedSplits({"one": first, "two/sub": second})
    assert isinstance(joined, ReidSource)
    assert joined.labels.tolist() == [0, 0, 1, 3, 4, 2]  # of its distractor, too
    assert joined.identities.tolist() == [5, 5, 9, 15, 17, 0]
    assert joined.cameras.tolist() == [0, 2, 2, 4, 3, 3]
    assert joined.file_names[2:4] == ("one/1_02.jpg", "two/sub/2_00.jpg")
    assert joined[4] == {
        **second[1],
        "identity": 17,
        "label": 4,
        "camera": 3,
        "file_name": "two/sub/2_01.jpg",
    }
    assert repr(joined) == "JoinedSplits(one, two/sub): 6 images"


people = st.lists(st.integers(1, 6), min_size=1, max_size=8)


@given(st.lists(people, min_size=1, max_size=4))
def test_no_person_and_no_camera_is_in_two_of_them(parts):
    pixel = np.zeros((1, 1, 3), np.uint8)
    splits = {
        str(place): InMemorySplit([pixel] * len(ids), ids, [i % 3 for i in ids])
        for place, ids in enumerate(parts)
    }
    joined = JoinedSplits(splits)
    whole = [(place, i) for place, ids in enumerate(parts) for i in ids]
    assert len(joined) == len(whole)
    for column in (joined.labels, joined.identities):
        assert len(set(zip(whole, column.tolist(), strict=True))) == len(set(whole))
        assert len(set(column.tolist())) == len(set(whole))
    assert set(joined.labels.tolist()) == set(range(len(set(whole))))
    places = {}
    for (place, _), camera in zip(whole, joined.cameras.tolist(), strict=True):
        places.setdefault(camera, set()).add(place)
    assert all(len(seen) == 1 for seen in places.values())
    for index in range(len(joined)):
        example = joined[index]
        assert example["label"] == joined.labels[index]
        assert example["identity"] == joined.identities[index]
        assert example["camera"] == joined.cameras[index]


def test_it_is_read_by_index_alone_and_travels_to_workers():
    joined = JoinedSplits({"a": split(1, [1, 2], [0, 1]), "b": split(2, [1], [0])})
    again = pickle.loads(pickle.dumps(joined))
    assert [again[i]["image"] for i in range(3)] == [joined[i]["image"] for i in range(3)]
    for index in (-1, 3):
        with pytest.raises(IndexError, match="has no image"):
            joined[index]


def test_batches_take_people_of_all():
    parts = {"a": split(1, [1, 1, 2, 2], [0, 1, 0, 1]), "b": split(2, [1, 1, 2, 2], [0, 1, 0, 1])}
    sampler = IdentityBatches(identities=4, images=2)
    batches = train_batches(
        JoinedSplits(parts), sampler, size=(16, 8), pushes=1, push_pixels=True, seed=0
    )
    with batches:
        batch = next(batches)
    assert sorted(batch.labels.tolist()) == [0, 0, 1, 1, 2, 2, 3, 3]
    # Faces are of identities, which both have; a guide is of the same dataset all the same.
    originals = {name: [part[i]["image"] for i in range(4)] for name, part in parts.items()}
    assert not set(originals["a"]) & set(originals["b"])
    plain = {
        tuple(pixels[::7, ::3].ravel().tolist()): label
        for pixels, label in zip(batch.images, batch.labels.tolist(), strict=True)
    }
    for guide, label in zip(batch.push_images[:, 0], batch.labels.tolist(), strict=True):
        assert plain[tuple(guide[::7, ::3].ravel().tolist())] == label


def test_what_is_no_training_split_is_refused():
    junk = InMemorySplit([np.zeros((1, 1, 3), np.uint8)], [1], [0], labels=[-1])
    with pytest.raises(InputError, match=r"b: images without a label; expected a training split"):
        JoinedSplits({"a": split(1, [1], [0]), "b": junk})
    with pytest.raises(InputError, match="splits: expected one at least"):
        JoinedSplits({})


def test_of_one_name_it_is_the_split_itself(tiny_data):
    name = "synthetic_reid/tiny"
    one = open_splits([name], "query", data_dir=tiny_data)
    assert one.file_names == open_split(name, "query", data_dir=tiny_data).file_names


@pytest.mark.parametrize(
    ("names", "match"),
    [
        (("synthetic_reid/tiny", "synthetic_reid"), "hold the same people"),
        (("synthetic_reid/tiny", "synthetic_reid/tiny"), "hold the same people"),
        (("synthetic_reid/tiny", "market1501"), "market1501 is not prepared"),
    ],
)
def test_names_that_cannot_be_joined(names, match, tiny_data):
    with pytest.raises(InputError, match=match):
        open_splits(names, "train", data_dir=tiny_data)
