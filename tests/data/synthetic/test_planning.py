"""The plan has the counts it promises, names in Market's grammar, and people who can be found."""

import collections
import dataclasses
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxreid.data.synthetic import CONFIGS, SyntheticConfig, plan, render
from jaxreid.errors import InputError

GRAMMAR = re.compile(r"(-1|\d{4})_c(\d)s(\d)_(\d{6})_(\d{2})\.jpg")


@st.composite
def configs(draw: st.DrawFn) -> SyntheticConfig:
    cameras = draw(st.integers(2, 9))
    train, test = draw(st.integers(1, 20)), draw(st.integers(1, 20))
    tracks = draw(st.integers(2 * train, cameras * train))
    queries = draw(st.integers(2 * test, cameras * test))
    return SyntheticConfig(
        name="drawn",
        seed=draw(st.integers(0, 2**31)),
        cameras=cameras,
        train_identities=train,
        test_identities=test,
        train_images=tracks + draw(st.integers(0, 40)),
        train_tracks=tracks,
        query_images=queries,
        gallery_matches=queries + draw(st.integers(0, 40)),
        distractors=draw(st.integers(0, 9)),
        junk=draw(st.integers(0, 9)),
    )


def check(config: SyntheticConfig) -> None:
    images = plan(config)
    by_split = collections.defaultdict(list)
    for image in images:
        by_split[image.split].append(image)
    train, query, gallery = by_split["train"], by_split["query"], by_split["gallery"]
    first = [i for i in train if i.identity <= config.train_identities + config.test_identities]
    assert len(first) == config.train_images
    assert len(query) == config.query_images
    kinds = collections.Counter(min(i.identity, 1) for i in gallery)
    assert kinds[1] == config.gallery_matches
    assert kinds[0] == config.distractors
    assert kinds[-1] == config.junk
    assert len({i.identity for i in train}) == config.train_identities + config.more_people
    asked = {i.identity for i in query}
    assert len(asked) == config.test_identities
    assert not asked & {i.identity for i in train}
    assert len({i.file_name for i in images}) == len(images)
    for image in images:
        who, camera, sequence, frame, _ = GRAMMAR.fullmatch(image.file_name).groups()
        assert (int(who), int(camera) - 1, int(sequence), int(frame)) == image[2:]
        assert 0 <= image.camera < config.cameras
    where = collections.defaultdict(set)
    for image in gallery:
        where[image.identity].add(image.camera)
    assert len({(i.identity, i.camera) for i in query}) == len(query)
    for image in query:
        assert where[image.identity] - {image.camera}, "no gallery match under another camera"


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_the_counts_of_every_size(name: str) -> None:
    check(CONFIGS[name])


@settings(deadline=None, max_examples=40)
@given(configs())
def test_the_counts_of_any_size(config: SyntheticConfig) -> None:
    check(config)


def test_market_like_has_the_counts_of_market() -> None:
    images = plan(CONFIGS["market_like"])
    splits = collections.Counter(i.split for i in images)
    assert splits == {"train": 12936, "query": 3368, "gallery": 19732}
    assert sum(i.identity == -1 for i in images) == 3819
    assert len({i.identity for i in images if i.split == "train"}) == 751
    assert len({i.identity for i in images if i.split == "query"}) == 750
    assert {i.camera for i in images} == set(range(6))


def test_the_plan_is_a_function_of_the_seed() -> None:
    config = CONFIGS["tiny"]
    assert plan(config) == plan(config)
    assert plan(config) != plan(dataclasses.replace(config, seed=1))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"train_tracks": 3}, "train_tracks must be 2 to 3 times train_identities = 12, got 3"),
        ({"query_images": 99}, "query_images must be 2 to 3 times test_identities = 8, got 99"),
        ({"gallery_matches": 5}, "gallery_matches must be at least query_images = 22, got 5"),
        ({"train_images": 5}, "train_images must be at least train_tracks = 34, got 5"),
        ({"cameras": 10}, "cameras must be 2 to 9, got 10"),
        ({"train_identities": 9999}, "identities have four digits"),
    ],
)
def test_sizes_that_contradict_each_other(change: dict[str, int], text: str) -> None:
    with pytest.raises(InputError, match=text):
        plan(dataclasses.replace(CONFIGS["tiny"], **change))


@pytest.mark.slow
def test_more_people_to_learn_from_leave_all_else_as_it_is() -> None:
    base, more, most = (plan(CONFIGS[name]) for name in ("default", "people_400", "people_800"))
    assert set(base) < set(more) < set(most)
    for wider, people in ((more, 400), (most, 800)):
        added = [image for image in wider if image not in set(base)]
        assert {image.split for image in added} == {"train"}
        assert len({image.identity for image in wider if image.split == "train"}) == people
        assert min(image.identity for image in added) == 301
        # As many cameras and images as the others have: 5 and 12 of each on average.
        tracks = {(image.identity, image.camera) for image in added}
        assert len(tracks) / (people - 200) == pytest.approx(5, rel=0.05)
        assert len(added) / (people - 200) == pytest.approx(12, rel=0.05)
        assert min(collections.Counter(who for who, _ in tracks).values()) >= 2


def test_a_person_more_is_drawn_as_everybody_is() -> None:
    tiny = CONFIGS["tiny"]
    wider = dataclasses.replace(tiny, more_people=3)
    first = next(image for image in plan(tiny) if image.split == "train")
    assert render(wider, first) == render(tiny, first)
    added = [image for image in plan(wider) if image.identity > 20]
    assert {image.identity for image in added} == {21, 22, 23}
    assert render(wider, added[0]) != render(wider, added[-1])
