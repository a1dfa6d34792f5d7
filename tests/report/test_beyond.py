"""What stands on a page beside attacks with the network: black boxes, certificates, corruptions."""

import dataclasses

import pytest
from pages import checked, titles
from run_folders import provenance, scores

from jaxreid.errors import InputError
from jaxreid.records import (
    AdaptiveAttack,
    AdaptiveAttacks,
    AdaptiveClimb,
    Alarms,
    BlackBox,
    ByQueries,
    Certificate,
    CertifiedLevel,
    CorruptedLevel,
    CorruptionRecord,
    Detected,
    Left,
    Reranked,
    RunFolder,
)
from jaxreid.report import write_report
from jaxreid.report.beyond import is_beyond, measured_beyond

NASTY = "<b> & 'quote'"
RAYS = ByQueries(
    "rays", 5.0, 0, "", (1, 100), ((1, 1, 1, 2), (1, 2, 2, 2)), (100,) * 4, (0, 7, 7, 1), None
)


def folder(path, command, **settings):
    about = provenance(NASTY, **settings)
    return RunFolder.create(path, dataclasses.replace(about, command=command))


@pytest.fixture
def black_box(tmp_path):
    run = folder(tmp_path / "blackbox", "jaxreid blackbox <m>", top=7, sees="list")
    BlackBox(("a", "b", "c", "d"), (RAYS,)).save(run.path)
    return run.path


@pytest.fixture
def certified(tmp_path):
    run = folder(tmp_path / "certified", "jaxreid certify <m>")
    said = dataclasses.asdict(run.provenance)
    said = {name: value for name, value in said.items() if name != "schema"}
    levels = (CertifiedLevel(0.0, scores(0.6)), CertifiedLevel(0.25, scores(0.2)))
    Certificate(
        **said,
        sigma=0.1,
        samples=10,
        confidence=0.999,
        queries=1234,
        abstained=0,
        error=0.1,
        clean=scores(0.7),
        levels=levels,
    ).save(run.path)
    return run.path


@pytest.fixture
def corrupted(tmp_path):
    run = folder(tmp_path / "corrupted", "jaxreid corruptions <m>")
    left = {"fog": (0.3, 0.1), "rain": (0.6, 0.4), "zoom_blur": (0.7, 0.7), "snow": (0.5,)}
    levels = tuple(
        CorruptedLevel(name, severity, scores(share))
        for name, shares in left.items()
        for severity, share in enumerate(shares, 1)
    )
    record = CorruptionRecord(run.provenance, "gallery", scores(0.8), levels)
    record.save(run.path)
    return run.path


def plainly(measurement):
    return [sentence.replace("\u00a0", " ") for sentence in measurement.told]


def test_what_is_told(black_box, certified, corrupted):
    # A folder that is named twice is read once.
    boxed, sure, weather = measured_beyond([black_box, certified, corrupted, black_box])
    assert [one.heading for one in (boxed, sure, weather)] == [
        "Rank lists alone",
        "Certified",
        "Corruptions",
    ]
    assert plainly(boxed) == [
        "The attacker sees the first 7 items of each list and nothing else.",
        "rays at 5/255: rank-1 75.0 % of clean images, 25.0 % after 100 images asked about a "
        "search.",
    ]
    assert plainly(sure) == [
        "Smoothed by noise of deviation 0.1, the model has 70.0 % mAP and 84.0 % rank-1; with "
        "probability 0.999 the following holds for 1,234 queries.",
        "No change of a query of length 0 (L2, pixel range) leaves less than 60.0 % mAP and "
        "72.0 % rank-1.",
        "No change of a query of length 0.25 (L2, pixel range) leaves less than 20.0 % mAP and "
        "24.0 % rank-1.",
    ]
    # Of seven levels 3.3 / 7; snow was measured once.
    assert plainly(weather) == [
        "Of 80.0 % mAP, 47.1 % are left in the mean over 4 corruptions of the gallery images. "
        "Least is left under fog (20.0 %), rain (50.0 %) and snow (50.0 %)."
    ]
    assert len({one.picture.name for one in (boxed, sure, weather)}) == 3
    assert "zoom_blur 70.0\u00a0%" in weather.picture.alt


def test_attackers_who_know_what_stands_behind(tmp_path):
    run = folder(tmp_path / "adaptive", "jaxreid adaptive <m>")
    reranked = [Left(scores(0.5), reranked=scores(share)) for share in (0.8, 0.4, 0.3)]
    alarms = ((0.05, 0.0), (0.9, 0.1), (0.0, 0.7))
    seen = [Left(scores(0.5), alarms=Alarms(*each, 0.2)) for each in alarms]
    AdaptiveAttacks(
        (
            AdaptiveAttack(AdaptiveClimb(Reranked()), 20, None, *reranked),
            AdaptiveAttack(AdaptiveClimb(Detected("median"), eps=2.0), 20, 0.1, *seen),
        )
    ).save(run.path)
    (found,) = measured_beyond([run.path])
    assert found.picture is None
    assert plainly(found) == [
        "After re-ranking clean queries have 80.0 % mAP and 96.0 % rank-1. Attacked in 5/255 by "
        "who does not know of it, they have 40.0 % mAP and 48.0 % rank-1; by who does, 30.0 % mAP "
        "and 36.0 % rank-1.",
        "A detector by median raises an alarm at 5.0 % of clean queries. Attacked in 2/255 by who "
        "does not know of it, 90.0 % raise one and 10.0 % are lost without; by who does, 0.0 % and "
        "70.0 %.",
    ]
    assert is_beyond(run.path)
    (run.path / "adaptive.json").write_text("{}")
    with pytest.raises(InputError, match=r"adaptive\.json"):
        measured_beyond([run.path])


@pytest.mark.usefixtures("undrawn")
def test_they_stand_on_the_page(make_run, black_box, certified, corrupted):
    run = make_run(title="Plain", attacks=("fna",))
    made = write_report([black_box, run.path, certified, corrupted])
    assert made == run.path / "report" / "report.html"
    page = checked(made)
    assert "Beyond the white box" in titles(page)
    for part in ("The attacker sees the first 7 items", "1,234 queries", f"Corruptions: {NASTY}"):
        assert part in page.text
    for command in ("jaxreid blackbox <m>", "jaxreid certify <m>", "jaxreid corruptions <m>"):
        assert page.text.count(command) == 1
    names = {path.stem for path in (made.parent / "figures").iterdir()}
    assert {"blackbox-1", "certificate-3", "corruptions-4"} <= names


@pytest.mark.usefixtures("undrawn")
def test_a_page_without_them_does_not_speak_of_them(make_run):
    assert "Beyond" not in checked(write_report([make_run().path])).text


def test_a_report_needs_an_evaluation(black_box, make_run):
    assert is_beyond(black_box)
    assert not is_beyond(make_run().path)
    with pytest.raises(InputError, match=r"blackbox has no results of `jaxreid evaluate`"):
        write_report([black_box])


@pytest.mark.parametrize("name", ["blackbox.json", "certificate.json", "corruptions.json"])
def test_a_damaged_one_is_named(make_run, tmp_path, name):
    run = folder(tmp_path / "other", "c")
    (run.path / name).write_text('{"schema": 1}')
    with pytest.raises(InputError, match=name):
        write_report([make_run().path, run.path])


@pytest.mark.usefixtures("undrawn")
def test_one_that_lies_in_the_folder_of_an_evaluation(make_run, corrupted):
    run = make_run()
    (corrupted / "corruptions.json").rename(run.path / "corruptions.json")
    assert "Corruptions: " in checked(write_report([run.path])).text
