"""What to run: names, budgets and seeds become conditions, each in its one form."""

import dataclasses
import math

import jax
import numpy as np
import pytest

from jaxreid.attacks import ATTACKS, AttackSpec
from jaxreid.errors import InputError
from jaxreid.evaluation import attack_names, canonical, conditions
from jaxreid.evaluation.examples import strongest
from jaxreid.evaluation.guidance import START, key_of
from jaxreid.records import Condition, Result, Score


def test_names_and_groups():
    assert attack_names(["sma", "fna", "sma"]) == ("sma", "fna")
    assert set(attack_names(["all"])) == set(ATTACKS)
    assert set(attack_names(["paper"])) == set(ATTACKS) - {"noise", "nna"}


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("fnaa", "did you mean 'fna'"),
        ("FNA", "did you mean 'fna'"),
        ("sma_x", "did you mean 'sma'"),
        ("xyz", "there are noise"),
        # Pulling only is FNA without push: what looks nearest is the opposite.
        (
            "FNA_pull",
            r"one of fna \(Fur.*\), fna_without_push \(FNA without push\), fna_without_pull",
        ),
        ("fna-push", "one of fna .* fna_random_pull"),
        (3, "must be text"),
    ],
)
def test_an_unknown_attack_and_its_nearest(word, message):
    with pytest.raises(InputError, match=message):
        attack_names([word])


def test_no_attack():
    with pytest.raises(InputError, match="no attack"):
        attack_names([])


def test_clean_images_alone_or_beside_attacks():
    assert conditions(["clean"], [5]) == [Condition()]
    assert conditions(["clean", "sma"], [5]) == conditions(["sma"], [5])
    with pytest.raises(InputError, match="no attack"):
        conditions([], [5])


def test_seeds_only_where_something_is_random():
    found = conditions(["all"], [1, 5], seeds=[3, 4])
    assert found[0] == Condition()
    seeds = {name: {c.seed for c in found if c.attack == name} for name in ATTACKS}
    random = {"noise", "sma", "fgsm", "ifgsm", "mifgsm", "fna_random_pull"}
    assert {name for name, drawn in seeds.items() if drawn == {3, 4}} == random
    assert {name for name, drawn in seeds.items() if drawn == {0}} == set(ATTACKS) - random
    again = conditions(["fna"], [5], seeds=[3, 4], restarts=2)
    assert [c.seed for c in again[1:]] == [3, 4]


def test_fields_that_an_attack_ignores_say_what_is_true():
    fgsm, noise = conditions(["fgsm", "noise"], [5], steps=9, restarts=4)[1:]
    assert (fgsm.steps, fgsm.step_size, fgsm.restarts) == (1, 5, 1)
    assert (noise.steps, noise.step_size, noise.restarts) == (0, 0, 1)
    assert canonical(Condition(seed=7, steps=3, side="gallery")) == Condition()


def test_defaults_of_steps_and_guides():
    (_, linf), (_, l2) = (conditions(["odfa"], [4], norm=norm, steps=10) for norm in ("linf", "l2"))
    assert linf.step_size == 1
    assert l2.step_size == pytest.approx(1)
    assert conditions(["fna"], [5], side="gallery")[1].guides == "gallery"
    assert conditions(["fna"], [5], side="gallery", guides="query")[1].guides == "query"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"eps": 256}, "eps must be from 0 to 255"),
        ({"eps": -1}, "eps must be"),
        ({"eps": 8 / 255}, "eps is in 1/255 of the pixel range: for 8/255 it is 8, got 0.0313725"),
        ({"step_size": 1 / 255}, "step_size is in 1/255 of the pixel range: for 1/255 it is 1"),
        ({"eps": float("nan")}, "eps must be"),
        ({"eps": float("inf"), "norm": "l2"}, "eps must be finite"),
        ({"norm": "l1"}, "norm"),
        ({"steps": 0}, "steps"),
        ({"step_size": -1.0}, "step_size"),
        ({"restarts": 0}, "restarts"),
        ({"seed": -1}, "seed"),
        ({"attack": "paper"}, "names several attacks"),
        ({"attack": 3}, "must be text"),
        ({"eps": 10**400}, "eps must be"),
        ({"eps": "5"}, "eps must be"),
        ({"eps": True}, "eps must be"),
        ({"step_size": float("nan")}, "step_size must be"),
        ({"step_size": float("nan"), "attack": "noise"}, "step_size must be"),
        ({"step_size": None}, "step_size must be"),
        ({"steps": 10**30}, "steps must be 1 to 1000000, got 1000000"),
        ({"steps": 1.5}, "steps must be an integer"),
        ({"restarts": 10**30}, "restarts must be 1 to 10000"),
        ({"restarts": 10**4000}, r"got 10000.*\.\.\.$"),
        ({"restarts": -1, "attack": "noise"}, "restarts must be at least 1"),
        ({"seed": 2**32}, "seed must be 0 to 4294967295"),
        ({"seed": "1"}, "seed must be an integer"),
        ({"eight_bit": "yes"}, "eight_bit must be True or False"),
        ({"as_paper": 1}, "as_paper must be True or False"),
        ({"side": "train"}, "side"),
        ({"guides": "train"}, "guides"),
        ({"distance": "l2"}, "distance"),
    ],
)
def test_numbers_out_of_range(fields, message):
    with pytest.raises(InputError, match=message):
        canonical(dataclasses.replace(Condition(attack="fna", eps=5), **fields))


