"""The worst case in numbers: who survives it, what made it, and what knowledge buys."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxreid.constants import MAIN_PROTOCOL, Knowledge
from jaxreid.records import Member, Spread, WorstCase
from jaxreid.report.groups import Group, Outcome
from jaxreid.report.style import attack_style

__all__ = [
    "Knowing",
    "Lost",
    "MemberRow",
    "Members",
    "Survival",
    "WorstRow",
    "knowing",
    "member_rows",
    "survivals",
    "worst_rows",
]


@dataclass(frozen=True)
class Lost:
    """Searches that an ensemble took from the right person.

    Attributes:
        number: of the member, from 1, in the order in which they ran.
        name: of the member.
        share: of all searches with a match, that still found the right person first before this
            member ran, and not after.
    """

    number: int
    name: str
    share: float


@dataclass(frozen=True)
class Survival:
    """What became of the searches of a run; the shares add up to 1.

    Attributes:
        run: label of the run.
        name: of the ensemble, and its budget.
        survivors: share that finds the right person first whatever was tried.
        lost: members that took any.
        wrong: share that finds somebody else first on clean images already.
    """

    run: str
    name: str
    survivors: float
    lost: tuple[Lost, ...]
    wrong: float


@dataclass(frozen=True)
class WorstRow:
    """The worst case of a run in all the ways in which it is counted.

    Attributes:
        run: label of the run.
        name: of the ensemble, such as "worst-1".
        budget: such as "5/255".
        clean: mAP of clean images, or None.
        scores: mAP, rank-1, rank-5 and rank-10, each the worst over all images that were met.
        one_image: mAP of the one image per query that is kept, or None.
        eight_bit: mAP of the worst case of images rounded to 8 bits, or None.
        floor: mAP where all matches come last, or None.
        at_floor: attacked images whose search is there.
        attacked: images.
    """

    run: str
    name: str
    budget: str
    clean: Spread | None
    scores: list[Spread | None]
    one_image: float | None
    eight_bit: float | None
    floor: float | None
    at_floor: int
    attacked: int


@dataclass(frozen=True)
class MemberRow:
    """One member of an ensemble.

    Attributes:
        number: from 1, in the order in which they ran.
        name: of the attack.
        member: as recorded.
        won: share of the attacked images of which it made the one that is kept.
        won_first: share of which it made the one with the first match furthest down.
        passes: forward and backward passes per image that it ran on.
    """

    number: int
    name: str
    member: Member
    won: float
    won_first: float
    passes: float


@dataclass(frozen=True)
class Members:
    """The members of one ensemble against one run.

    Attributes:
        run: label of the run.
        name: of the ensemble, such as "worst-1".
        budget: such as "5/255".
        seed: of the random numbers.
        rows: in the order in which they ran.
        attacked: images.
        passes: per attacked image, all members together.
        seconds: all members together.
    """

    run: str
    name: str
    budget: str
    seed: int
    rows: list[MemberRow]
    attacked: int
    passes: float
    seconds: float


@dataclass(frozen=True)
class Knowing:
    """What is left of a run by what the attacker knows.

    Attributes:
        run: label of the run.
        attack: name of the strongest published attack, or "".
        published: mAP and rank-1 under it.
        by_knowledge: the same of ensembles that know the image alone, guides, and the gallery.
    """

    run: str
    attack: str
    published: list[Spread | None]
    by_knowledge: list[list[Spread | None]]


def _worst_cases(group: Group) -> list[tuple[str, Outcome, WorstCase]]:
    """Label, outcome and record of each run's worst case, in full where there is a quick one."""
    first = [(label, outcomes[0]) for label, outcomes in group.outcomes.items() if outcomes]
    return [(label, one, one.worst) for label, one in first if one.is_worst_case and one.worst]


def _named(group: Group, outcome: Outcome) -> str:
    return f"{outcome.name} at {group.panel.budget(outcome.point.eps)}"


def survivals(group: Group) -> list[Survival]:
    """What became of the searches of each run that has a worst case; rank-1 as members saw it."""
    found = []
    for label, outcome, worst in _worst_cases(group):
        clean = group.clean.get(label)
        before = clean.spread(MAIN_PROTOCOL, "rank1") if clean else None
        if before is None or not worst.members:
            continue
        left, lost = before.mean, []
        for number, member in enumerate(worst.members, 1):
            # Ties may be broken otherwise than on clean images; nobody is won back.
            share = max(0.0, left - member.rank1)
            left -= share
            if share:
                lost.append(Lost(number, attack_style(member.name).short, share))
        name = _named(group, outcome)
        found.append(Survival(label, name, left, tuple(lost), 1 - before.mean))
    return found


def worst_rows(group: Group) -> list[WorstRow]:
    """The worst case of each run, counted in all ways, by the group's protocol."""
    metrics, protocol = ("mean_average_precision", "rank1", "rank5", "rank10"), group.protocol
    rows = []
    for label, outcome, worst in _worst_cases(group):
        clean, point = group.clean.get(label), outcome.point
        one, rounded = worst.one_image.get(protocol), worst.eight_bit.get(protocol)
        rows.append(
            WorstRow(
                run=label,
                name=outcome.curve.attack,
                budget=group.panel.budget(point.eps),
                clean=clean.spread(protocol) if clean else None,
                scores=[point.spread(protocol, metric) for metric in metrics],
                one_image=one.mean_average_precision if one else None,
                eight_bit=rounded.mean_average_precision if rounded else None,
                floor=worst.floor.get(protocol),
                at_floor=worst.at_floor,
                attacked=point.results[0].attacked,
            )
        )
    return rows


def member_rows(group: Group) -> list[Members]:
    """What each member of each run's ensemble did; of several seeds, the lowest."""
    return [
        Members(
            run=label,
            name=outcome.curve.attack,
            budget=group.panel.budget(outcome.point.eps),
            seed=outcome.point.results[0].condition.seed,
            rows=_rows(worst.members, attacked := max(1, outcome.point.results[0].attacked)),
            attacked=attacked,
            passes=sum(member.passes for member in worst.members) / attacked,
            seconds=sum(member.seconds for member in worst.members),
        )
        for label, outcome, worst in _worst_cases(group)
    ]


def _rows(members: Sequence[Member], attacked: int) -> list[MemberRow]:
    return [
        MemberRow(
            number=number,
            name=attack_style(member.name).short,
            member=member,
            won=member.won / attacked,
            won_first=member.won_first / attacked,
            passes=member.passes / member.images if member.images else 0.0,
        )
        for number, member in enumerate(members, 1)
    ]


def knowing(group: Group) -> list[Knowing]:
    """What knowledge buys, of runs that an ensemble attacked without knowing the gallery."""
    rows = []
    for label, outcomes in group.outcomes.items():
        ensembles: dict[Knowledge, Outcome] = {}
        for outcome in outcomes:
            if outcome.curve.condition.is_ensemble:
                ensembles.setdefault(outcome.curve.condition.knowledge, outcome)
        if not ensembles.keys() - {"gallery"}:
            continue
        published = next((one for one in outcomes if one.is_published), None)
        kinds: tuple[Knowledge, ...] = ("self", "guides", "gallery")
        by_knowledge = [_both(group, ensembles.get(kind)) for kind in kinds]
        name = published.name if published else ""
        rows.append(Knowing(label, name, _both(group, published), by_knowledge))
    return rows


def _both(group: Group, outcome: Outcome | None) -> list[Spread | None]:
    metrics = ("mean_average_precision", "rank1")
    if outcome is None:
        return [None, None]
    return [outcome.point.spread(group.protocol, metric) for metric in metrics]
