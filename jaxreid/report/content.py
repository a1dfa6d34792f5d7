"""Everything a page shows, computed: the template only lays it out."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxreid.report import figures
from jaxreid.report.doubts import doubts
from jaxreid.report.figures import Picture
from jaxreid.report.findings import Finding, findings, home_of
from jaxreid.report.grouping import Group, Spread, group_runs
from jaxreid.report.run_view import RunView, run_view
from jaxreid.report.runs import Run
from jaxreid.report.strikes import main_protocol, strikes
from jaxreid.report.style import FIGURES, PROTOCOLS
from jaxreid.report.tables import Comparison, Table, comparison, full_table
from jaxreid.report.training import TrainingLog

__all__ = ["Content", "GroupView", "Headline", "compose"]


@dataclass(frozen=True)
class Headline:
    """A run in two figures.

    Attributes:
        run: its label.
        clean: mAP without an attack, or None.
        worst: mAP under the strongest attack, or None.
        attack: name of that attack, or "".
        budget: such as "5/255", or "".
        colour: of the attack.
    """

    run: str
    clean: Spread | None
    worst: Spread | None
    attack: str
    budget: str
    colour: str


@dataclass(frozen=True)
class GroupView:
    """A group on the page.

    Attributes:
        title: of its panel.
        linear: curves.
        log: the same with logarithmic axes.
        sides: runs side by side, linear.
        sides_log: the same, logarithmic.
        comparison: the paper's table, or None.
        table: all results, or None.
        reranked: all results after re-ranking, or None.
    """

    title: str
    linear: list[Picture]
    log: list[Picture]
    sides: list[Picture]
    sides_log: list[Picture]
    comparison: Comparison | None
    table: Table | None
    reranked: Table | None


@dataclass(frozen=True)
class Content:
    """The page.

    Attributes:
        title: of the page.
        protocol: that sentences and figures use, as a report names it.
        headlines: one per run.
        findings: of runs, then of pairs of runs.
        doubts: sentences.
        groups: the fullest first.
        runs: in their order.
        training: curves.
        every_group: what `groups` show, for other formats.
    """

    title: str
    protocol: str
    headlines: list[Headline]
    findings: list[Finding]
    doubts: list[str]
    groups: list[GroupView]
    runs: list[RunView]
    training: list[Picture]
    every_group: list[Group]

    @property
    def pictures(self) -> list[Picture]:
        """All figures of the page."""
        found = []
        for group in self.groups:
            found += [*group.linear, *group.log, *group.sides, *group.sides_log]
        for run in self.runs:
            found += [*run.breakdown, *run.maps]
        return [*found, *self.training]


def compose(runs: Sequence[Run], logs: Sequence[TrainingLog]) -> Content:
    """Computes a report.

    Args:
        runs: at least one.
        logs: of trainings, maybe none.

    Returns:
        What to lay out.

    Raises:
        InputError: arrays of a run are damaged.
    """
    groups = group_runs(runs)
    main = groups[0]
    protocol = main_protocol(main) or ""
    return Content(
        title=" · ".join(run.label for run in runs),
        protocol=PROTOCOLS.get(protocol, protocol),
        headlines=[
            _headline(home, run.label) for run in runs if (home := home_of(groups, run.label))
        ],
        findings=findings(groups, [run.label for run in runs]),
        doubts=doubts(runs, groups),
        groups=[_group_view(group, number) for number, group in enumerate(groups, 1)],
        runs=[run_view(run, groups, number) for number, run in enumerate(runs, 1)],
        training=figures.progress(logs),
        every_group=groups,
    )


def _headline(group: Group, label: str) -> Headline:
    protocol, clean = main_protocol(group), group.clean.get(label)
    worst = next(iter(strikes(group, label)), None)
    return Headline(
        run=label,
        clean=clean.spread(protocol) if clean and protocol else None,
        worst=worst.spread if worst else None,
        attack=worst.name if worst else "",
        budget=group.panel.budget(worst.point.eps) if worst else "",
        colour=worst.style.colour if worst else "",
    )


def _group_view(group: Group, number: int) -> GroupView:
    scales: dict[bool, list[Picture]] = {False: [], True: []}
    sides: dict[bool, list[Picture]] = {False: [], True: []}
    several = len(group.labels) > 1
    for log in (False, True):
        end = f"-threat{number}" + ("-log" if log else "")
        for figure, title in FIGURES.items():
            for index, label in enumerate(group.labels, 1):
                if group.of(label):
                    name = f"{title.lower()}-run{index}{end}"
                    scales[log].append(figures.curves(group, label, figure, log=log, name=name))
            if several:
                name = f"{title.lower()}-side-by-side{end}"
                side = figures.side_by_side(group, figure, log=log, name=name)
                sides[log] += [side] if side else []
    return GroupView(
        title=group.panel.title,
        linear=scales[False],
        log=scales[True],
        sides=sides[False],
        sides_log=sides[True],
        comparison=comparison(group),
        table=full_table(group),
        reranked=full_table(group, reranked=True),
    )
