"""Rankings under common corruptions."""

import numpy as np
import people
import pytest

from jaxreid.data.corruptions import Corrupted
from jaxreid.errors import InputError
from jaxreid.evaluation import (
    LoaderSettings,
    RetrievalTest,
    open_run,
    provenance_of,
    under_corruptions,
)
from jaxreid.records import CorruptionRecord

KINDS = ["speckle_noise", "pixelate"]


def opened(folder, settings=()):
    return open_run(
        folder, provenance_of(title="t", command="c", model={}, dataset={}, settings=dict(settings))
    )


def retrieval(query=None, gallery=None, *, batch_size=4, **options):
    return RetrievalTest(
        people.embed,
        query or people.query(),
        gallery or people.gallery(),
        loader=LoaderSettings(people.SIZE, batch_size=batch_size),
        **options,
    )


@pytest.mark.parametrize("whose", ["query", "gallery", "both"])
def test_scores_are_those_of_the_corrupted_split(tmp_path, whose):
    def seen(source, side):
        changed = whose in (side, "both")
        return Corrupted(source, "speckle_noise", 4, size=people.SIZE) if changed else source

    found = under_corruptions(
        retrieval(limit=5),
        opened(tmp_path / "run"),
        names=["speckle_noise"],
        severities=[4],
        corrupted=whose,
    )
    direct = retrieval(seen(people.query(), "query"), seen(people.gallery(), "gallery"), limit=5)
    assert found.levels[0].scores == direct.clean_score("euclidean").scores
    assert found.clean == retrieval(limit=5).clean_score("euclidean").scores
    assert found.corrupted == whose


def test_batches_change_nothing_and_cosine_has_figures_of_its_own(tmp_path):
    asked = {"names": KINDS, "severities": (1, 5)}
    first = under_corruptions(retrieval(), opened(tmp_path / "a"), **asked)
    other = under_corruptions(retrieval(batch_size=9), opened(tmp_path / "b"), **asked)
    assert first.levels == other.levels
    assert len({level.scores["market1501"] for level in first.levels}) > 1
    cosine = under_corruptions(retrieval(), opened(tmp_path / "c"), distance="cosine", **asked)
    assert cosine.clean == retrieval().clean_score("cosine").scores


def test_it_goes_on_where_it_was_interrupted(tmp_path):
    def killed(level):
        raise KeyboardInterrupt

    asked = {"names": KINDS, "severities": [2, 3]}
    whole = under_corruptions(retrieval(), opened(tmp_path / "whole"), **asked)
    with pytest.raises(KeyboardInterrupt):
        under_corruptions(retrieval(), opened(tmp_path / "run"), on_level=killed, **asked)
    assert len(CorruptionRecord.load(tmp_path / "run" / "corruptions.json").levels) == 1
    said, seen = [], []
    test = retrieval(progress=lambda what, done, total: said.append((what, done, total)))
    again = under_corruptions(test, opened(tmp_path / "run"), on_level=seen.append, **asked)
    assert again.levels == whole.levels == tuple(seen)
    # Nine queries, of the three levels that were missing.
    assert [one[1:] for one in said if one[0] == "corrupted images"][-1] == (27, 27)
    # Of what is there already, some can be asked for.
    assert under_corruptions(
        retrieval(), opened(tmp_path / "run"), names=["pixelate"], severities=[3]
    ).levels == (whole.levels[3],)
    stored = CorruptionRecord.load(tmp_path / "run" / "corruptions.json")
    assert stored.levels == whole.levels


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"names": ["fogg"]}, "names must be one of"),
        ({"names": []}, "one at least"),
        ({"severities": [0]}, "severities must be of 1 to 5, got 0"),
        ({"severities": []}, "one at least"),
        ({"corrupted": "all"}, "corrupted must be one of"),
    ],
)
def test_what_cannot_be_asked(tmp_path, asked, message):
    with pytest.raises(InputError, match=message):
        under_corruptions(retrieval(), opened(tmp_path / "run"), **asked)


def test_features_that_fail_are_told(tmp_path):
    def embed(images):
        return people.embed(images) / (images.mean() < 2) * np.float32("nan")

    test = RetrievalTest(
        embed, people.query(), people.gallery(), loader=LoaderSettings(people.SIZE)
    )
    with pytest.raises(InputError, match="NaN"):
        under_corruptions(test, opened(tmp_path / "run"), names=["fog"])
    assert not (tmp_path / "run" / "corruptions.json").exists()
