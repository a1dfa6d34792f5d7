"""Thresholds from clean pairs of held-out people, and attacked pairs under them."""

import numpy as np
import people
import pytest

from jaxreid.errors import InputError
from jaxreid.evaluation import (
    LoaderSettings,
    RetrievalTest,
    Verifier,
    conditions,
    extract,
    open_run,
    provenance_of,
    robustness,
)
from jaxreid.evaluation.impersonation import sought_people
from jaxreid.evaluation.verification import OWN_PAIRS
from jaxreid.records import RunFolder, VerificationCurve

FAST = {"steps": 6, "step_size": 4}
PROVENANCE = provenance_of(title="t", command="c", model={}, dataset={}, settings={})


def opened(query=None, gallery=None):
    return RetrievalTest(
        people.embed,
        query or people.query(),
        gallery or people.gallery(),
        loader=LoaderSettings(people.SIZE, batch_size=4),
    )


def held_out():
    """Thirty images of ten other people, by three cameras: 270 pairs of two people."""
    split = people.split(5, np.repeat(np.arange(11, 21), 3), np.tile([0, 1, 2], 10))
    return opened(split, split)


def distances(query, gallery, sought=None):
    """Distances of same and of different pairs, one by one."""
    same, different = [], []
    for row, (q, who, where) in enumerate(zip(*query, strict=True)):
        for g, person, camera in zip(*gallery, strict=True):
            apart = np.linalg.norm(np.asarray(q, np.float64) - g)
            if who > 0 and person == who and camera != where:
                same.append(apart)
            aimed = sought is None or person == sought[row] > 0
            if who > 0 and person not in (-1, who) and aimed:
                different.append(apart)
    return np.array(same), np.array(different)


def embedded(*splits):
    return [extract(people.embed, split, size=people.SIZE) for split in splits]


def test_held_out_people_choose_the_thresholds():
    split = people.split(5, np.repeat(np.arange(11, 21), 3), np.tile([0, 1, 2], 10))
    _, theirs = distances(*embedded(split, split))
    assert len(theirs) == 10 * 3 * 27
    verifier = Verifier(held_out(), chosen_on="validation")
    (clean,) = robustness(opened(), conditions(["fna"], [])[:1], verifier=verifier)
    found = clean.verification
    # 810 pairs are enough for a hundredth and no less: the ninth nearest of them.
    assert list(found.thresholds) == ["0.01"]
    assert found.thresholds["0.01"] == pytest.approx(np.sort(theirs)[8])
    assert found.chosen_on == "validation"
    same, different = distances(*embedded(people.query(), people.gallery()))
    assert (found.same, found.different) == (len(same), len(different))
    limit = found.thresholds["0.01"]
    assert found.accepted_by == {"0.01": pytest.approx(np.mean(same < limit))}
    assert found.passed_by == {"0.01": pytest.approx(np.mean(different < limit))}
    # 68 pairs tell no rate of a hundredth.
    assert found.different < 100
    assert found.accepted == {}


def test_an_attack_in_both_directions(tmp_path):
    verifier = Verifier(held_out(), chosen_on="validation")
    wanted = conditions(["fna"], [40], **FAST)
    aim = {"goal": "impersonate", "guides": "gallery", **FAST}
    wanted += conditions(["fna_without_push"], [40], **aim)[1:]
    folder, test = open_run(tmp_path / "run", PROVENANCE), opened()
    results = robustness(test, wanted, run=folder, verifier=verifier, examples=0)
    clean, evading, posing = (result.verification for result in results)
    assert evading.thresholds == posing.thresholds == clean.thresholds
    assert (evading.same, evading.different) == (clean.same, clean.different)
    assert evading.accepted_by["0.01"] < clean.accepted_by["0.01"]
    assert evading.equal_error > clean.equal_error
    # False match: attacked queries with the images of whom they pose as.
    sought = sought_people(test, wanted[2])
    same, different = distances(*test.sets(wanted[0]), sought)
    assert (posing.same, posing.different) == (len(same), len(different))
    assert posing.passed_by["0.01"] > np.mean(different < posing.thresholds["0.01"]) + 0.2
    for result in RunFolder.open(tmp_path / "run").results():
        curve = VerificationCurve.load(folder.verification_of(result.condition))
        at = np.searchsorted(curve.threshold, result.verification.thresholds["0.01"], "right") - 1
        shares = result.verification.passed_by["0.01"], result.verification.accepted_by["0.01"]
        assert curve.false_accept[at] <= shares[0] <= curve.false_accept[at + 1]
        assert curve.true_accept[at] <= shares[1] <= curve.true_accept[at + 1]


def test_a_result_without_a_verification_is_done_again(tmp_path):
    wanted, folder, done = conditions(["noise"], [5]), open_run(tmp_path / "run", PROVENANCE), []

    def again(verifier):
        done.clear()
        robustness(opened(), wanted, run=folder, verifier=verifier, on_result=done.append)
        return len(done)

    assert [again(None), again(None)] == [2, 0]
    own = Verifier()
    assert [again(own), again(own), again(None)] == [2, 0, 0]
    assert {result.verification.chosen_on for result in folder.results()} == {OWN_PAIRS}
    # Thresholds of other people are another verification.
    assert again(Verifier(held_out(), chosen_on="validation")) == 2
    # One that is evaluated without leaves no curve of an earlier one behind.
    assert folder.verification_of(wanted[1]).is_file()
    folder.arrays_of(wanted[1]).write_bytes(b"")
    assert again(None) == 1
    assert not folder.verification_of(wanted[1]).exists()


def test_people_who_choose_nothing():
    alone = people.split(3, [1, 1], [0, 1])
    verifier = Verifier(opened(alone, alone), chosen_on="validation")
    with pytest.raises(InputError, match=r"no threshold by validation: .* 0 of two people"):
        robustness(opened(), conditions(["fna"], [])[:1], verifier=verifier)