def test_what_is_of_numpy_is_written_as_any_other():
    found = canonical(
        Condition(
            attack="sma",
            eps=np.float32(2.5),
            steps=np.int64(3),
            step_size=-0.0,
            restarts=np.int32(2),
            seed=np.uint32(7),
        )
    )
    score = Score(0, 0, 0, 0, 0)
    assert Result.from_json(Result(found, {"market1501": score}).to_json()).condition == found
    assert math.copysign(1, found.step_size) == 1


@pytest.mark.parametrize("seed", [2**31 - 1, 2**31, 2**32 - 1])
def test_the_largest_seeds_are_seeds_of_their_own(seed):
    draw, other = (jax.random.key_data(key_of(s, START)).tolist() for s in (seed, seed - 1))
    assert draw != other


def test_budgets_may_say_their_unit():
    found = conditions(["fna"], ["5/255", 5, "2.5"], step_size="1/255")
    assert [(c.eps, c.step_size) for c in found[1:]] == [(5, 1), (2.5, 1)]
    assert conditions(["fna"], ["0.5/255"], step_size="0.25/255")[1].eps == 0.5
    assert conditions(["fna"], [0.5, "1/2"], norm="l2")[1].eps == 0.5
    for wrong in ({"eps": [5 / 255]}, {"eps": [5], "step_size": 1 / 255}):
        with pytest.raises(InputError, match="less than one grey level"):
            conditions(["noise"], **wrong)


@pytest.mark.parametrize(
    "wrong",
    # "15" would be budgets of 1 and 5.
    [
        *({"eps": eps} for eps in ("15", 5 / 255, None, np.float32(5), np.array(5))),
        *({"attacks": attacks} for attacks in ("fna", None, 3)),
        *({"seeds": seeds} for seeds in (3, "01")),
    ],
    ids=str,
)
def test_lists_are_lists(wrong, kind):
    name = next(iter(wrong))
    with pytest.raises(InputError, match=f"^{name} must be a list") as refused:
        conditions(**{"attacks": ["fna"], "eps": [5], **wrong})
    assert "\n" not in str(refused.value)
    kind(f"evaluation.conditions({name}={wrong[name]!r})", str(refused.value))


@pytest.mark.parametrize("kind_of", [tuple, np.array, iter, dict.fromkeys])
def test_whatever_holds_budgets_is_a_list_of_them(kind_of):
    items = kind_of([1, 5])
    assert [c.eps for c in conditions(["fna"], items)[1:]] == [1, 5]


