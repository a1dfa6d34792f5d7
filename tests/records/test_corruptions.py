"""Means and ratios over corruptions, from figures whose means and ratios are known."""

import json

import pytest

from jaxreid.errors import InputError
from jaxreid.records import CorruptedLevel, CorruptionRecord, Provenance, Score

ABOUT = Provenance("one", "c", {}, {}, {}, {}, "1 x cpu", "2026-01-01T00:00:00+00:00")


def scores(precision, rank1=0.5):
    return {"market1501": Score(precision, rank1, rank1, rank1, precision)}


def record(shares, **fields):
    """Of {kind: mAP by severity, from 1}."""
    levels = tuple(
        CorruptedLevel(name, severity, scores(share))
        for name, each in shares.items()
        for severity, share in enumerate(each, 1)
    )
    return CorruptionRecord(
        **{"provenance": ABOUT, "corrupted": "query", "clean": scores(0.9)} | fields, levels=levels
    )


OURS = record({"fog": (0.8, 0.6), "snow": (0.5, 0.1)})
THEIRS = record({"fog": (0.6, 0.2), "snow": (0.7, 0.5), "rain": (0.0, 0.0)})


def test_the_mean_is_over_kinds_and_severities():
    assert OURS.mean("mean_average_precision") == pytest.approx(2.0 / 4)
    assert OURS.of(["snow"], [1, 2]).mean("mean_average_precision") == pytest.approx(0.3)
    assert OURS.mean("rank1") == pytest.approx(0.5)


def test_the_mean_corruption_error_is_a_mean_of_ratios_by_kind():
    """fog: (.2 + .4) / (.4 + .8) = 1/2; snow: (.5 + .9) / (.3 + .5) = 7/4."""
    found = OURS.mean_error(THEIRS, "mean_average_precision")
    assert found == pytest.approx((1 / 2 + 7 / 4) / 2)
    assert OURS.mean_error(OURS, "rank1") == pytest.approx(1)


def test_of_some_levels():
    some = OURS.of(["snow", "fog", "snow"], [2])
    assert [(one.name, one.severity) for one in some.levels] == [("snow", 2), ("fog", 2)]
    assert (some.names, some.severities) == (["snow", "fog"], [2])
    assert OURS.of_kind("snow").levels == OURS.levels[2:]
    assert OURS.of_kind("rain").levels == ()
    assert some.share("snow", 2, "mean_average_precision") == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: OURS.share("rain", 1, "rank1"), "one was not measured under rain:1"),
        (lambda: OURS.of(["fog"], [1, 3]), "under fog:3"),
        (lambda: OURS.of([], [1]).mean("rank1"), "no corruptions"),
        (lambda: THEIRS.mean_error(OURS, "rank1"), "under rain:1"),
        (lambda: OURS.mean_error(record({"fog": (1, 1)}), "mean_average_precision"), "no error"),
        (
            lambda: OURS.mean_error(record({"fog": (0, 0)}, corrupted="both"), "rank1"),
            "corrupted both images, expected query",
        ),
    ],
)
def test_what_has_no_answer(ask, message):
    with pytest.raises(InputError, match=message):
        ask()


def test_written_and_read(tmp_path):
    OURS.save(tmp_path)
    assert CorruptionRecord.load(tmp_path / "corruptions.json") == OURS


def twice(fields):
    fields["levels"].append(fields["levels"][0])


def elsewhere(fields):
    fields["levels"][1]["scores"] = {"other": fields["clean"]["market1501"]}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda fields: fields.update(schema=2), "schema 2"),
        (lambda fields: fields.update(corrupted="nobody"), "corrupted is 'nobody'"),
        (lambda fields: fields.update(clean={}, levels=[]), "clean has no protocol market1501"),
        (lambda fields: fields["levels"][0].update(severity=6), r"levels\[0\].severity is 6"),
        (lambda fields: fields["levels"][0].update(name="a\nb"), r"levels\[0\].name"),
        (twice, r"levels\[4\] is there twice: fog:1"),
        (elsewhere, r"levels\[1\].scores is not of the protocols"),
    ],
)
def test_a_damaged_file_is_refused_by_its_field(tmp_path, damage, message):
    path = tmp_path / "corruptions.json"
    OURS.save(tmp_path)
    fields = json.loads(path.read_text())
    damage(fields)
    path.write_text(json.dumps(fields))
    with pytest.raises(InputError, match=message):
        CorruptionRecord.load(path)
