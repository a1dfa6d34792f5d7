"""The paper's figures, and the variants of its own code against its guides and its images."""

import dataclasses
from pathlib import Path

import numpy as np
import people
import pytest

from jaxreid import attacks
from jaxreid.data.loader import decode_all
from jaxreid.evaluation import LoaderSettings, RetrievalTest, canonical, conditions, robustness
from jaxreid.evaluation.attack_split import attack_split
from jaxreid.evaluation.guidance import Targets, select_guides
from jaxreid.evaluation.paper import CURVES, MODELS, paper_map
from jaxreid.records import Condition
from jaxreid.types import Embedded

LOADER = LoaderSettings(people.SIZE, batch_size=4)


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_golden_guides(golden, distance):
    z = np.load(golden / "guides.npz")
    found, identities = z[f"features_{distance}"].astype(np.float32), z["identities"]
    everybody = np.arange(len(identities))
    guide_set = Embedded(found, identities, np.zeros_like(identities))
    targets = Targets(everybody, identities, found, guide_set, among_guides=True)
    condition = canonical(Condition("fna", 5.0, distance=distance, as_paper=True))
    guides = select_guides(targets, condition)
    assert guides.push_mask.all()
    ours = np.concatenate([found[guides.push], guides.means[guides.pull]], axis=1)
    np.testing.assert_allclose(ours, z[f"guides_{distance}"], rtol=0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("restarts", [1, 2])
def test_odfa_is_ifgsm_away_from_the_opposite_of_the_image(restarts):
    # tests/attacks/test_named.py holds that composition to the paper's own images.
    test = RetrievalTest(people.embed, people.query(), people.gallery(), loader=LOADER)
    ours = Condition("odfa", 5.0, steps=4, restarts=restarts)
    found = {}
    for condition in (ours, dataclasses.replace(ours, as_paper=True)):
        condition = canonical(condition)
        plan = test.plan(condition)
        batches = attack_split(plan)
        images = [np.asarray(batch.images)[batch.rows >= 0] for batch in batches]
        found[condition.as_paper] = np.concatenate(images)
    x = decode_all(people.query(), size=people.SIZE, filter="bilinear")[plan.targets.indices]
    x = np.float32(x) / 255
    opposite = -np.asarray(people.embed(x))

    def distance(images):
        return np.sum((np.asarray(people.embed(images)) - opposite) ** 2, axis=1)

    assert (distance(found[False]) < distance(x)).all()
    assert (distance(found[True]) > distance(x)).all()
    expected = np.asarray(
        attacks.ifgsm(people.embed, x, opposite, eps=5 / 255, step_size=1 / 255, steps=4)
    )
    if restarts == 1:
        assert (np.abs(found[True] - expected) < 1e-6).mean() > 0.999
    else:
        assert (distance(found[True]) >= distance(expected) - 1e-4).all()


def _test(features, identities):
    """Queries whose features are known: they are their own gallery."""
    found = np.asarray(features, np.float32)
    guide_set = Embedded(found, np.asarray(identities), np.zeros(len(found), int))
    return Targets(np.arange(len(found)), guide_set.identities, found, guide_set, True)


@pytest.mark.slow
def test_the_furthest_person_of_a_cosine_model_is_so_by_euclidean_distance():
    # From (1, 0): (-0.2, 0) points the other way, but (-0.1, 1.4) is further off.
    targets = _test([[1, 0], [-0.2, 0], [-0.1, 1.4]], [1, 2, 3])
    condition = Condition("fna_without_push", 5.0, distance="cosine")
    ours, theirs = (
        select_guides(targets, c).pull[0, 0]
        for c in (condition, dataclasses.replace(condition, as_paper=True))
    )
    assert (ours, theirs) == (1, 2)


def test_the_image_itself_fills_missing_places():
    targets = _test([[0.0], [1], [2], [3], [4]], [1, 1, 1, 2, 3])
    condition = canonical(Condition("ifgsm_multi", 5.0, as_paper=True))
    guides = select_guides(targets, condition)
    rows = [sorted(row) for row in guides.push.tolist()]
    assert rows == [[0, 1, 2], [0, 1, 2], [0, 1, 2], [3, 3, 3], [4, 4, 4]]
    assert guides.push_mask.all()


def test_both_stand_in_one_folder_and_differ():
    wanted = conditions(["odfa", "ifgsm_multi", "sma"], [8], steps=4, step_size=3)
    wanted += conditions(["odfa", "ifgsm_multi", "sma"], [8], steps=4, step_size=3, as_paper=True)
    test = RetrievalTest(people.embed, people.query(), people.gallery(), loader=LOADER)
    results = robustness(test, wanted)
    named = {(r.condition.attack, r.condition.as_paper): r for r in results}
    assert set(named) == {
        ("clean", False),
        ("odfa", False),
        ("odfa", True),
        ("ifgsm_multi", False),
        ("ifgsm_multi", True),
        ("sma", False),
    }
    precision = {
        who: result.scores["market1501"].mean_average_precision for who, result in named.items()
    }
    # Turning towards the opposite harms; turning away from it hardly does.
    assert precision["odfa", False] < precision["odfa", True]
    assert len({result.condition.key for result in results}) == 6
    assert named["ifgsm_multi", False].unguided == 1
    assert named["ifgsm_multi", True].unguided == 0


@pytest.mark.slow
def test_an_attacked_gallery_and_crossed_sides():
    test = RetrievalTest(people.embed, people.query(), people.gallery(), loader=LOADER)
    for side, guides in (("gallery", "gallery"), ("gallery", "query"), ("query", "gallery")):
        condition = canonical(Condition("fna", 5.0, side=side, guides=guides, as_paper=True))
        targets = test.targets(condition)
        found = select_guides(targets, condition)
        own = (found.push == targets.indices[:, None]) & found.push_mask
        assert condition.as_paper == (side == guides)
        if side == guides:
            assert own.any(axis=1).all()


def test_the_page_on_reproduction_has_the_same_figures():
    page = (Path(__file__).parents[2] / "docs" / "reproduction.md").read_text(encoding="utf-8")
    for model in MODELS:
        figures = " | ".join(f"{value:.2f}" for value in model.mean_average_precision.values())
        distance = {"euclidean": "Euclidean"}.get(model.distance, model.distance)
        assert f"| {model.title} | {distance} | {figures} |" in page


def test_the_figures_of_the_paper():
    assert paper_map("clean", 0, "cosine") == 77.53
    assert paper_map("fna", 5, "euclidean") == 0.53
    assert paper_map("fna", 1, "euclidean") == 39.8
    assert paper_map("fna_random_pull", 5, "euclidean") == 2.5
    for missing in (("fna", 1, "cosine"), ("fna", 6, "euclidean"), ("fna", 2.5, "euclidean")):
        assert paper_map(*missing) is None
    assert paper_map("odfa", 5, "euclidean") is None
    # The plots end where the table stands.
    for attack in ("ifgsm", "sma", "fna"):
        assert CURVES[attack][-1] == pytest.approx(
            MODELS[0].mean_average_precision[attack], abs=0.5
        )
