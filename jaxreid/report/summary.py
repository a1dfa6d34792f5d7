"""What the runs of a report show, computed once: sentences, tables and figures read it here."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from jaxreid.records import Condition, Spread
from jaxreid.report.groups import Group, Outcome, groups_of
from jaxreid.report.runs import Panel, Point, Run

__all__ = ["RunSummary", "Summary", "summarize"]


@dataclass(frozen=True)
class RunSummary:
    """A run where it is best judged.

    Attributes:
        label: of the run.
        group: the fullest group in which it is attacked, else the fullest in which it has a result.
        clean: its point without an attack, or None.
        outcomes: the worst case, then its attacks, the strongest first; none where it was only
            ranked clean.
    """

    label: str
    group: Group
    clean: Point | None
    outcomes: tuple[Outcome, ...]

    @property
    def strongest(self) -> Outcome | None:
        """The worst case, or the attack that leaves least, or None without attacks."""
        return next(iter(self.outcomes), None)

    @property
    def worst_case(self) -> Outcome | None:
        """What is left by the worst of every image that was met, or None where it is not known."""
        return next((one for one in self.outcomes if one.is_worst_case), None)

    def clean_score(self, metric: str = "mean_average_precision") -> Spread | None:
        """A field of `Score` of the clean images in the group's protocol, or None."""
        return self.clean.spread(self.group.protocol, metric) if self.clean else None


@dataclass(frozen=True)
class Summary:
    """What a report knows.

    Attributes:
        runs: at least one; others are compared with the first.
        groups: the fullest first.
        by_run: label -> where the run is best judged, in the order of the runs; without runs that
            have no result to show.
    """

    runs: tuple[Run, ...]
    groups: tuple[Group, ...]
    by_run: dict[str, RunSummary]

    def stored(
        self, label: str, file_of: Callable[[Condition], Path]
    ) -> list[tuple[Condition, Panel]]:
        """Finds one condition per attack and panel that has a file, near the budget of comparison.

        Not every condition has examples or a map of features.

        Args:
            label: of the run.
            file_of: where the arrays of a condition would be.

        Returns:
            Conditions with their panels; within a panel the strongest attack comes first.
        """
        chosen = []
        for group in self.groups:
            ranked = [outcome.curve for outcome in group.outcomes.get(label, ())]
            others = [curve for curve in group.of(label) if curve not in ranked]
            wanted = group.eps or 0.0
            for curve in (*ranked, *others):
                near = sorted(curve.points, key=lambda point: abs(point.eps - wanted))
                conditions = [result.condition for point in near for result in point.results]
                having = next((c for c in conditions if file_of(c).is_file()), None)
                if having:
                    chosen.append((having, group.panel))
        return chosen


def summarize(runs: Sequence[Run]) -> Summary:
    """Sorts the results of several runs into groups that compare, and ranks their attacks.

    Args:
        runs: as `open_runs` gives them.

    Returns:
        The summary.
    """
    groups = tuple(groups_of(runs))
    by_run = {}
    for run in runs:
        here = [group for group in groups if run.label in group.labels]
        home = min(here, key=lambda group: _merit(group, run.label), default=None)
        if home:
            clean, outcomes = home.clean.get(run.label), home.outcomes.get(run.label, ())
            by_run[run.label] = RunSummary(run.label, home, clean, outcomes)
    return Summary(tuple(runs), groups, by_run)


def _merit(group: Group, label: str) -> int:
    """0 where the worst case of a run is known, 1 where it is attacked, 2 where it is not."""
    first = next(iter(group.outcomes.get(label, ())), None)
    return 2 if first is None else int(not first.is_worst_case)
