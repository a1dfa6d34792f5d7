"""What to run: names and budgets in, checked conditions out, each in the one form it has."""

import dataclasses
import math
import numbers
from collections.abc import Iterable, Sequence

from jaxreid.attacks import ATTACKS, AttackSpec
from jaxreid.budgets import read_budget
from jaxreid.constants import (
    LARGEST_SEED,
    MOST_RESTARTS,
    MOST_STEPS,
    Distance,
    Norm,
    Side,
)
from jaxreid.errors import InputError
from jaxreid.evaluation.as_paper import changes, row_of
from jaxreid.evaluation.names import attack_names, listed
from jaxreid.records import Condition

__all__ = [
    "affordable_seeds",
    "attack_names",
    "canonical",
    "conditions",
    "has_restarts",
    "is_random",
    "strongest",
]


# Madry et al.: steps that could cross the ball 2.5 times reach its border from anywhere.
_L2_TRAVEL = 2.5
_SEEDS = 3
_MOST = {"steps": MOST_STEPS, "restarts": MOST_RESTARTS, "seed": LARGEST_SEED}


def has_restarts(attack: AttackSpec) -> bool:
    """Whether starting again elsewhere can help: it climbs an objective, and may start anywhere.

    Args:
        attack: a row of ATTACKS.

    Returns:
        False for noise and for attacks of one step.
    """
    return attack.iterative


def is_random(attack: AttackSpec, restarts: int = 1, distance: str = "euclidean") -> bool:
    """Whether a seed changes what the attack does.

    Args:
        attack: a row of ATTACKS; a single pushing guide is drawn among those of the identity.
        restarts: all but the first of an attack that starts at the image start at random.
        distance: with cosine, features have unit length, and odfa starts at random.

    Returns:
        False if one seed is as good as another.
    """
    drawn = attack.push == "one" or attack.pull == "random"
    at_random = attack.starts_at_random(unit_length=distance == "cosine")
    return at_random or drawn or (restarts > 1 and has_restarts(attack))


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
    if condition.distance not in ("euclidean", "cosine"):
        raise InputError(f"distance must be 'euclidean' or 'cosine', got {condition.distance!r}")
    if condition.attack == "clean":
        return Condition(distance=condition.distance)
    if attack_names([condition.attack]) != (condition.attack,):
        raise InputError(f"{condition.attack!r} names several attacks; a condition has one")
    attack = row_of(condition)
    _check_fields(condition, attack)
    if not attack.iterative:
        one_step = attack.push != "none"
        condition = dataclasses.replace(
            condition,
            steps=int(one_step),
            step_size=condition.eps if one_step else 0.0,
            restarts=1,
        )
    random = is_random(attack, condition.restarts, condition.distance)
    return dataclasses.replace(
        condition,
        # What JSON writes and reads back as it is: no scalars of NumPy, no -0.0.
        eps=float(condition.eps) + 0.0,
        step_size=float(condition.step_size) + 0.0,
        steps=int(condition.steps),
        restarts=int(condition.restarts),
        seed=int(condition.seed) if random else 0,
        as_paper=changes(condition),
    )


def _check_fields(condition: Condition, attack: AttackSpec) -> None:
    norm = condition.norm
    if norm not in ("linf", "l2"):
        raise InputError(f"norm must be 'linf' or 'l2', got {norm!r}")
    unit = "in 1/255 of the pixel range" if norm == "linf" else "a length in pixel range"
    for name, most in (("eps", 255 if norm == "linf" else math.inf), ("step_size", math.inf)):
        value = getattr(condition, name)
        if not (_is_finite(value) and 0 <= value <= most):
            limit = "from 0 to 255" if most == 255 else "finite and at least 0"
            raise InputError(f"{name} must be {limit} ({unit}), got {_shortened(value)}")
    _check_count("steps", condition.steps, least=int(attack.iterative))
    _check_count("restarts", condition.restarts, least=1)
    _check_count("seed", condition.seed, least=0)
    for name in ("side", "guides"):
        if getattr(condition, name) not in ("query", "gallery"):
            got = getattr(condition, name)
            raise InputError(f"{name} must be 'query' or 'gallery', got {got!r}")
    for name in ("eight_bit", "as_paper"):
        if not isinstance(getattr(condition, name), bool):
            got = getattr(condition, name)
            raise InputError(f"{name} must be True or False, got {got!r}")


