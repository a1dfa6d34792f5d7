"""What is recorded of attackers who know what stands behind a network, and of others."""

import json

import pytest

from jaxreid.errors import InputError
from jaxreid.records import (
    ADAPTIVE_FILE,
    AdaptiveAttack,
    AdaptiveAttacks,
    AdaptiveClimb,
    Alarms,
    Detected,
    Left,
    Reranked,
    Score,
)


def scores(share):
    return {name: Score(share, share, 1.0, 1.0, share) for name in ("market1501", "torchreid")}


def reranked(**climb):
    lefts = [Left(scores(0.1 * n), reranked=scores(0.2 * n)) for n in (4, 2, 1)]
    return AdaptiveAttack(AdaptiveClimb(Reranked(), **climb), 60, None, *lefts)


def detected(**climb):
    lefts = [Left(scores(0.1 * n), alarms=Alarms(0.5, 0.1 * n, 0.4)) for n in (4, 2, 1)]
    return AdaptiveAttack(AdaptiveClimb(Detected("median"), **climb), 60, 0.75, *lefts)


def test_what_is_written_is_read_back(tmp_path):
    found = AdaptiveAttacks((reranked(), detected(), reranked(eps=8.0, distance="cosine")))
    found.save(tmp_path)
    assert AdaptiveAttacks.load(tmp_path) == found


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda fields: fields.update(schema=2), "schema 2"),
        (lambda fields: fields["attacks"][0].pop("climb"), r"attacks\[0\].*climb"),
        (lambda fields: fields["attacks"].append(fields["attacks"][0]), "one climb twice"),
        (
            lambda fields: fields["attacks"][1]["climb"].update(behind={"candidates": 9}),
            r"attacks\[1\].clean is not of what stands behind",
        ),
        (
            lambda fields: fields["attacks"][0]["adaptive"].update(reranked=None),
            r"attacks\[0\].adaptive is not of what stands behind",
        ),
        (
            lambda fields: fields["attacks"][1].update(threshold=None),
            r"attacks\[1\].threshold is not of what stands there",
        ),
        (
            lambda fields: fields["attacks"][0]["oblivious"]["scores"].pop("market1501"),
            r"attacks\[0\].oblivious has no protocol market1501",
        ),
        (
            lambda fields: fields["attacks"][1]["clean"]["alarms"].update(raised=2),
            r"attacks\[1\].clean",
        ),
        (lambda fields: fields["attacks"][0]["climb"].update(steps="many"), "climb.steps"),
    ],
)
def test_a_damaged_record_says_where(tmp_path, change, said):
    AdaptiveAttacks((reranked(), detected())).save(tmp_path)
    fields = json.loads((tmp_path / ADAPTIVE_FILE).read_text())
    change(fields)
    (tmp_path / ADAPTIVE_FILE).write_text(json.dumps(fields))
    with pytest.raises(InputError, match=said):
        AdaptiveAttacks.load(tmp_path)


def test_no_record_is_told(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        AdaptiveAttacks.load(tmp_path)
