"""What to run: names and budgets in, checked conditions out, each in the one form it has."""

import dataclasses
import difflib
import math
from collections.abc import Iterable, Sequence
from typing import Literal

from jaxreid.attacks import ATTACKS, Attack
from jaxreid.errors import InputError
from jaxreid.records import Condition

__all__ = ["attack_names", "canonical", "conditions", "has_restarts", "is_random", "strongest"]

Side = Literal["query", "gallery"]

# Names for several attacks at once; noise is the baseline and no attack of the paper.
_GROUPS = {
    "all": tuple(ATTACKS),
    "paper": tuple(name for name in ATTACKS if name != "noise"),
}
# Madry et al.: steps that could cross the ball 2.5 times reach its border from anywhere.
_L2_TRAVEL = 2.5


def attack_names(words: Iterable[str]) -> tuple[str, ...]:
    """Checks names of attacks.

    Args:
        words: keys of ATTACKS, "paper" for all that the paper studies, or "all".

    Returns:
        Keys of ATTACKS, each once, in the order given.

    Raises:
        InputError: an unknown name, with the nearest known one; or none at all.
    """
    names: dict[str, None] = {}
    for word in words:
        if word not in ATTACKS and word not in _GROUPS:
            known = [*ATTACKS, *_GROUPS]
            near = difflib.get_close_matches(word.lower(), known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
            raise InputError(f"unknown attack {word!r}; {hint}")
        names.update(dict.fromkeys(_GROUPS.get(word, (word,))))
    if not names:
        raise InputError(f"no attack is named; there are {', '.join(ATTACKS)}")
    return tuple(names)


def has_restarts(attack: Attack) -> bool:
    """Whether starting again elsewhere can help: it climbs an objective, and may start anywhere.

    Args:
        attack: a row of ATTACKS.

    Returns:
        False for noise and for attacks of one step.
    """
    return attack.iterative


def is_random(attack: Attack, restarts: int = 1, distance: str = "euclidean") -> bool:
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
    attack_names([condition.attack])
    attack = ATTACKS[condition.attack]
    if not attack.iterative:
        one_step = attack.push != "none"
        condition = dataclasses.replace(
            condition,
            steps=int(one_step),
            step_size=condition.eps if one_step else 0.0,
            restarts=1,
        )
    _check_numbers(condition, attack)
    if not is_random(attack, condition.restarts, condition.distance):
        condition = dataclasses.replace(condition, seed=0)
    return dataclasses.replace(
        condition, eps=float(condition.eps), step_size=float(condition.step_size)
    )


def _check_numbers(condition: Condition, attack: Attack) -> None:
    eps, norm = condition.eps, condition.norm
    if norm not in ("linf", "l2"):
        raise InputError(f"norm must be 'linf' or 'l2', got {norm!r}")
    most = 255.0 if norm == "linf" else math.inf
    unit = "in 1/255 of the pixel range" if norm == "linf" else "a length in pixel range"
    if not (math.isfinite(eps) and 0 <= eps <= most):
        limit = "from 0 to 255" if norm == "linf" else "finite and at least 0"
        raise InputError(f"eps must be {limit} ({unit}), got {eps:g}")
    if not (math.isfinite(condition.step_size) and condition.step_size >= 0):
        raise InputError(f"step_size must be at least 0 ({unit}), got {condition.step_size:g}")
    if attack.iterative and condition.steps < 1:
        raise InputError(f"steps must be at least 1, got {condition.steps}")
    if condition.restarts < 1:
        raise InputError(f"restarts must be at least 1, got {condition.restarts}")
    if condition.seed < 0:
        raise InputError(f"seeds must be at least 0, got {condition.seed}")
    for name in ("side", "guides"):
        if getattr(condition, name) not in ("query", "gallery"):
            raise InputError(f"{name} must be 'query' or 'gallery', got {getattr(condition, name)}")


def conditions(
    attacks: Sequence[str],
    eps: Sequence[float],
    *,
    seeds: Sequence[int] = (0,),
    norm: Literal["linf", "l2"] = "linf",
    steps: int = 15,
    step_size: float | None = None,
    side: Side = "query",
    guides: Side | None = None,
    distance: Literal["euclidean", "cosine"] = "euclidean",
    restarts: int = 1,
    eight_bit: bool = False,
) -> list[Condition]:
    """Every attack at every budget with every seed, after the clean images.

    Attacks without randomness are listed once, whatever the seeds.

    Args:
        attacks: names, see `attack_names`.
        eps: budgets; in 1/255 for linf, lengths in pixel range for l2.
        seeds: of the random numbers.
        norm: "linf" or "l2".
        steps: gradient steps of the iterative attacks.
        step_size: in the unit of eps; by default 1 for linf, the paper's, and 2.5 eps / steps for
            l2.
        side: which images are attacked.
        guides: which set the guides come from; the attacked one by default.
        distance: "euclidean" or "cosine".
        restarts: starts of which the one with the highest objective is kept, per image.
        eight_bit: whether adversarial images are rounded to 8 bits before they are ranked.

    Returns:
        The conditions, each once: the clean one first.

    Raises:
        InputError: an unknown attack, or a number out of range.
    """
    found = [Condition(distance=distance)]
    for name in attack_names(attacks):
        for budget in eps:
            step = step_size
            if step is None:
                step = 1.0 if norm == "linf" else _L2_TRAVEL * budget / max(steps, 1)
            base = Condition(
                attack=name,
                eps=budget,
                norm=norm,
                steps=steps,
                step_size=step,
                side=side,
                guides=guides or side,
                distance=distance,
                restarts=restarts,
                eight_bit=eight_bit,
            )
            found += [canonical(dataclasses.replace(base, seed=seed)) for seed in seeds]
    return list(dict.fromkeys(canonical(condition) for condition in found))


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
