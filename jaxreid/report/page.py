"""Everything a page shows, computed: the template only lays it out."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from jaxreid.records import Condition, FeatureMap, PerQuery, Provenance
from jaxreid.report.audits import Audit, audit_of
from jaxreid.report.beyond import Measurement
from jaxreid.report.breakdown import (
    Pair,
    PersonRow,
    draw_average_precisions,
    draw_cameras,
    draw_people,
    hardest_and_safest,
)
from jaxreid.report.canvas import Picture
from jaxreid.report.caveats import find_caveats
from jaxreid.report.curves import draw_attacks, draw_runs
from jaxreid.report.examples import ExampleSet, example_sets
from jaxreid.report.feature_map import draw_feature_map
from jaxreid.report.findings import Finding, describe_findings
from jaxreid.report.groups import Group
from jaxreid.report.headlines import Headline, headline_of
from jaxreid.report.recognition import (
    Aimed,
    Checked,
    checked,
    impersonated,
    rates_of,
    thresholds_of,
    told_impersonations,
    told_verifications,
)
from jaxreid.report.roc import rocs_of
from jaxreid.report.runs import Run
from jaxreid.report.style import METRICS, protocol_title, style_of
from jaxreid.report.summary import RunSummary, Summary
from jaxreid.report.survival import WorstSection, worst_section
from jaxreid.report.tables import Comparison, Table, comparison, full_table
from jaxreid.report.training import TrainingLog, draw_training

__all__ = ["GroupSection", "Page", "RunSection", "compose"]

_MAPS = 4


@dataclass(frozen=True)
class GroupSection:
    """A group on the page.

    Attributes:
        title: of its panel.
        worst: its worst cases, or None.
        linear: curves.
        log: the same with logarithmic axes.
        sides: runs side by side, linear.
        sides_log: the same, logarithmic.
        comparison: the paper's table, or None.
        table: all results, or None.
        reranked: all results after re-ranking, or None.
    """

    title: str
    worst: WorstSection | None
    linear: list[Picture]
    log: list[Picture]
    sides: list[Picture]
    sides_log: list[Picture]
    comparison: Comparison | None
    table: Table | None
    reranked: Table | None


@dataclass(frozen=True)
class RunSection:
    """A run on the page.

    Attributes:
        label: of the run.
        folder: of the run.
        seeds: of its attacks.
        provenance: where it comes from.
        facts: heading -> name and value, of what the provenance lists.
        against: attack and budget of the breakdown, or "".
        breakdown: distribution, cameras, people.
        hardest: people who lose most.
        safest: people who keep most.
        maps: of features.
        examples: rank lists.
        audit: what an audit of the model found, or None.
        aimed: impersonations.
        aimed_told: sentences on them.
        checked: pairs of images that a threshold judges.
        checked_told: sentences on them.
        rocs: their curves.
    """

    label: str
    folder: str
    seeds: str
    provenance: Provenance
    facts: dict[str, list[tuple[str, str]]]
    against: str
    breakdown: list[Picture]
    hardest: list[PersonRow]
    safest: list[PersonRow]
    maps: list[Picture]
    examples: list[ExampleSet]
    audit: Audit | None
    aimed: list[Aimed]
    aimed_told: list[str]
    checked: list[Checked]
    checked_told: list[str]
    rocs: list[Picture]

    @property
    def rates(self) -> list[tuple[str, str]]:
        """False accept rates at which pairs were judged, and how a table names them."""
        return rates_of(self.checked)

    @property
    def chosen_on(self) -> str:
        """Whose clean pairs chose the thresholds, or ""."""
        return thresholds_of(self.checked)


@dataclass(frozen=True)
class Page:
    """What a page shows.

    Attributes:
        title: of the page.
        protocol: that sentences and figures use, as a report names it.
        headlines: one per run.
        findings: of runs, then of pairs of runs.
        caveats: sentences.
        groups: the fullest first.
        runs: in their order.
        training: curves.
        beyond: what else was measured.
    """

    title: str
    protocol: str
    headlines: list[Headline]
    findings: list[Finding]
    caveats: list[str]
    groups: list[GroupSection]
    runs: list[RunSection]
    training: list[Picture]
    beyond: list[Measurement]

    @property
    def pictures(self) -> list[Picture]:
        """All figures of the page."""
        found = []
        for group in self.groups:
            found += group.worst.pictures if group.worst else []
            found += [*group.linear, *group.log, *group.sides, *group.sides_log]
        for run in self.runs:
            found += [*run.breakdown, *run.maps, *run.rocs]
        return [*found, *(one.picture for one in self.beyond if one.picture), *self.training]


def compose(summary: Summary, logs: Sequence[TrainingLog], beyond: list[Measurement]) -> Page:
    """Computes what a report shows, with the curves of trainings where there are logs."""
    cards = {run.label: run.card for run in summary.runs}
    return Page(
        title=" · ".join(run.label for run in summary.runs),
        protocol=protocol_title(summary.groups[0].protocol),
        headlines=[
            headline_of(one, cards[label], impersonated(summary, label))
            for label, one in summary.by_run.items()
        ],
        findings=describe_findings(summary),
        caveats=find_caveats(summary),
        groups=[_group_section(group, number) for number, group in enumerate(summary.groups, 1)],
        runs=[_run_section(summary, run, number) for number, run in enumerate(summary.runs, 1)],
        training=draw_training(logs),
        beyond=beyond,
    )


def _group_section(group: Group, number: int) -> GroupSection:
    linear, sides = _group_pictures(group, number, log=False)
    log, sides_log = _group_pictures(group, number, log=True)
    return GroupSection(
        title=group.panel.title,
        worst=worst_section(group, number),
        linear=linear,
        log=log,
        sides=sides,
        sides_log=sides_log,
        comparison=comparison(group),
        table=full_table(group),
        reranked=full_table(group, reranked=True),
    )


def _group_pictures(group: Group, number: int, *, log: bool) -> tuple[list[Picture], list[Picture]]:
    """Curves run by run, and runs side by side; how much others' names gain is no curve of mAP."""
    if group.panel.goal != "evade":
        return [], []
    curves, sides = [], []
    end = f"-threat{number}" + ("-log" if log else "")
    for metric, title in METRICS.items():
        for index, label in enumerate(group.labels, 1):
            if group.of(label):
                name = f"{title.lower()}-run{index}{end}"
                curves.append(draw_attacks(group, label, metric, log=log, name=name))
        name = f"{title.lower()}-side-by-side{end}"
        side = draw_runs(group, metric, log=log, name=name)
        sides += [side] if side else []
    return curves, sides


