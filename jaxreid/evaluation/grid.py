"""The conditions of a sweep, from names and budgets: checked, each in its canonical form."""

import dataclasses
import math
import numbers
from collections.abc import Sequence
from typing import Any, Literal, get_args

from jaxreid.attacks import ATTACKS, AttackSpec
from jaxreid.budgets import read_budget
from jaxreid.checks import check_choice, check_count, check_flag, refuse_fraction, shown
from jaxreid.constants import (
    ENSEMBLES,
    LARGEST_SEED,
    MOST_RESTARTS,
    MOST_STEPS,
    STEPS,
    Distance,
    Goal,
    Knowledge,
    Norm,
    Side,
)
from jaxreid.errors import InputError
from jaxreid.evaluation.boosts import is_drawn, refuse_transfer, transferred
from jaxreid.evaluation.impersonation import aimed
from jaxreid.evaluation.learned import canonical_learned
from jaxreid.evaluation.naming import attack_names, attacks_beside_clean, listed
from jaxreid.evaluation.paper import as_paper_matters, choices
from jaxreid.records import Condition

__all__ = ["affordable_seeds", "as_published", "canonical", "conditions"]

# Madry et al.: steps that could cross the ball 2.5 times reach its border from anywhere.
_L2_TRAVEL = 2.5
_SEEDS = 3
# What single attacks have no use for.
_OF_ENSEMBLES: dict[str, Any] = {"attacked_gallery": False, "knowledge": "gallery"}


def canonical(condition: Condition) -> Condition:
    """Checks a condition, and gives fields that its attack ignores the values that are true of it.

    An attack of one step takes a step of eps; noise takes none; neither has restarts. An attack
    without randomness has seed 0, and clean images have nothing but their distance.

    Args:
        condition: eps and step_size in 1/255 for linf, as lengths in pixel range for l2.

    Returns:
        Equal for conditions that do the same.

    Raises:
        InputError: an unknown attack, or a number out of range.
    """
    check_choice("distance", condition.distance, get_args(Distance))
    if condition.attack == "clean":
        return Condition(distance=condition.distance)
    if condition.is_learned:
        return canonical_learned(condition)
    names = attack_names([condition.attack])
    if len(names) > 1:
        raise InputError(f"{condition.attack!r} names several attacks; a condition has one")
    condition = dataclasses.replace(condition, attack=names[0])
    if condition.is_ensemble:
        return _canonical_ensemble(condition)
    attack = choices(condition).attack
    _check_fields(condition, iterative=attack.iterative)
    condition = transferred(aimed(dataclasses.replace(condition, **_OF_ENSEMBLES)), attack)
    if not attack.iterative:
        one_step = attack.rule is not None
        condition = dataclasses.replace(
            condition,
            steps=int(one_step),
            step_size=condition.eps if one_step else 0.0,
            restarts=1,
        )
    return dataclasses.replace(
        condition,
        # What JSON writes and reads back as it is: no scalars of NumPy, no -0.0.
        eps=float(condition.eps) + 0.0,
        step_size=float(condition.step_size) + 0.0,
        steps=int(condition.steps),
        restarts=int(condition.restarts),
        seed=int(condition.seed) if _is_random(condition, attack) else 0,
        eight_bit=bool(condition.eight_bit),
        as_paper=as_paper_matters(condition),
    )


def _canonical_ensemble(condition: Condition) -> Condition:
    """An ensemble has no parameter but the threat model: steps and restarts are its own."""
    refuse_transfer(condition)
    fixed = dataclasses.replace(condition, steps=0, step_size=0.0, restarts=1, as_paper=False)
    _check_fields(fixed, iterative=False)
    check_choice("knowledge", condition.knowledge, get_args(Knowledge))
    check_flag("attacked_gallery", condition.attacked_gallery)
    if condition.attacked_gallery and condition.side != "query":
        raise InputError("attacked_gallery is of queries: the gallery is attacked before them")
    return dataclasses.replace(
        aimed(fixed),
        eps=float(condition.eps) + 0.0,
        guides=_guides_of(condition),
        seed=int(condition.seed),
        eight_bit=bool(condition.eight_bit),
    )