@pytest.mark.parametrize("wrong", [{"restarts": 0}, {"norm": "l1"}, {"side": "x"}, {"steps": 0}])
def test_settings_are_checked_whatever_the_attacks(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        conditions(["noise"], [], **wrong)


def test_seeds_that_cost_little():
    found = conditions(["noise", "fgsm", "sma", "fna"], [0, 1, 5], seeds=None)
    seeds = {}
    for condition in found[1:]:
        seeds.setdefault((condition.attack, condition.eps), []).append(condition.seed)
    several = [0, 1, 2]
    assert seeds == {
        **{(name, eps): several for name in ("noise", "fgsm") for eps in (1, 5)},
        **{(name, 0): [0] for name in ("noise", "fgsm", "sma", "fna")},
        ("sma", 1): [0],
        ("sma", 5): several,
        ("fna", 1): [0],
        ("fna", 5): [0],
    }


def test_as_the_paper_where_its_code_does_otherwise():
    def changed(**fields):
        found = conditions(["all"], [5], as_paper=True, **fields)
        return {condition.attack for condition in found if condition.as_paper}

    multiple = {"fgsm_multi", "ifgsm_multi", "mifgsm_multi"}
    pushed = {*multiple, "fna", "fna_without_pull", "fna_random_pull"}
    assert changed() == {*pushed, "odfa"}
    assert changed(distance="cosine") == {*pushed, "odfa", "fna_without_push"}
    # Guides of another set are never the image itself.
    assert changed(guides="gallery") == {"odfa"}
    assert changed(guides="gallery", distance="cosine") == {"odfa", "fna", "fna_without_push"}
    # ODFA by cosine starts where its gradient is zero, as there.
    for distance in ("euclidean", "cosine"):
        found = conditions(["odfa"], [5], seeds=[3], distance=distance, as_paper=True)
        assert found[1].seed == 0


def test_l2_budgets_have_no_upper_limit():
    assert canonical(Condition(attack="fna", eps=300, norm="l2")).eps == 300


def test_the_strongest_of_each_attack():
    found = conditions(["sma", "fgsm", "fna"], [0, 5, 2], seeds=[0, 1])
    found += conditions(["fna"], [1], side="gallery")
    best = {(c.attack, c.eps, c.side, c.seed) for c in strongest(found)}
    assert best == {
        ("sma", 5, "query", 0),
        ("fgsm", 5, "query", 0),
        ("fna", 5, "query", 0),
        ("fna", 1, "gallery", 0),
    }


def test_odfa_has_seeds_under_cosine_distance_where_it_starts_at_random():
    one = conditions(["odfa"], [5], seeds=(0, 1, 2))
    assert [c.seed for c in one] == [0, 0]
    some = conditions(["odfa"], [5], seeds=(0, 1, 2), distance="cosine")
    assert [c.seed for c in some] == [0, 0, 1, 2]


def test_one_step_is_a_step_whoever_guides_it(monkeypatch):
    once = AttackSpec("FGSM towards the furthest", pull="furthest", iterative=False)
    monkeypatch.setitem(ATTACKS, "fgsm_pull", once)
    condition = canonical(Condition("fgsm_pull", eps=5))
    assert (condition.steps, condition.step_size) == (1, 5.0)
    assert "fgsm_pull" in attack_names(["all"])


def test_an_ensemble_has_no_parameter_but_the_threat_model():
    given = {"steps": 7, "step_size": 3.0, "restarts": 9, "as_paper": True, "guides": "gallery"}
    one = canonical(Condition(attack="worst-1", eps=2, seed=4, **given))
    assert one == canonical(Condition(attack="worst", eps=2.0, seed=4))
    assert (one.steps, one.step_size, one.restarts, one.guides) == (0, 0.0, 1, "query")
    assert (one.seed, one.eps, one.knowledge) == (4, 2.0, "gallery")
    keys = {
        dataclasses.replace(one, **other).key
        for other in (
            {},
            {"knowledge": "self"},
            {"knowledge": "guides"},
            {"side": "gallery"},
            {"attacked_gallery": True},
            {"attack": "worst-1-quick"},
        )
    }
    assert len(keys) == 6
    # What only ensembles have is nothing to a single attack.
    single = canonical(Condition(attack="fna", eps=2, knowledge="self", attacked_gallery=True))
    assert single == canonical(Condition(attack="fna", eps=2))
    for field, wrong in (("knowledge", "all"), ("attacked_gallery", 1), ("eps", -1)):
        with pytest.raises(InputError, match=field):
            canonical(dataclasses.replace(one, **{field: wrong}))
    with pytest.raises(InputError, match="attacked_gallery is of queries"):
        canonical(dataclasses.replace(one, side="gallery", attacked_gallery=True))


def test_ensembles_beside_single_attacks():
    found = conditions(["fna", "worst"], [2, 5], knowledge=["gallery", "self"], seeds=None)
    assert [(c.attack, c.eps, c.knowledge) for c in found[3:]] == [
        ("worst-1", eps, knowledge) for eps in (2, 5) for knowledge in ("gallery", "self")
    ]
    assert [c.attack for c in found[:3]] == ["clean", "fna", "fna"]
    both = conditions(["worst-quick"], [2], side="both")[1:]
    # The gallery first: the second one is of what is left of it.
    assert [(c.side, c.attacked_gallery) for c in both] == [("gallery", False), ("query", True)]
    with pytest.raises(InputError, match="fna attacks one side"):
        conditions(["fna"], [2], side="both")
