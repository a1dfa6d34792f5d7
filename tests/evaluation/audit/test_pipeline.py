"""What lies around the attacked function: sizes, rounding to 8 bits, re-ranking."""

import numpy as np
import people
import pytest

from jaxreid.evaluation.audit.flags import KINDS, judged
from jaxreid.evaluation.audit.pipeline import (
    eight_bit_flag,
    preprocessing_flag,
    resized_share,
    scoring_flag,
)
from jaxreid.records import Condition, Result, Score, WorstCase


def score(level):
    return {"market1501": Score(level, level, level, level, level)}


def worst(left, *, rounded=None, reranked=None):
    case = WorstCase((), score(left), score(left if rounded is None else rounded), {})
    again = None if reranked is None else score(reranked)
    return Result(Condition("worst-1", eps=5.0), score(left), again, worst=case)


CLEAN = Result(Condition(), score(0.8))


@pytest.mark.parametrize(
    ("rounded", "number", "raised"),
    [(0.1, 0.0, False), (0.15, 0.05 / 0.7, False), (0.24, 0.2, True), (0.05, 0.0, False)],
)
def test_what_rounding_gives_back(rounded, number, raised):
    flag = eight_bit_flag(CLEAN, worst(0.1, rounded=rounded))
    assert flag.number == pytest.approx(number)
    assert flag.raised is raised


def test_where_nothing_was_lost_nothing_comes_back():
    assert eight_bit_flag(CLEAN, worst(0.795, rounded=0.8)).number == 0


def test_what_re_ranking_gives_back():
    flag = scoring_flag(CLEAN, worst(0.1, reranked=0.31), flip=False)
    assert flag.number == pytest.approx(0.3)
    assert flag.raised
    assert "leaves 31.0 % mAP" in flag.meaning
    assert not scoring_flag(CLEAN, worst(0.1, reranked=0.05), flip=False).raised
    alone = scoring_flag(CLEAN, worst(0.1), flip=True)
    assert alone.raised is False
    assert "mirror image is part of the attacked function" in alone.meaning
    assert "--rerank" in alone.meaning


def test_sizes_that_the_network_was_not_trained_on():
    assert preprocessing_flag((64, 32), (64, 32), 0.0).raised is False
    resized = preprocessing_flag((64, 32), (64, 32), 1.0)
    assert resized.raised is False
    assert "100 % of the sample were resized" in resized.meaning
    assert preprocessing_flag((256, 128), (64, 32), 0.0).raised is True
    nothing = preprocessing_flag(None, (64, 32), 0.5)
    assert nothing.raised is None
    assert nothing.number is None
    assert "50 % of the sample" in nothing.meaning


def test_stored_sizes_are_read_off_the_files():
    some = np.array([0, 3])
    assert resized_share(people.query(), some, people.SIZE) == 0
    assert resized_share(people.query(), some, (people.SIZE[1], people.SIZE[0])) == 1


def test_a_flag_is_raised_above_its_threshold_and_by_what_is_no_number():
    for name, kind in KINDS.items():
        assert judged(name, kind.threshold).raised is False
        assert judged(name, kind.threshold * 1.01 + 1e-9).raised is True
        lost = judged(name, float("nan"))
        assert lost.raised is True
        assert np.isfinite(lost.number)
        # One sentence each, as printed.
        assert kind.meaning.endswith(".")
        assert kind.advice.endswith(".")
