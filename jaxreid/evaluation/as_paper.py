"""What the paper's own code does otherwise: which guides, which signs."""

from jaxreid.attacks import ATTACKS, AttackSpec
from jaxreid.records import Condition

__all__ = ["changes", "pads_with_self", "row_of"]


def row_of(condition: Condition) -> AttackSpec:
    """The row of the table of attacks that a condition runs.

    Args:
        condition: its attack is a key of ATTACKS.

    Returns:
        The row. The paper's ODFA is IFGSM away from -f(x), towards which its authors go: a row that
        pushes, whose guide is the image's own.
    """
    row = ATTACKS[condition.attack]
    return ATTACKS["ifgsm_multi"] if condition.as_paper and row.own == "opposite" else row


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
