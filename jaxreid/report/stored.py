"""Which arrays of a run to show: not every condition has examples or a map of features."""

from collections.abc import Callable, Sequence
from pathlib import Path

from jaxreid.records import Condition
from jaxreid.report.grouping import Group, Panel
from jaxreid.report.strikes import strikes

__all__ = ["stored_conditions"]


def stored_conditions(
    label: str, groups: Sequence[Group], file_of: Callable[[Condition], Path]
) -> list[tuple[Condition, Panel]]:
    """Finds one condition per attack and panel that has a file, near the budget of comparison.

    Args:
        label: of the run.
        groups: of all runs, the fullest first.
        file_of: where the arrays of a condition would be.

    Returns:
        Conditions with their panels; within a panel the attack that is strongest at the budget of
        comparison comes first.
    """
    chosen = []
    for group in groups:
        found = [strike.curve for strike in strikes(group, label)]
        curves = [*found, *(curve for curve in group.of(label) if curve not in found)]
        wanted = group.eps or 0.0
        for curve in curves:
            near = sorted(curve.points, key=lambda point: abs(point.eps - wanted))
            conditions = [result.condition for point in near for result in point.results]
            having = next((c for c in conditions if file_of(c).is_file()), None)
            if having:
                chosen.append((having, group.panel))
    return chosen