def _guides_of(condition: Condition) -> Side:
    """Where single attacks within an ensemble take their guides from."""
    # Whoever wants to be found as somebody of the gallery, and knows it, takes them there.
    poses = condition.goal == "impersonate" and condition.knowledge == "gallery"
    return "gallery" if poses else condition.side


def _is_random(condition: Condition, attack: AttackSpec) -> bool:
    """Whether a seed changes what the attack does."""
    # A single pushing guide is drawn among those of the identity.
    drawn = attack.push == "one" or attack.pull == "random"
    drawn |= condition.goal == "impersonate" and condition.target == "random"
    at_random = attack.starts_at_random(unit_length=condition.distance == "cosine")
    # All starts but the first are random.
    return drawn or at_random or condition.restarts > 1 or is_drawn(condition.boost)


def _check_fields(condition: Condition, *, iterative: bool) -> None:
    norm = condition.norm
    check_choice("norm", norm, get_args(Norm))
    unit = "in 1/255 of the pixel range" if norm == "linf" else "a length in pixel range"
    for name, most in (("eps", 255 if norm == "linf" else math.inf), ("step_size", math.inf)):
        value = getattr(condition, name)
        if not (_is_finite(value) and 0 <= value <= most):
            limit = "from 0 to 255" if most == 255 else "finite and at least 0"
            raise InputError(f"{name} must be {limit} ({unit}), got {shown(value)}")
        if norm == "linf":
            refuse_fraction(name, value)
    check_count("steps", condition.steps, least=int(iterative), most=MOST_STEPS)
    check_count("restarts", condition.restarts, least=1, most=MOST_RESTARTS)
    check_count("seed", condition.seed, most=LARGEST_SEED)
    for name in ("side", "guides"):
        check_choice(name, getattr(condition, name), get_args(Side))
    for name in ("eight_bit", "as_paper"):
        check_flag(name, getattr(condition, name))


def _is_finite(value: object) -> bool:
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def conditions(
    attacks: Sequence[str],
    eps: Sequence[float | str],
    *,
    seeds: Sequence[int] | None = (0,),
    norm: Norm = "linf",
    steps: int = STEPS,
    step_size: float | str | None = None,
    side: Side | Literal["both"] = "query",
    guides: Side | None = None,
    distance: Distance = "euclidean",
    restarts: int = 1,
    eight_bit: bool = False,
    as_paper: bool = False,
    knowledge: Sequence[Knowledge] = ("gallery",),
    goal: Goal = "evade",
    target: str = "",
    boost: str = "",
    surrogate: str = "",
) -> list[Condition]:
    """Every attack at every budget with every seed, after the clean images.

    Attacks without randomness are listed once, whatever the seeds.

    Args:
        attacks: names, see `attack_names`; "clean" is among them in any case, and may stand alone.
        eps: budgets; in 1/255 for linf, lengths in pixel range for l2. For linf a number between 0
            and 1 is refused, which would be less than one grey level: 5/255 of the pixel range is
            5 or "5/255", and half a grey level "0.5/255".
        seeds: of the random numbers; None for those that cost little, see `affordable_seeds`.
        norm: "linf" or "l2".
        steps: gradient steps of the iterative attacks.
        step_size: in the unit of eps, and written like it; by default 1 for linf, the paper's, and
            2.5 eps / steps for l2.
        side: which images are attacked; of ensembles also "both", first the gallery, then the
            queries in what is left of it.
        guides: which set the guides come from; the attacked one by default.
        distance: "euclidean" or "cosine".
        restarts: starts of which the one with the highest objective is kept, per image.
        eight_bit: whether adversarial images are rounded to 8 bits before they are ranked.
        as_paper: whether guides and signs are those of the paper's own code: the image itself and
            padding among the pushing guides, ODFA climbing instead of descending, the furthest
            person by Euclidean distance also for cosine. The conditions it changes nothing of are
            those without.
        knowledge: of ensembles, what the attacker knows; a condition for each.
        goal: "evade", not to be found, or "impersonate", to be found as another person: then each
            attack has to be one that pulls towards a person, or an ensemble.
        target: of an impersonation, "random" for another person for each query, or an identity.
        boost: of single attacks, names in `jaxreid.attacks.BOOSTS`, joined by "+".
        surrogate: of single attacks, the name of the surrogate that `robustness` is given.

    Returns:
        The conditions, each once: the clean one first.

    Raises:
        InputError: an unknown attack, a number out of range, or attacks, eps or seeds that are no
            list.
    """
    first: Side = "query" if side == "both" else side
    base = Condition(
        norm=norm,
        steps=steps,
        side=first,
        guides=guides or first,
        distance=distance,
        restarts=restarts,
        eight_bit=eight_bit,
        as_paper=as_paper,
        goal=goal,
        target=target,
        boost=boost,
        surrogate=surrogate,
    )
    # The first one checks what does not depend on attack and budget, also where there is none.
    found = [canonical(Condition(distance=distance))]
    canonical(dataclasses.replace(base, attack="fna"))
    budgets = [read_budget(budget, norm) for budget in listed("eps", eps)]
    seeds = None if seeds is None else listed("seeds", seeds)
    step = None if step_size is None else read_budget(step_size, norm, name="step_size")
    if step == 0:
        raise InputError(
            "step_size is 0, with which no image moves and every network looks robust; name a step "
            "above 0, or eps 0 for images that are not attacked"
        )
    for name in attacks_beside_clean(attacks):
        for budget in budgets:
            one = dataclasses.replace(
                base, attack=name, eps=budget, step_size=_step(budget, step, base)
            )
            drawn = affordable_seeds(one, max(budgets)) if seeds is None else seeds
            for form in _forms(one, knowledge, both=side == "both"):
                found += [canonical(dataclasses.replace(form, seed=seed)) for seed in drawn]
    return list(dict.fromkeys(found))


