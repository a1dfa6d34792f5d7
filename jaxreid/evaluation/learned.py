"""Conditions of perturbations that were learned before they met the images."""

import math
from collections.abc import Mapping, Sequence
from typing import get_args

from jaxreid.checks import check_choice, check_flag, shown
from jaxreid.constants import Distance, Side
from jaxreid.errors import InputError
from jaxreid.evaluation.universal import Perturbation
from jaxreid.records import Condition

__all__ = ["canonical_learned", "learned_conditions", "refuse_unlearned"]


def canonical_learned(condition: Condition) -> Condition:
    """Checks a condition of a learned perturbation, which has neither steps nor guides nor seed.

    Args:
        condition: its attack is a key of `jaxreid.constants.LEARNED`, eps in 1/255.

    Returns:
        Equal for conditions that do the same.

    Raises:
        InputError: a field out of range, or one that such an attack cannot have.
    """
    attack, eps = condition.attack, condition.eps
    for name, expected in (("norm", "linf"), ("goal", "evade"), ("boost", "")):
        if (got := getattr(condition, name)) != expected:
            raise InputError(f"{attack} was learned with {name} {expected!r}, got {shown(got)}")
    number = isinstance(eps, int | float) and not isinstance(eps, bool)
    if not (number and math.isfinite(eps) and 0 <= eps <= 255):
        raise InputError(f"eps must be from 0 to 255 (in 1/255), got {shown(eps)}")
    check_choice("side", condition.side, get_args(Side))
    check_flag("eight_bit", condition.eight_bit)
    if not isinstance(condition.surrogate, str) or not condition.surrogate:
        raise InputError(f"surrogate must name the {attack}, got {shown(condition.surrogate)}")
    return Condition(
        attack=attack,
        eps=float(eps) + 0.0,
        steps=0,
        step_size=0.0,
        side=condition.side,
        guides=condition.side,
        distance=condition.distance,
        eight_bit=bool(condition.eight_bit),
        surrogate=condition.surrogate,
    )


def learned_conditions(
    perturbations: Sequence[Perturbation],
    *,
    side: Side = "query",
    distance: Distance = "euclidean",
    eight_bit: bool = False,
) -> list[Condition]:
    """One condition for each perturbation, as `robustness` takes them.

    Args:
        perturbations: what was learned; `robustness` is given them by their names.
        side: which images they are laid on.
        distance: "euclidean" or "cosine".
        eight_bit: whether changed images are rounded to 8 bits.

    Returns:
        The conditions, in their order.

    Raises:
        InputError: a value that a condition cannot have.
    """
    return [
        canonical_learned(
            Condition(
                attack=one.attack,
                eps=one.recipe.eps,
                side=side,
                distance=distance,
                eight_bit=eight_bit,
                surrogate=one.name,
            )
        )
        for one in perturbations
    ]


def refuse_unlearned(condition: Condition, perturbations: Mapping[str, Perturbation]) -> None:
    """Refuses a condition of a perturbation that is not given, or is of another budget."""
    learned = perturbations.get(condition.surrogate)
    if learned is None:
        raise InputError(
            f"no perturbation {condition.surrogate!r} is given; expected one of "
            f"{', '.join(perturbations) or 'those in perturbations'}"
        )
    made = learned.attack, learned.recipe.eps
    if made != (condition.attack, condition.eps):
        raise InputError(
            f"{condition.surrogate} is a {made[0]} of eps {made[1]:g}, and its condition one of "
            f"{condition.attack}, eps {condition.eps:g}"
        )
