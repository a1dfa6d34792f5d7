"""What a condition says of an attack that is to work on networks it has not met."""

import dataclasses

from jaxreid.attacks import BOOSTS, AttackSpec, boost_of
from jaxreid.checks import shown
from jaxreid.errors import InputError
from jaxreid.records import Condition

__all__ = ["boost_names", "is_drawn", "refuse_transfer", "transferred"]

_JOIN = "+"


def boost_names(text: str) -> tuple[str, ...]:
    """The names in the boost of a condition."""
    return tuple(text.split(_JOIN)) if text else ()


def is_drawn(text: str) -> bool:
    """Whether a seed changes what boosts do."""
    return boost_of(boost_names(text)).draws


def transferred(condition: Condition, attack: AttackSpec) -> Condition:
    """A condition with its boosts in the order of BOOSTS: one text for equal sets.

    Without boosts and surrogate where no gradient is followed.

    Raises:
        InputError: an unknown boost, one that is there twice, or an attack that takes none.
    """
    for name in ("boost", "surrogate"):
        if not isinstance(text := getattr(condition, name), str):
            raise InputError(f"{name} must be names joined by {_JOIN!r}, got {shown(text)}")
    if attack.rule is None:
        return dataclasses.replace(condition, boost="", surrogate="")
    names = boost_names(condition.boost)
    boost_of(names)
    if names:
        attack.refuse_boosts()
    ordered = _JOIN.join(name for name in BOOSTS if name in names)
    return dataclasses.replace(condition, boost=ordered)


def refuse_transfer(condition: Condition) -> None:
    """Refuses an ensemble that is to be boosted, or to take another network's gradients."""
    for name in ("boost", "surrogate"):
        if getattr(condition, name):
            raise InputError(f"{name} is of single attacks, and {condition.attack} is an ensemble")