def _forms(condition: Condition, knowledge: Sequence[Knowledge], *, both: bool) -> list[Condition]:
    """An ensemble against each side and with each knowledge that was asked for."""
    if not condition.is_ensemble:
        if both:
            raise InputError(
                f"{condition.attack} attacks one side, query or gallery; both is for ensembles "
                f"({', '.join(ENSEMBLES)})"
            )
        return [condition]
    forms = [dataclasses.replace(condition, knowledge=k) for k in listed("knowledge", knowledge)]
    if not both:
        return forms
    sides: tuple[dict[str, Any], ...] = ({"side": "gallery"}, {"attacked_gallery": True})
    return [dataclasses.replace(form, **side) for form in forms for side in sides]


def _step(budget: float, step_size: float | None, base: Condition) -> float:
    if step_size is not None:
        return step_size
    return 1.0 if base.norm == "linf" else _L2_TRAVEL * budget / base.steps


def as_published(attack: str, ensemble: Condition) -> Condition:
    """A single attack as `conditions` has it by default, on the threat model of an ensemble.

    Args:
        attack: a key of ATTACKS.
        ensemble: canonical.

    Returns:
        Its canonical condition.
    """
    same = ("eps", "norm", "side", "guides", "distance", "seed", "eight_bit", "goal", "target")
    fields = {name: getattr(ensemble, name) for name in same}
    base = Condition(attack=attack, steps=STEPS, **fields)
    return canonical(dataclasses.replace(base, step_size=_step(base.eps, None, base)))


def affordable_seeds(condition: Condition, largest: float) -> tuple[int, ...]:
    """The seeds to run where none are named: (0, 1, 2) or (0,).

    Three where that costs little: of noise and of attacks of one step at every budget, of all
    others at the largest one, whose metrics are reported. A budget of 0 and an ensemble have one.
    """
    if condition.is_ensemble:
        return (0,)
    cheap = not ATTACKS[condition.attack].iterative
    several = condition.eps > 0 and (cheap or condition.eps == largest)
    return tuple(range(_SEEDS)) if several else (0,)
