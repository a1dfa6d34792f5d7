"""The attacks of a run at the budget that a report compares at, the strongest first."""

from dataclasses import dataclass

from jaxreid.report.grouping import Curve, Group, Point, Spread
from jaxreid.report.style import PROTOCOLS, AttackStyle, attack_style

__all__ = ["Strike", "main_protocol", "short_name", "strikes"]


@dataclass(frozen=True)
class Strike:
    """What one attack of one run leaves.

    Attributes:
        curve: of the attack.
        point: at the budget.
        spread: of mAP over seeds, in [0, 1].
    """

    curve: Curve
    point: Point
    spread: Spread

    @property
    def left(self) -> float:
        """The mAP that is left, in [0, 1]."""
        return self.spread.mean

    @property
    def name(self) -> str:
        """Short name of the attack and of its variant."""
        return short_name(self.curve)

    @property
    def style(self) -> AttackStyle:
        """How the attack looks."""
        return attack_style(self.curve.attack)

    @property
    def gradient(self) -> bool:
        """Whether the attack knows where to go: noise does not."""
        return self.curve.attack != "noise"


def short_name(curve: Curve) -> str:
    """Names a curve in a legend.

    Args:
        curve: of an attack.

    Returns:
        Short name, and the variant if there is one.
    """
    short = attack_style(curve.attack).short
    return f"{short} ({curve.variant})" if curve.variant else short


def main_protocol(group: Group) -> str | None:
    """Chooses the protocol of figures and sentences: Market-1501's, which the paper uses.

    Args:
        group: any.

    Returns:
        A protocol that the group's results have, or None.
    """
    points = [*group.clean.values(), *(point for curve in group.curves for point in curve.points)]
    found = {protocol for point in points for one in point.results for protocol in one.scores}
    known = [protocol for protocol in PROTOCOLS if protocol in found]
    return next(iter([*known, *sorted(found)]), None)


def strikes(group: Group, label: str) -> list[Strike]:
    """Sorts the attacks of a run by what they leave.

    Args:
        group: of the run.
        label: of the run.

    Returns:
        The strongest first, at the group's budget, or at the nearest one that the run has; none
        where the run has no attack.
    """
    budgets = {point.eps for curve in group.of(label) for point in curve.points}
    wanted = group.eps or 0.0
    eps = min(budgets, key=lambda budget: (abs(budget - wanted), budget), default=None)
    protocol = main_protocol(group)
    if eps is None or protocol is None:
        return []
    found = []
    for curve in group.of(label):
        point = curve.at(eps)
        spread = point and point.spread(protocol)
        if point and spread:
            found.append(Strike(curve, point, spread))
    return sorted(found, key=lambda strike: strike.left)
