from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxreid.data.prepare.checks import Checked
from jaxreid.data.prepare.filenames import ImageName
from jaxreid.data.prepare.folders import ImageFile
from jaxreid.data.prepare.planning import hold_out_validation, index_splits


def _image(identity: int, camera: int, shot: int, split: str = "t") -> Checked:
    name = f"{identity:04d}_c{camera + 1}s1_{shot:06d}_00.jpg"
    return Checked(
        ImageFile(Path(split) / name, name, ImageName(identity, camera, 1, shot)), checksum=shot
    )


_people = st.dictionaries(
    st.integers(1, 10_000),
    st.dictionaries(st.integers(0, 5), st.integers(1, 3), min_size=1, max_size=4),
    min_size=2,
    max_size=30,
)


def _images(people: dict[int, dict[int, int]]) -> list[Checked]:
    return sorted(
        _image(identity, camera, shot)
        for identity, cameras in people.items()
        for camera, count in cameras.items()
        for shot in range(count)
    )


@given(_people)
def test_every_image_is_in_one_part_and_nobody_in_two(people: dict[int, dict[int, int]]) -> None:
    train = _images(people)
    parts = hold_out_validation(train)
    assert sorted(image for part in parts.values() for image in part) == train
    learned = {image.file.name.identity for image in parts["train"]}
    held = {
        image.file.name.identity
        for part in ("validation_query", "validation_gallery")
        for image in parts[part]
    }
    assert not learned & held
    assert learned
    assert len(held) <= max(1, round(0.1 * len(people)))
    assert bool(held) == any(len(cameras) > 1 for cameras in people.values())


@given(_people)
def test_every_validation_query_has_an_answer_on_another_camera(
    people: dict[int, dict[int, int]],
) -> None:
    parts = hold_out_validation(_images(people))
    answers = {(g.file.name.identity, g.file.name.camera) for g in parts["validation_gallery"]}
    for query in parts["validation_query"]:
        name = query.file.name
        assert any(i == name.identity and c != name.camera for i, c in answers)
    asked = [(q.file.name.identity, q.file.name.camera) for q in parts["validation_query"]]
    assert len(set(asked)) == len(asked)


def test_the_choice_depends_on_identities_only() -> None:
    people = {i: {0: 2, 1: 2} for i in range(1, 41)}
    once = hold_out_validation(_images(people))
    held = {image.file.name.identity for image in once["validation_query"]}
    assert len(held) == 4
    more = hold_out_validation(_images({i: {0: 1, 1: 3, 2: 1} for i in people}))
    assert {image.file.name.identity for image in more["validation_query"]} == held
    # Written down: a change of the draw would silently change everyone's validation split.
    assert held == {4, 7, 24, 25}


def test_labels_count_sorted_identities_from_zero() -> None:
    people = {i: {0: 2, 1: 2} for i in (900, 3, 41, 7, 1000)}
    parts = hold_out_validation(_images(people))
    parts["query"] = [_image(5, 0, 1, "q")]
    parts["gallery"] = [_image(-1, 0, 1, "g"), _image(0, 0, 2, "g"), _image(5, 1, 3, "g")]
    index = index_splits(parts)
    everyone = sorted(people)
    held = index["validation_query"].identity[0]
    learned = [identity for identity in everyone if identity != held]
    for split in ("train", "validation_query", "validation_gallery"):
        columns = index[split]
        expected = [learned.index(i) if i in learned else -1 for i in columns.identity]
        np.testing.assert_array_equal(columns.label, expected)
        np.testing.assert_array_equal(
            columns.label_all, [everyone.index(i) for i in columns.identity]
        )
    assert set(index["train"].label) == set(range(4))
    assert (index["validation_query"].label == -1).all()
    for split in ("query", "gallery"):
        assert (index[split].label == -1).all()
        assert (index[split].label_all == -1).all()
    np.testing.assert_array_equal(index["gallery"].identity, [-1, 0, 5])
    assert index["gallery"].identity.dtype == np.int64


def test_nobody_seen_twice_means_no_validation() -> None:
    parts = hold_out_validation(_images({1: {0: 3}, 2: {1: 3}}))
    assert [len(parts[s]) for s in ("train", "validation_query", "validation_gallery")] == [6, 0, 0]


@pytest.mark.parametrize("fraction", [0.0, 1.0])
def test_someone_is_always_left_to_learn_from(fraction: float) -> None:
    parts = hold_out_validation(_images({i: {0: 1, 1: 1} for i in (1, 2, 3)}), fraction=fraction)
    learned = {image.file.name.identity for image in parts["train"]}
    assert len(learned) == (2 if fraction == 0.0 else 1)
