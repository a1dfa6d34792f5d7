"""The journal: nothing is asked twice, nothing answered is lost, and nonsense is refused."""

import re
import sys

import boxes
import numpy as np
import pytest

from jaxreid.errors import InputError
from jaxreid.evaluation.blackbox import Answer, Memory

IMAGES = np.random.default_rng(3).integers(0, 256, (7, *boxes.SIZE, 3)).astype(np.uint8)


@pytest.mark.parametrize("scored", [False, True])
def test_what_is_known_is_not_asked_again(tmp_path, scored):
    ranker = boxes.MeanRanker(scored)
    first = boxes.memory(ranker, tmp_path, scored=scored, batch_size=3)
    found = first.lists(IMAGES[[0, 1, 0, 2, 3, 4]])
    assert ranker.calls == [3, 2]
    items = np.asarray(getattr(boxes.MeanRanker()(IMAGES), "items"))  # noqa: B009
    np.testing.assert_array_equal(found[0], items[[0, 1, 0, 2, 3, 4], :5])
    assert (found[1] is None) != scored
    again = boxes.memory(ranker, tmp_path, scored=scored, batch_size=3)
    for part, before in zip(again.lists(IMAGES[[0, 1, 0, 2, 3, 4]]), found, strict=True):
        np.testing.assert_array_equal(part, before)
    assert (ranker.calls, again.asked) == ([3, 2], 0)
    again.lists(IMAGES)
    assert (ranker.calls, again.asked) == ([3, 2, 2], 2)
    # Another image of the same bytes.
    again.lists(IMAGES.reshape(7, 8, 16, 3))
    assert again.asked == 9


def test_a_record_that_was_cut_off_is_asked_again(tmp_path):
    ranker = boxes.MeanRanker()
    before = boxes.memory(ranker, tmp_path).lists(IMAGES)[0]
    journal = tmp_path / "answers"
    journal.write_bytes(journal.read_bytes()[:-1])
    after = boxes.memory(ranker, tmp_path)
    np.testing.assert_array_equal(after.lists(IMAGES)[0], before)
    assert after.asked == 1
    assert len(journal.read_bytes()) == 96 + 7 * (16 + 5 * 4)
    # Cut off in its first line, nothing is known.
    journal.write_bytes(journal.read_bytes()[:50])
    anew = boxes.memory(ranker, tmp_path)
    np.testing.assert_array_equal(anew.lists(IMAGES)[0], before)
    assert anew.asked == 7


def test_a_ranker_that_fails_loses_one_call(tmp_path):
    broken = boxes.memory(boxes.MeanRanker(fails_after=2), tmp_path, batch_size=2)
    said = "the ranker failed: ConnectionError: the service is gone; 4 answers are kept in "
    with pytest.raises(InputError, match=re.escape(f"{said}{tmp_path / 'answers'}")):
        broken.lists(IMAGES)
    whole = boxes.memory(boxes.MeanRanker(), tmp_path, batch_size=2)
    whole.lists(IMAGES)
    assert whole.asked == 3


def test_a_ranker_that_ends_the_process_fails_as_others_do(tmp_path):
    ending = boxes.memory(lambda images: sys.exit(3), tmp_path)
    with pytest.raises(InputError, match="the ranker failed: SystemExit: 3"):
        ending.lists(IMAGES)


def test_a_journal_of_something_else_is_refused(tmp_path):
    boxes.memory(boxes.MeanRanker(), tmp_path).lists(IMAGES)
    journal = tmp_path / "answers"
    before = journal.read_bytes()
    for other in ({"gallery": 3}, {"top": 4}, {"scored": True}):
        settings = {"gallery": 8, "top": 5} | other
        with pytest.raises(InputError, match=r"is no journal of top .* begins with 'jaxreid ans"):
            Memory(boxes.MeanRanker(), journal, **settings)
    assert journal.read_bytes() == before  # what was paid for is not cut
    journal.write_bytes(before[:-4] + b"\x09\0\0\0")
    with pytest.raises(InputError, match="names items that the gallery lacks"):
        boxes.memory(boxes.MeanRanker(), tmp_path)
    with pytest.raises(InputError, match="top"):
        Memory(boxes.MeanRanker(), tmp_path / "other", gallery=3, top=0)
    with pytest.raises(InputError, match="ranker"):
        Memory(None, tmp_path / "other", gallery=3)


TWO = [[0, 1], [2, 3]]
NONSENSE = {
    "must be 2 lists, got a NoneType": None,
    "one list per image, 2, got 1": TWO[:1],
    "list 1 names item 8; the gallery has 0 to 7": [[0], [8]],
    "list 0 names item -2": [[-2], [1]],
    "list 1 names an item twice": [[0], [1, 1]],
    "list 0 goes on after -1": [[0, -1, 2], [1]],
    "list 0 must be integers": [[0.5], [1]],
    "list 1 must be integers": [[0], [[1]]],
    "list 0 is none": [[[1], [2, 3]], [1]],
    "gives no scores": TWO,
    "ranker's scores must be one list per image": Answer(TWO, [[1, 0]]),
    "list 1 has 2 items and 1 scores": Answer(TWO, [[1, 0], [1]]),
    "scores 0 hold NaN": Answer(TWO, [[1, np.nan], [1, 0]]),
    "scores 1 rise along the list": Answer(TWO, [[1, 0], [0, 1]]),
    "scores 0 are no numbers": Answer(TWO, [["a", "b"], [1, 0]]),
}


@pytest.mark.parametrize("said", NONSENSE)
def test_nonsense_is_named(tmp_path, said, kind):
    asked = boxes.memory(lambda images: NONSENSE[said], tmp_path, scored=True)
    with pytest.raises(InputError, match=said) as error:
        asked.lists(IMAGES[:2])
    assert "0 answers are kept" in str(error.value)
    kind(f"a ranker whose answer is {NONSENSE[said]!r:.50}", f"InputError: {error.value}"[:90])


def test_short_and_long_lists_are_taken(tmp_path):
    lists = [[4], [], np.arange(8, dtype=np.uint8)]
    found, _ = boxes.memory(lambda images: lists, tmp_path).lists(IMAGES[:3])
    expected = [[4, -1, -1, -1, -1], [-1] * 5, [0, 1, 2, 3, 4]]
    np.testing.assert_array_equal(found, expected)