def _run_section(summary: Summary, run: Run, number: int) -> RunSection:
    pair = _pair(run, summary.by_run.get(run.label))
    hardest, safest = hardest_and_safest(pair) if pair else ([], [])
    drawn: list[Picture] = []
    if pair:
        drawn = [
            draw_average_precisions(pair, f"average-precision-run{number}"),
            draw_cameras(pair, f"cameras-run{number}"),
            draw_people(pair, f"people-run{number}"),
        ]
    provenance = run.folder.provenance
    return RunSection(
        label=run.label,
        folder=str(run.folder.path),
        seeds=", ".join(map(str, sorted({r.condition.seed for r in run.results}))),
        provenance=provenance,
        facts=_facts(provenance),
        against=pair.name if pair else "",
        breakdown=drawn,
        hardest=hardest,
        safest=safest,
        maps=_maps(summary, run, number),
        examples=example_sets(run, summary),
        audit=audit_of(run),
        aimed=(aimed := impersonated(summary, run.label)),
        aimed_told=told_impersonations(aimed, summary.groups[0].eps or 0.0),
        checked=(pairs := checked(summary, run.label)),
        checked_told=told_verifications(pairs),
        rocs=rocs_of(run, pairs, f"verification-run{number}"),
    )


def _facts(provenance: Provenance) -> dict[str, list[tuple[str, str]]]:
    parts = {
        "Model": provenance.model,
        "Dataset": provenance.dataset,
        "Settings": provenance.settings,
        "Versions": provenance.versions,
    }
    return {
        heading: [(str(name), _plain(value)) for name, value in facts.items()]
        for heading, facts in parts.items()
        if facts
    }


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _pair(run: Run, found: RunSummary | None) -> Pair | None:
    """The queries of a run under the attack that is strongest against it."""
    worst = found.strongest if found else None
    if found is None or worst is None:
        return None
    panel = found.group.panel
    clean = run.folder.arrays_of(Condition(distance=panel.distance))
    attacked = run.folder.arrays_of(worst.point.results[0].condition)
    if not clean.is_file() or not attacked.is_file():
        return None
    return Pair.of(
        run.label,
        worst.style,
        f"{worst.name} at {panel.budget(worst.point.eps)}",
        clean=PerQuery.load(clean),
        attacked=PerQuery.load(attacked),
        protocol=found.group.protocol,
    )


def _maps(summary: Summary, run: Run, number: int) -> list[Picture]:
    drawn: list[Picture] = []
    for condition, panel in summary.stored(run.label, run.folder.map_of)[:_MAPS]:
        picture = draw_feature_map(
            FeatureMap.load(run.folder.map_of(condition)),
            run=run.label,
            attack=f"{style_of(condition).short} at {panel.budget(condition.eps)}",
            side=panel.side,
            name=f"features-run{number}-{len(drawn) + 1}",
        )
        drawn += [picture] if picture else []
    return drawn
