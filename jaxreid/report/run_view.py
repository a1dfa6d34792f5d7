"""One run as a page shows it: who was hit, where features went, where the figures come from."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jaxreid.records import Condition, FeatureMap, PerQuery, Provenance
from jaxreid.report import figures
from jaxreid.report.examples import ExampleSet, example_sets
from jaxreid.report.figures import Picture
from jaxreid.report.figures.breakdown import Pair, means_by
from jaxreid.report.grouping import Group
from jaxreid.report.runs import Run
from jaxreid.report.stored import stored_conditions
from jaxreid.report.strikes import Strike, main_protocol, strikes
from jaxreid.report.style import attack_style

__all__ = ["PersonRow", "RunView", "run_view"]

_MAPS = 4


@dataclass(frozen=True)
class PersonRow:
    """One person under attack.

    Attributes:
        identity: number.
        queries: that have a match.
        before: mean average precision on clean images, in [0, 1].
        after: under attack.
    """

    identity: int
    queries: int
    before: float
    after: float


@dataclass(frozen=True)
class RunView:
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


def run_view(run: Run, groups: Sequence[Group], number: int) -> RunView:
    """Computes what a page shows of a run.

    Args:
        run: with or without arrays on disk.
        groups: of all runs, the fullest first.
        number: 1 for the first run; part of the names of its figures.

    Returns:
        The view.

    Raises:
        InputError: arrays of the run are damaged.
    """
    struck = _struck(run, groups)
    pair = _pair(run, *struck) if struck else None
    hardest, safest = _people(pair) if pair else ([], [])
    drawn: list[Picture] = []
    if pair:
        drawn = [
            figures.average_precisions(pair, f"average-precision-run{number}"),
            figures.cameras(pair, f"cameras-run{number}"),
            figures.people(pair, f"people-run{number}"),
        ]
    provenance = run.folder.provenance
    return RunView(
        label=run.label,
        folder=str(run.folder.path),
        seeds=", ".join(map(str, sorted({r.condition.seed for r in run.results}))),
        provenance=provenance,
        facts={
            heading: [(str(name), _plain(value)) for name, value in facts.items()]
            for heading, facts in (
                ("Model", provenance.model),
                ("Dataset", provenance.dataset),
                ("Settings", provenance.settings),
                ("Versions", provenance.versions),
            )
            if facts
        },
        against=pair.name if pair else "",
        breakdown=drawn,
        hardest=hardest,
        safest=safest,
        maps=_maps(run, groups, number),
        examples=example_sets(run, groups),
    )


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _struck(run: Run, groups: Sequence[Group]) -> tuple[Group, Strike] | None:
    """The strongest attack of the fullest panel that has one on queries."""
    for group in groups:
        for strike in strikes(group, run.label):
            return group, strike
    return None


def _pair(run: Run, group: Group, strike: Strike) -> Pair | None:
    clean = run.folder.arrays_of(Condition(distance=group.panel.distance))  # type: ignore[arg-type]
    attacked = run.folder.arrays_of(strike.point.results[0].condition)
    protocol = main_protocol(group)
    if protocol is None or not clean.is_file() or not attacked.is_file():
        return None
    return Pair.of(
        run.label,
        strike.style,
        f"{strike.name} at {group.panel.budget(strike.point.eps)}",
        clean=PerQuery.load(clean),
        attacked=PerQuery.load(attacked),
        protocol=protocol,
    )


def _people(pair: Pair) -> tuple[list[PersonRow], list[PersonRow]]:
    """Five who lose most, and five others who keep most."""
    identities, before, counts = means_by(pair.identities, pair.before)
    _, after, _ = means_by(pair.identities, pair.after)
    rows = [
        PersonRow(int(i), int(n), float(b), float(a))
        for i, n, b, a in zip(identities, counts, before, after, strict=True)
    ]
    hardest = [rows[i] for i in np.argsort(after - before, kind="stable")[:5]]
    others = [row for row in rows if row not in hardest]
    return hardest, sorted(others, key=lambda row: -row.after)[:5]


def _maps(run: Run, groups: Sequence[Group], number: int) -> list[Picture]:
    drawn: list[Picture] = []
    for condition, panel in stored_conditions(run.label, groups, run.folder.map_of)[:_MAPS]:
        picture = figures.feature_map(
            FeatureMap.load(run.folder.map_of(condition)),
            run.label,
            f"{attack_style(condition.attack).short} at {panel.budget(condition.eps)}",
            panel.side,
            f"features-run{number}-{len(drawn) + 1}",
        )
        drawn += [picture] if picture else []
    return drawn
