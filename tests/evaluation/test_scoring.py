"""Queries with nothing to find: counted, refused, or found without looking at cameras."""

import numpy as np
import people
import pytest

from jaxreid.data.source import InMemorySplit
from jaxreid.errors import InputError
from jaxreid.evaluation import (
    LoaderSettings,
    RetrievalTest,
    conditions,
    open_run,
    provenance_of,
    robustness,
    with_match,
)
from jaxreid.evaluation.scoring import camera_labels
from jaxreid.records import Condition, Examples, PerQuery

LOADER = LoaderSettings(people.SIZE, batch_size=4)


def of_cameras(split, cameras, identities=None):
    images = [split[i]["image"] for i in range(len(split))]
    cameras = np.broadcast_to(cameras, len(split))
    identities = split.identities if identities is None else identities
    return InMemorySplit(images, identities, cameras, file_names=split.file_names)


def run(query, gallery, wanted=None, **options):
    wanted = wanted or [Condition()]
    sweep = {name: options.pop(name) for name in ("examples", "run") if name in options}
    test = RetrievalTest(people.embed, query, gallery, loader=LOADER, **options)
    return robustness(test, wanted, **sweep)


def test_queries_without_a_match_are_counted():
    query, gallery = people.query(), people.gallery()
    # The distractor and the junk.
    expected = 7 * [True] + 2 * [False]
    assert with_match(query, gallery).tolist() == expected
    assert RetrievalTest(None, query, gallery, loader=LOADER, limit=3).matched.tolist() == expected
    # Person 4 has the camera 0 and matches from 2 and 3; from camera 2 one of them is left.
    assert with_match(of_cameras(query, 2), gallery).tolist() == expected
    assert not with_match(of_cameras(query, 0), of_cameras(gallery, 0)).any()
    assert not with_match(InMemorySplit([], [], []), gallery).any()


def test_one_camera_is_refused_and_the_way_out_is_named(kind):
    query, gallery = (of_cameras(split, 0) for split in (people.query(), people.gallery()))
    with pytest.raises(InputError, match=r"another camera took.*--cameras ignore") as refused:
        run(query, gallery)
    kind("evaluate, all images from one camera", f"exit 2: {refused.value}")


def test_people_in_common_and_a_limit_that_is_too_low():
    query, gallery = people.query(), people.gallery()
    strangers = of_cameras(gallery, 5, np.full(len(gallery), 77))
    for cameras in ("differ", "ignore"):
        with pytest.raises(InputError, match="no person in common"):
            run(query, strangers, cameras=cameras)
    first_alone = of_cameras(query, np.array([0] + 8 * [1]))
    from_zero = of_cameras(gallery, np.where(gallery.identities == 1, 0, 3))
    with pytest.raises(InputError, match=r"none of the 1 queries .* 6 of all 9 have: take more"):
        run(first_alone, from_zero, limit=1)
    with pytest.raises(
        InputError, match="cameras must be one of \\['differ', 'ignore'\\], got 'none'"
    ):
        run(query, gallery, cameras="none")


def test_without_cameras_everybody_elses_image_is_a_match(tmp_path):
    query, gallery = people.query(), people.gallery()
    wanted = conditions(["ifgsm_multi"], [5], steps=3)
    # Every camera of the gallery differs from those of the queries: the rule leaves out nothing.
    expected = run(query, gallery, wanted)
    blind = [of_cameras(split, 0) for split in (query, gallery)]
    provenance = provenance_of(title="t", command="c", model={}, dataset={}, settings={})
    folder = open_run(tmp_path / "run", provenance)
    found = run(*blind, wanted, cameras="ignore", run=folder, examples=2)
    assert [one.scores for one in found] == [one.scores for one in expected]
    # What stood for cameras in the ranking is not written.
    arrays = PerQuery.load(folder.arrays_of(found[1].condition))
    assert set(arrays.cameras.tolist()) == {0}
    assert set(Examples.load(folder.examples_of(found[1].condition)).cameras.tolist()) == {0}


def test_the_querys_own_file_is_no_match():
    # Everybody once more, as the gallery: each query finds itself first, which says nothing.
    query = of_cameras(people.query(), 0)
    test = RetrievalTest(people.embed, query, query, loader=LOADER, cameras="ignore")
    found = test.clean_score("euclidean").per_query
    # Persons 1, 2 and 3 are there twice, person 4 once.
    assert found.valid.tolist() == 6 * [True] + 3 * [False]
    other = RetrievalTest(
        people.embed, query, of_cameras(query, 1), loader=LOADER, cameras="differ"
    ).clean_score("euclidean")
    assert (other.per_query.first_match_rank[:7] == 1).all()
    # By hand: the own image out of the way, the other one of the person among the rest.
    features = np.asarray(test.clean("euclidean").query.features, np.float64)
    for i in range(6):
        partner = i + 1 if i % 2 == 0 else i - 1
        distances = np.linalg.norm(features - features[i], axis=1)
        others = [j for j in range(9) if j != i and query.identities[j] != -1]
        rank = 1 + sum(distances[j] < distances[partner] for j in others)
        assert found.first_match_rank[i] == rank


def test_files_are_told_by_their_content():
    query, gallery = people.query(), people.gallery()
    images = [gallery[i]["image"] for i in range(len(gallery))]
    images[3] = query[0]["image"]
    copied = InMemorySplit(images, gallery.identities, gallery.cameras)
    ours, theirs = camera_labels(query, copied, "ignore")
    same = ours[:, None] == theirs
    assert np.argwhere(same).tolist() == [[0, 3]]
    with pytest.raises(InputError, match="cameras"):
        camera_labels(query, copied, "maybe")
