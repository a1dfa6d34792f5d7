"""Found as somebody else, and passed by a threshold: impersonation and verification of runs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from jaxreid.constants import Goal
from jaxreid.records import Condition, Impersonation, Result, Verification
from jaxreid.report.groups import Group
from jaxreid.report.runs import Curve, Point
from jaxreid.report.style import AttackStyle, attack_style, percent
from jaxreid.report.summary import Summary

__all__ = [
    "Aimed",
    "Checked",
    "checked",
    "impersonated",
    "rates_of",
    "thresholds_of",
    "told_impersonations",
    "told_verifications",
]

# Of the false accept rates of a threshold, the one that sentences tell of, where it is known.
_TOLD = "0.001"


@dataclass(frozen=True)
class Aimed:
    """Attackers who want to be found as somebody else.

    Attributes:
        name: of the attack, with whom they aim at.
        budget: such as "5/255".
        eps: budget in the unit of the norm.
        whom: "a random other person" or "person 17".
        figures: before and after the attack.
    """

    name: str
    budget: str
    eps: float
    whom: str
    figures: Impersonation


@dataclass(frozen=True)
class Checked:
    """Pairs of images that a threshold takes for one person or for two.

    Attributes:
        name: of the attack, or "clean images".
        budget: such as "5/255", or "".
        style: how it looks.
        goal: of the attacker; None on clean images.
        condition: of the result.
        figures: rates.
    """

    name: str
    budget: str
    style: AttackStyle
    goal: Goal | None
    condition: Condition
    figures: Verification


def impersonated(summary: Summary, label: str) -> list[Aimed]:
    """Every impersonation of a run, at every budget; of several seeds, the lowest."""
    found = []
    for group in summary.groups:
        for curve in group.of(label):
            for point in curve.points:
                for result in _first_with(point, "impersonation"):
                    target = result.condition.target
                    whom = f"person {target}" if target.isdecimal() else "a random other person"
                    figures = result.impersonation
                    assert figures is not None
                    budget = group.panel.budget(point.eps)
                    found.append(Aimed(curve.style.title, budget, point.eps, whom, figures))
    return found


def checked(summary: Summary, label: str) -> list[Checked]:
    """Clean pairs of a run, then those under each attack near the budget of comparison."""
    found = []
    for group in summary.groups:
        clean = group.clean.get(label)
        for result in _first_with(clean, "verification"):
            name, style = "clean images", attack_style("clean")
            figures = result.verification
            assert figures is not None
            found.append(Checked(name, "", style, None, result.condition, figures))
        for curve in _ranked(group, label):
            point = min(curve.points, key=lambda one: abs(one.eps - (group.eps or 0.0)))
            for result in _first_with(point, "verification"):
                figures = result.verification
                assert figures is not None
                condition, budget = result.condition, group.panel.budget(point.eps)
                row = Checked(curve.name, budget, curve.style, condition.goal, condition, figures)
                found.append(row)
    # Groups of one distance share their clean images; of those who aim, the most successful first.
    rows = {row.condition.key: row for row in found}.values()
    return sorted(rows, key=lambda row: _passing(row) if row.goal == "impersonate" else -2.0)


def _passing(row: Checked) -> float:
    """Less the more attackers pass, and never below -1."""
    passed = row.figures.passed_by
    return -max((passed[rate] for rate in _told(list(passed))), default=0.0)


def rates_of(rows: Sequence[Checked]) -> list[tuple[str, str]]:
    """False accept rates that any row knows, as recorded and in percent."""
    known = [rate for row in rows for rate in (*row.figures.accepted, *row.figures.accepted_by)]
    return [(rate, _as_percent(rate)) for rate in dict.fromkeys(known)]


def thresholds_of(rows: Sequence[Checked]) -> str:
    """Whose clean pairs chose the thresholds, or "" where no record tells."""
    return ", ".join(dict.fromkeys(r.figures.chosen_on for r in rows if r.figures.chosen_on))


def _first_with(point: Point | None, field: str) -> Iterator[Result]:
    """The result of the lowest seed that has a field, or none."""
    results = point.results if point else ()
    yield from [one for one in results if getattr(one, field) is not None][:1]


def _ranked(group: Group, label: str) -> list[Curve]:
    """The curves of a run: the worst case, then attacks, the strongest first, then others."""
    first = [outcome.curve for outcome in group.outcomes.get(label, ())]
    return [*first, *(curve for curve in group.of(label) if curve not in first)]


def told_impersonations(rows: Sequence[Aimed], eps: float) -> list[str]:
    """How often attackers are found as those they aim at, by the attack that is found most often.

    Args:
        rows: of a run.
        eps: budget to which the nearest is told.
    """
    ranked = sorted(rows, key=lambda one: (abs(one.eps - eps), -one.figures.first))
    best = [
        next(o for o in ranked if o.whom == whom) for whom in dict.fromkeys(r.whom for r in rows)
    ]
    return [
        f"Whoever wants to be found as {one.whom} comes first as that person in "
        f"{percent(one.figures.first)} of the searches at {one.budget}, and in "
        f"{percent(one.figures.first_before)} without an attack."
        for one in best
    ]


def told_verifications(rows: Sequence[Checked]) -> list[str]:
    """What attackers gain who aim at a threshold that was chosen on clean images."""
    clean, evading, aiming = (
        next((row for row in rows if row.goal == goal), None)
        for goal in (None, "evade", "impersonate")
    )
    told: list[str] = []
    if clean and evading:
        before, after = clean.figures.accepted_by, evading.figures.accepted_by
        told += [
            f"{_threshold(rate)}, {percent(before[rate])} of the pairs of one person pass clean, "
            f"and {percent(after[rate])} under attack ({evading.name} at {evading.budget})."
            for rate in _told([rate for rate in after if rate in before])
        ]
    if aiming:
        passed = aiming.figures.passed_by
        told += [
            f"{'By the same one' if told else _threshold(rate)}, {percent(passed[rate])} of the "
            f"pairs of an attacker at {aiming.budget} and the target pass."
            for rate in _told(list(passed))
        ]
    return told


def _threshold(rate: str) -> str:
    return f"By a threshold that lets {_as_percent(rate)} of the clean pairs of two people pass"


def _told(rates: list[str]) -> list[str]:
    """One of the false accept rates, or none where none is known."""
    return [_TOLD] if _TOLD in rates else rates[:1]


def _as_percent(rate: str) -> str:
    """A rate that is written as text, such as "0.001", in percent."""
    try:
        return f"{100 * float(rate):g}\u00a0%"
    except ValueError:
        return rate
