"""The loop: who is fooled, with which images, and never with more of them than was said."""

import boxes
import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxreid.attacks import example_keys
from jaxreid.errors import InputError
from jaxreid.evaluation.blackbox import (
    STRATEGIES,
    People,
    attack_by_queries,
    checkpoints_of,
)

IMAGES = boxes.queries()
KEYS = example_keys(jax.random.key(0), np.arange(3))


def attacked(folder, attack, *, rows=(0, 1, 2), ranker=None, scored=False, **options):
    """The attack on some of the rows, and the ranker."""
    rows, ranker = list(rows), ranker or boxes.MeanRanker()
    people = People(*(part[rows] for part in boxes.PEOPLE[:2]), *boxes.PEOPLE[2:])
    options = {"eps": 8, "queries": 120, "key": KEYS[np.array(rows)]} | options
    asked = boxes.memory(ranker, folder, scored=scored)
    return attack_by_queries(asked, IMAGES[rows], people, attack=attack, **options), ranker


# Lists of these few items change only where they are lost: nothing that others could climb.
@pytest.mark.parametrize(
    ("attack", "scored"), [("square", True), ("nes", True), ("rays", False), ("rays", True)]
)
def test_everybody_is_fooled_inside_the_budget(tmp_path, attack, scored):
    found, ranker = attacked(tmp_path, attack, scored=scored)
    assert found.checkpoints == (1, 100, 120)
    assert (found.first[0] == 1).all()
    assert (found.first[-1] > 1).all()
    change = np.abs(found.images.astype(int) - IMAGES)
    assert found.images.dtype == np.uint8
    assert (change[0] == 0).all()
    assert 0 < change.max() <= 8
    assert ((found.succeeded_at > 1) & (found.succeeded_at <= found.asked)).all()
    # What the ranker says of the last images is what was recorded.
    kinds = np.take_along_axis(
        boxes.PEOPLE.relations(), np.asarray(ranker(found.images[-1]).items), axis=1
    )
    first = [row[row >= 0].tolist().index(1) + 1 for row in kinds]
    shown = [rank if 1 in row[:5] else 6 for rank, row in zip(first, kinds, strict=True)]
    np.testing.assert_array_equal(found.first[-1], shown)
    # More images never do less.
    assert ((found.first == 1)[:-1] >= (found.first == 1)[1:]).all()


@pytest.mark.slow
@settings(max_examples=12)
@given(st.sampled_from(list(STRATEGIES)), st.integers(1, 70), st.booleans())
def test_no_budget_is_exceeded(tmp_path_factory, attack, queries, scored):
    folder = tmp_path_factory.mktemp("box")
    found, ranker = attacked(folder, attack, queries=queries, scored=scored, eps=1)
    assert (found.asked <= queries).all()
    assert len(ranker.seen) == len(set(ranker.seen))
    assert len(ranker.seen) <= found.asked.sum()
    assert found.checkpoints == checkpoints_of(queries)
    # A budget of one level fools nobody, so that everybody goes on to the end.
    assert (found.succeeded_at == 0).all()
    assert (found.asked == queries).all() or attack == "nes"


@pytest.mark.slow
@pytest.mark.parametrize("attack", STRATEGIES)
def test_a_row_is_its_own_and_a_replay_asks_nothing(tmp_path, attack):
    (tmp_path / "one").mkdir()
    found, _ = attacked(tmp_path, attack)
    again, silent = attacked(tmp_path, attack)
    assert silent.seen == []
    alone, _ = attacked(tmp_path / "one", attack, rows=(2, 0))
    for one, other, part in zip(found[1:], again[1:], alone[1:], strict=True):
        np.testing.assert_array_equal(one, other)
        own = one[[2, 0]] if one.ndim == 1 else one[:, [2, 0]]
        np.testing.assert_array_equal(part, own)


def test_an_attack_goes_on_after_the_service_was_gone(tmp_path):
    whole, _ = attacked(tmp_path, "square")
    (tmp_path / "broken").mkdir()
    before = boxes.MeanRanker(fails_after=7)
    with pytest.raises(InputError, match="the service is gone"):
        attacked(tmp_path / "broken", "square", ranker=before)
    after = boxes.MeanRanker()
    found, _ = attacked(tmp_path / "broken", "square", ranker=after)
    np.testing.assert_array_equal(found.images, whole.images)
    assert set(before.seen).isdisjoint(after.seen)


@pytest.mark.parametrize("attack", STRATEGIES)
def test_it_begins_at_the_start(tmp_path, attack):
    fooled, _ = attacked(tmp_path, "rays")
    start = IMAGES.astype(int) + 2 * (fooled.images[-1].astype(int) - IMAGES)
    ranker = boxes.MeanRanker()
    (tmp_path / "box").mkdir()
    found, _ = attacked(
        tmp_path / "box", attack, start=np.clip(start, 0, 255).astype(np.uint8), ranker=ranker
    )
    assert ranker.seen[:3] == [image.tobytes() for image in IMAGES]
    # The second image asked is the start, cut to the budget.
    inside = np.clip(start, 0, 255).clip(IMAGES.astype(int) - 8, IMAGES.astype(int) + 8)
    assert ranker.seen[3:6] == [image.astype(np.uint8).tobytes() for image in inside]
    assert (found.succeeded_at == 2).all()


def test_what_is_lost_already_costs_one_image(tmp_path):
    people = boxes.PEOPLE._replace(identities=np.array([2, 2, 2]))
    asked = boxes.memory(boxes.MeanRanker(), tmp_path)
    found = attack_by_queries(asked, IMAGES, people, attack="rays", key=KEYS)
    assert found.asked.tolist() == found.succeeded_at.tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"attack": "squares"}, "attack"),
        ({"eps": "0.5/255"}, "eps must be from 1 to 255"),
        ({"eps": 0.02}, "eps is in 1/255"),
        ({"queries": 0}, "queries"),
        ({"start": IMAGES[:2]}, "start must be shaped like images"),
        ({"start": IMAGES / 255.0}, "start must be uint8"),
        ({"key": KEYS[:2]}, "key holds 2 keys for 3 rows"),
    ],
)
def test_bad_input_is_named(tmp_path, options, said):
    with pytest.raises(InputError, match=said):
        attacked(tmp_path, **{"attack": "rays"} | options)
    asked = boxes.memory(boxes.MeanRanker(), tmp_path)
    for images, part in ((IMAGES[:2], "people"), (IMAGES / 255.0, "images must be uint8")):
        with pytest.raises(InputError, match=part):
            attack_by_queries(asked, images, boxes.PEOPLE, attack="rays", key=KEYS[: len(images)])