def _check_count(name: str, value: object, *, least: int) -> None:
    most, plural = _MOST[name], "seeds" if name == "seed" else name
    if not isinstance(value, numbers.Integral) or isinstance(value, bool):
        raise InputError(f"{plural} must be whole numbers, got {value!r}")
    if int(value) < least:
        raise InputError(f"{plural} must be at least {least}, got {value}")
    if int(value) > most:
        raise InputError(f"{plural} must be at most {most:,}, got {_shortened(value)}")


def _shortened(value: object) -> str:
    """A number of a line's length says no more than its first digits."""
    text = str(value)
    return text if len(text) <= 30 else f"{text[:12]}... ({len(text)} digits)"


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
    steps: int = 15,
    step_size: float | str | None = None,
    side: Side = "query",
    guides: Side | None = None,
    distance: Distance = "euclidean",
    restarts: int = 1,
    eight_bit: bool = False,
    as_paper: bool = False,
) -> list[Condition]:
    """Every attack at every budget with every seed, after the clean images.

    Attacks without randomness are listed once, whatever the seeds.

    Args:
        attacks: names, see `attack_names`.
        eps: budgets; in 1/255 for linf, lengths in pixel range for l2. For linf a number between 0
            and 1 is refused, which would be less than one grey level: 5/255 of the pixel range is
            5 or "5/255", and half a grey level "0.5/255".
        seeds: of the random numbers; None for those that cost little, see `affordable_seeds`.
        norm: "linf" or "l2".
        steps: gradient steps of the iterative attacks.
        step_size: in the unit of eps, and written like it; by default 1 for linf, the paper's, and
            2.5 eps / steps for l2.
        side: which images are attacked.
        guides: which set the guides come from; the attacked one by default.
        distance: "euclidean" or "cosine".
        restarts: starts of which the one with the highest objective is kept, per image.
        eight_bit: whether adversarial images are rounded to 8 bits before they are ranked.
        as_paper: whether guides and signs are those of the paper's own code: the image itself and
            padding among the pushing guides, ODFA climbing instead of descending, the furthest
            person by Euclidean distance also for cosine. The conditions it changes nothing of are
            those without.

    Returns:
        The conditions, each once: the clean one first.

    Raises:
        InputError: an unknown attack, a number out of range, or attacks, eps or seeds that are no
            list.
    """
    base = Condition(
        norm=norm,
        steps=steps,
        side=side,
        guides=guides or side,
        distance=distance,
        restarts=restarts,
        eight_bit=eight_bit,
        as_paper=as_paper,
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
    for name in attack_names(attacks):
        for budget in budgets:
            one = dataclasses.replace(
                base, attack=name, eps=budget, step_size=_step(budget, step, base)
            )
            drawn = affordable_seeds(one, max(budgets)) if seeds is None else seeds
            found += [canonical(dataclasses.replace(one, seed=seed)) for seed in drawn]
    return list(dict.fromkeys(found))


def _step(budget: float, step_size: float | None, base: Condition) -> float:
    if step_size is not None:
        return step_size
    return 1.0 if base.norm == "linf" else _L2_TRAVEL * budget / base.steps


def affordable_seeds(condition: Condition, largest: float) -> tuple[int, ...]:
    """The seeds to run where nobody says which.

    Three where that costs little: of noise and of attacks of one step at every budget, of all
    others at the largest one, whose figures are the ones to be told. A budget of 0 has one.

    Args:
        condition: of any seed.
        largest: the largest budget of the sweep, in the unit of eps.

    Returns:
        (0, 1, 2) or (0,).
    """
    cheap = not ATTACKS[condition.attack].iterative
    several = condition.eps > 0 and (cheap or condition.eps == largest)
    return tuple(range(_SEEDS)) if several else (0,)


def strongest(conditions: Iterable[Condition]) -> set[Condition]:
    """The conditions worth a picture: of each attack the largest budget, with its first seed.

    Args:
        conditions: any.

    Returns:
        Those with eps above 0 that no other of the same attack exceeds.
    """
    best: dict[Condition, Condition] = {}
    for condition in conditions:
        # Steps of l2 attacks, and of attacks of one step, grow with eps: not a difference.
        attack = dataclasses.replace(condition, eps=0, step_size=0, seed=0)
        if condition.eps > 0 and condition.eps > best.get(attack, attack).eps:
            best[attack] = condition
    return set(best.values())
