"""To be found as another person: who that is, and what it takes."""

import numpy as np
import people
import pytest

from jaxreid.errors import InputError
from jaxreid.evaluation import LoaderSettings, RetrievalTest, canonical, conditions, robustness
from jaxreid.evaluation.impersonation import impersonated, sought_people
from jaxreid.ranking import impersonation_ranks
from jaxreid.records import Condition

AIM = {"steps": 4, "step_size": 3, "goal": "impersonate"}


def opened(query=None, **options):
    options = {"loader": LoaderSettings(people.SIZE, batch_size=4), **options}
    return RetrievalTest(people.embed, query or people.query(), people.gallery(), **options)


def aim(**fields):
    return canonical(Condition("fna", 8.0, goal="impersonate", **fields))


@pytest.mark.slow
def test_a_random_person_is_another_one_that_both_sets_show():
    test, identities = opened(), people.query().identities
    drawn = np.stack([sought_people(test, aim(seed=seed)) for seed in range(20)])
    real = identities > 0
    assert not drawn[:, ~real].any()
    # Person 5 is in the gallery alone, which an attacker with guides from the queries cannot know.
    assert set(np.unique(drawn[:, real])) == {1, 2, 3, 4}
    assert not (drawn == identities)[:, real].any()
    knowing = np.stack([sought_people(test, aim(seed=s, guides="gallery")) for s in range(20)])
    assert set(np.unique(knowing[:, real])) == {1, 2, 3, 4, 5}


def test_who_is_drawn_depends_on_seed_and_position_alone():
    few = opened(limit=3)
    whole, some = (sought_people(test, aim(seed=1)) for test in (opened(), few))
    np.testing.assert_array_equal(whole[few.ranked], some)
    np.testing.assert_array_equal(sought_people(opened(), aim(seed=1), np.array([4])), whole[4:5])
    assert (sought_people(opened(), aim(seed=2)) != whole).any()


def test_a_named_person_is_everybody_elses_aim():
    aims = sought_people(opened(), aim(target="3"))
    assert aims.tolist() == [3, 3, 3, 3, 0, 0, 3, 0, 0]
    (clean, found) = robustness(opened(), conditions(["fna"], [8], target="3", **AIM))
    assert clean.impersonation is None
    assert (found.attacked, found.impersonation.images) == (5, 5)


def test_an_attack_is_found_as_whom_it_aims_at():
    names = ["fna", "fna_without_push"]
    _, both, alone = robustness(opened(), conditions(names, [30], seeds=[0], **AIM), examples=2)
    for result in (both, alone):
        found = result.impersonation
        assert found.images == result.attacked == 7
        assert found.first > found.first_before + 0.3
        assert found.median_rank < found.median_rank_before
        assert found.first <= found.first5 <= found.first10
    assert both.impersonation.first_before == alone.impersonation.first_before


def test_ranks_before_and_after():
    test, condition = opened(), aim(seed=3)
    sought = sought_people(test, condition)
    query, gallery = test.sets(condition)
    # Each query becomes an image of whom it aims at: it is found as that person, first.
    place = [int(np.argmax(gallery.identities == max(one, 1))) for one in sought]
    after = query._replace(features=np.asarray(gallery.features)[place])
    found = impersonated(
        test.sets(condition), (after, gallery), sought, distance=condition.distance
    )
    assert (found.first, found.first5, found.first10, found.median_rank) == (1, 1, 1, 1)
    before = impersonation_ranks(query, gallery, sought).ranks[sought > 0, 0]
    assert found.images == 7
    assert found.first_before == np.mean(before == 1)
    assert found.median_rank_before == np.median(before)


def test_a_budget_of_zero_changes_nobody():
    _, found = robustness(opened(), conditions(["fna"], [0], **AIM))
    result = found.impersonation
    assert result.first == result.first_before
    assert result.median_rank == result.median_rank_before


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"attack": "sma"}, "sma aims at nobody: to impersonate, use fna, fna_without_push or"),
        ({"attack": "fna_random_pull"}, "aims at nobody"),
        ({"side": "gallery"}, "of queries alone"),
        ({"target": "Alice"}, "random or an identity above 0"),
        ({"target": "0"}, "random or an identity above 0"),
        ({"goal": "evade", "target": "3"}, "needs goal=impersonate"),
        ({"goal": "vanish"}, "goal must be"),
    ],
)
def test_aims_that_nobody_can_have(fields, message):
    fields = {"attack": "fna", "eps": 5.0, "goal": "impersonate", **fields}
    with pytest.raises(InputError, match=message):
        canonical(Condition(**fields))


def test_a_target_has_one_form():
    assert aim(target="").target == "random"
    assert aim(target=" 03 ") == aim(target="3")
    assert (aim(target="3", seed=5).seed, aim(seed=5).seed) == (0, 5)
    assert aim(target="3").key != aim(target="4").key != aim().key


def test_people_that_are_not_there():
    with pytest.raises(InputError, match=r"target 77 is nobody .* in the query split"):
        sought_people(opened(), aim(target="77"))
    alone = people.split(3, [1, 1], [0, 1])
    with pytest.raises(InputError, match="anybody to impersonate"):
        sought_people(opened(alone), aim())
