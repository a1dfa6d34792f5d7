"""The ensemble whose queries want to be found as somebody else."""

import numpy as np
import people
import pytest

from jaxreid.errors import InputError
from jaxreid.evaluation import (
    LoaderSettings,
    RetrievalTest,
    Verifier,
    canonical,
    conditions,
    robustness,
    worst_case,
)
from jaxreid.evaluation.impersonation import sought_people
from jaxreid.evaluation.worst import MemberSpec, Stage, members
from jaxreid.ranking import impersonation_ranks, summarize
from jaxreid.records import Condition

POSING = (
    MemberSpec("noise draws", "noise", metric="all", draws=2),
    MemberSpec("fna_without_push", "published", metric="all"),
    MemberSpec("margin", metric="rank", stages=(Stage("margin", 6),), start="best"),
    MemberSpec("search", "search", metric="rank", draws=2, start="best"),
)
EPS = 5


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """An ensemble of few steps."""
    monkeypatch.setattr(members, "_POSING_QUICK", POSING)


def opened(**options):
    loader = LoaderSettings(people.SIZE, batch_size=4)
    return RetrievalTest(people.embed, people.query(), people.gallery(), loader=loader, **options)


def aim(**fields):
    return canonical(Condition("worst-1-quick", EPS, goal="impersonate", **fields))


@pytest.mark.slow
def test_never_less_than_the_attack_within():
    aims = {"goal": "impersonate", "guides": "gallery", "seeds": [0]}
    wanted = conditions(["fna_without_push", "worst-quick"], [EPS], **aims)
    test = opened()
    clean, single, whole = robustness(test, wanted, examples=2, verifier=Verifier())
    # All of them aim at the same people.
    assert whole.impersonation.images == single.impersonation.images == 7
    assert whole.impersonation.first_before == single.impersonation.first_before
    assert whole.impersonation.first >= single.impersonation.first
    assert whole.impersonation.first > whole.impersonation.first_before
    noise, published, margin, last = whole.worst.members
    assert noise.images == published.images == 7
    assert published.rank1 >= single.impersonation.first
    assert last.rank1 == pytest.approx(whole.impersonation.first)
    # Later ones ran on those that did not come first by then.
    assert margin.images == round(7 * (1 - published.rank1))
    assert last.images == round(7 * (1 - margin.rank1))
    assert whole.worst.survivors == round(7 * (1 - last.rank1))
    assert whole.largest_change <= EPS + 1e-4
    assert whole.verification.different == single.verification.different
    assert clean.verification.different > whole.verification.different


def test_what_is_kept_is_ranked_by_definition():
    test, condition = opened(), aim(seed=1)
    found = worst_case(test, condition)
    sought = found.targets.sought
    np.testing.assert_array_equal(sought, sought_people(test, condition, found.targets.indices))
    embedded = [np.asarray(people.embed(picture[None]))[0] for picture in found.pictures().values()]
    changed = found.changed[found.kind]
    np.testing.assert_allclose(found.features[1][changed], embedded, atol=1e-5)
    query = test.clean("euclidean").query
    rows = found.targets.indices
    attacked = query._replace(
        features=found.features[1],
        identities=np.asarray(query.identities)[rows],
        cameras=np.asarray(query.cameras)[rows],
    )
    gallery = test.clean("euclidean").gallery
    ranks = impersonation_ranks(attacked, gallery, sought)
    assert found.worst.members[-1].rank1 == np.mean(ranks.ranks[:, 0] == 1)
    assert found.worst.survivors == (ranks.ranks[:, 0] > 1).sum()
    # The scores are of who is in the image, found by the very images that are kept.
    score = found.scored.scores["torchreid"]
    again = test.score(*found.sets, "euclidean", ties="pessimistic").scores["torchreid"]
    assert score == again == found.worst.one_image["torchreid"]
    assert summarize(ranks, protocol="torchreid").rank(1) == found.worst.members[-1].rank1


@pytest.mark.slow
def test_knowing_guides_alone():
    test = opened()
    found = worst_case(test, aim(knowledge="guides"))
    # Person 5 is in the gallery alone.
    assert 5 not in found.targets.sought
    assert found.targets.among_guides
    assert 0 <= found.worst.members[-1].rank1 <= 1
    assert not (found.features[1] == found.targets.clean).all()


def test_to_know_nobody_is_to_be_nobody():
    with pytest.raises(InputError, match="knowledge is guides or gallery"):
        aim(knowledge="self")
    with pytest.raises(InputError, match="of queries alone"):
        aim(attacked_gallery=True)
