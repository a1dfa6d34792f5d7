"""Parts of sentences on results, in plain words."""

from collections.abc import Sequence

from jaxreid.budgets import exact
from jaxreid.report.runs import Panel

__all__ = ["SAME", "UNCHANGED", "attacker", "listed"]

SAME = 0.01
"""Two attacks whose mAP differs by less than this share are called equally strong."""

UNCHANGED = 0.0005
"""A twentieth of a point: smaller changes of mAP do not show in a sentence."""


def attacker(panel: Panel, eps: float) -> str:
    """Who attacks, within which budget: the subject of a sentence."""
    images = "a query" if panel.side == "query" else "the gallery images"
    if panel.norm == "linf":
        who = f"An attacker who changes no pixel of {images} by more than {exact(eps)}/255"
    else:
        each = "a query" if panel.side == "query" else "each gallery image"
        who = f"An attacker whose change of {each} has a length of at most {exact(eps)} (L2)"
    return f"{who}, after the gallery was attacked," if panel.attacked_gallery else who


def listed(names: Sequence[str]) -> str:
    """At least one name, as in "a, b and c"."""
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]
