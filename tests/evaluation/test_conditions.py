"""What to run: names, budgets and seeds become conditions, each in its one form."""

import dataclasses

import pytest

from jaxreid.attacks import ATTACKS
from jaxreid.errors import InputError
from jaxreid.evaluation import attack_names, canonical, conditions
from jaxreid.evaluation.conditions import strongest
from jaxreid.records import Condition


def test_names_and_groups():
    assert attack_names(["sma", "fna", "sma"]) == ("sma", "fna")
    assert set(attack_names(["all"])) == set(ATTACKS)
    assert set(attack_names(["paper"])) == set(ATTACKS) - {"noise"}


@pytest.mark.parametrize(
    ("word", "message"),
    [("fnaa", "did you mean 'fna'"), ("FNA", "did you mean 'fna'"), ("xyz", "there are noise")],
)
def test_an_unknown_attack_and_its_nearest(word, message):
    with pytest.raises(InputError, match=message):
        attack_names([word])


def test_no_attack():
    with pytest.raises(InputError, match="no attack"):
        attack_names([])


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
        ({"eps": float("nan")}, "eps must be"),
        ({"eps": float("inf"), "norm": "l2"}, "eps must be finite"),
        ({"norm": "l1"}, "norm"),
        ({"steps": 0}, "steps"),
        ({"step_size": -1.0}, "step_size"),
        ({"restarts": 0}, "restarts"),
        ({"seed": -1}, "seeds"),
        ({"side": "train"}, "side"),
        ({"guides": "train"}, "guides"),
        ({"distance": "l2"}, "distance"),
    ],
)
def test_numbers_out_of_range(fields, message):
    with pytest.raises(InputError, match=message):
        canonical(dataclasses.replace(Condition(attack="fna", eps=5), **fields))


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
