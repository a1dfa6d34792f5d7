"""People differ, stay themselves, and wear what their garments say."""

import dataclasses

import numpy as np
import pytest

from jaxreid.data.synthetic import CONFIGS
from jaxreid.data.synthetic.stream import Stream
from jaxreid.data.synthetic.wardrobe import Garment, fabric, person, stranger, tinted

CONFIG = CONFIGS["default"]


def test_people_differ_and_stay_themselves() -> None:
    people = [person(CONFIG, i) for i in range(1, 101)]
    assert len(set(people)) == 100
    person.cache_clear()
    assert person(CONFIG, 5) == people[4]
    assert person(dataclasses.replace(CONFIG, seed=1), 5) != people[4]


def test_everything_is_worn_by_somebody() -> None:
    people = [person(CONFIG, i) for i in range(1, 401)]
    assert {p.hair_style for p in people} == set(range(7))
    assert {p.bag for p in people} == set(range(4))
    assert {p.upper.kind for p in people} == {"shirt", "long", "jacket", "coat"}
    assert {p.lower.kind for p in people} == {"trousers", "shorts", "skirt"}
    assert {p.upper.pattern for p in people} == set(range(7))
    assert {p.scarf for p in people} == {p.belt for p in people} == {False, True}


def test_strangers_are_nobody_of_the_dataset() -> None:
    people = {person(CONFIG, i) for i in range(1, 301)}
    assert not people & {stranger(CONFIG, Stream(i)) for i in range(50)}


def test_tinted() -> None:
    assert tinted((100, 200, 0), 1.5) == (150, 255, 0)
    assert tinted((100, 200, 7), 0.0) == (0, 0, 0)


@pytest.mark.parametrize("pattern", range(7))
def test_fabric(pattern: int) -> None:
    garment = Garment("shirt", (80, 90, 100), (140, 150, 160), pattern, 20, 3)
    plain = np.asarray(fabric(garment, 0.0)).reshape(-1, 3)
    colours, counts = np.unique(plain, axis=0, return_counts=True)
    expected = [[80, 90, 100]] if pattern == 0 else [[80, 90, 100], [140, 150, 160]]
    assert colours.tolist() == expected
    assert counts.min() > 0.03 * counts.sum()
    woven = np.asarray(fabric(garment, 12.0)).reshape(-1, 3).astype(int)
    assert 5 <= np.abs(woven - plain).max() <= 6
    other = dataclasses.replace(garment, weave=4)
    assert not np.array_equal(np.asarray(fabric(other, 12.0)).reshape(-1, 3), woven)
