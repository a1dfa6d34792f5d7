"""What the paper's own code does otherwise: which guides, which signs."""

from jaxreid.attacks import ATTACKS, Attack, ifgsm
from jaxreid.attacks.named import ThreatOf
from jaxreid.attacks.threats import linf
from jaxreid.errors import InputError
from jaxreid.records import Condition
from jaxreid.types import Array, ArrayLike, Embed

__all__ = ["changes", "pads_with_self", "row_of"]


def _odfa(
    embed: Embed,
    images: ArrayLike,
    *,
    eps: float | ArrayLike,
    step_size: float | ArrayLike,
    steps: int,
    clean_features: ArrayLike | None = None,
    threat: ThreatOf = linf,
) -> Array:
    """ODFA with the sign of Bouniot et al.: away from -f(x), where its authors go towards it."""
    if clean_features is None:
        raise InputError("this attack is guided by the image's own feature: give clean_features")
    push = -clean_features
    return ifgsm(embed, images, push, eps=eps, step_size=step_size, steps=steps, threat=threat)


_ODFA = Attack(_odfa, "ODFA with the sign of Bouniot et al.", own="opposite")


def row_of(condition: Condition) -> Attack:
    """The row of the table of attacks that a condition runs.

    Args:
        condition: its attack is a key of ATTACKS.

    Returns:
        The row, with what the paper's code climbs where the condition asks for it.
    """
    if condition.as_paper and ATTACKS[condition.attack].own == "opposite":
        return _ODFA
    return ATTACKS[condition.attack]


def pads_with_self(condition: Condition) -> bool:
    """Whether an image is among its own pushing guides, and fills the places of missing ones.

    Args:
        condition: its attack is a key of ATTACKS.

    Returns:
        True as the paper, for attacks with all guides of the set that is attacked.
    """
    pushes_all = ATTACKS[condition.attack].push == "all"
    return condition.as_paper and pushes_all and condition.guides == condition.side


def changes(condition: Condition) -> bool:
    """Whether the paper's code does anything else than ours under a condition.

    Args:
        condition: its attack is a key of ATTACKS.

    Returns:
        False where both do the same: then `as_paper` says nothing.
    """
    row = ATTACKS[condition.attack]
    by_cosine = row.pull == "furthest" and condition.distance == "cosine"
    asked = condition.as_paper and (by_cosine or row.own == "opposite")
    return asked or pads_with_self(condition)
