"""What else was measured of a model: black boxes, certificates, corruptions, ranks, defenses."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from jaxreid.constants import MAIN_PROTOCOL
from jaxreid.errors import InputError, reason_of
from jaxreid.records import (
    ADAPTIVE_FILE,
    BLACK_BOX_FILE,
    CERTIFICATE_FILE,
    CORRUPTIONS_FILE,
    ERS_FILE,
    AdaptiveAttack,
    AdaptiveAttacks,
    BlackBox,
    Certificate,
    CorruptionRecord,
    Detected,
    RankingAttacks,
    RunFolder,
    Score,
    ers,
)
from jaxreid.report.canvas import Picture
from jaxreid.report.certified import draw_certificate
from jaxreid.report.corruptions import draw_corruptions
from jaxreid.report.ers import draw_ers, told_climb, told_measure
from jaxreid.report.queries import success_by_queries
from jaxreid.report.style import label_of, percent
from jaxreid.report.wording import listed

__all__ = ["Measurement", "is_beyond", "measured_beyond"]

_PRECISION: Final = "mean_average_precision"
_WORST = 3  # corruptions that are named


@dataclass(frozen=True)
class Measurement:
    """Something that a run folder has beside results of attacks.

    Attributes:
        heading: what it is.
        label: of the run.
        told: sentences on it.
        picture: its figure; None where its sentences have few numbers.
        command: that makes it again.
    """

    heading: str
    label: str
    told: list[str]
    picture: Picture | None
    command: str


def is_beyond(path: Path) -> bool:
    """Whether a folder has such measurements, and nothing that `jaxreid evaluate` found."""
    try:
        has_results = (path / "results.jsonl").exists()
        return not has_results and any((path / name).exists() for name in _KINDS)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {reason_of(error)}") from None


def measured_beyond(paths: Sequence[Path]) -> list[Measurement]:
    """All measurements of some run folders, in their order.

    Args:
        paths: run folders.

    Returns:
        Measurements, as many as there are; names of their figures differ.

    Raises:
        InputError: a folder holds no run, or a damaged measurement.
    """
    return list(_each(dict.fromkeys(paths)))


def _each(paths: Mapping[Path, None]) -> Iterator[Measurement]:
    for number, path in enumerate(paths, 1):
        for name, measured in _KINDS.items():
            if (path / name).exists():
                yield measured(RunFolder.open(path), f"{Path(name).stem}-{number}")


def _black_box(run: RunFolder, name: str) -> Measurement:
    attacks = BlackBox.load(run.path).attacks
    sees = "scores too" if run.provenance.settings.get("sees") == "scores" else "nothing else"
    top = run.provenance.settings.get("top", "some")
    told = [f"The attacker sees the first {top} items of each list and {sees}."]
    for attack in attacks:
        first, *_, last = attack.rank1()
        told.append(
            f"{attack.attack} at {attack.eps:g}/255: rank-1 {percent(first)} of clean images, "
            f"{percent(last)} after {attack.checkpoints[-1]:,} images asked about a search."
        )
    return _measurement("Rank lists alone", run, told, success_by_queries(attacks, name))


def _certificate(run: RunFolder, name: str) -> Measurement:
    found = Certificate.load(run.path)
    told = [
        f"Smoothed by noise of deviation {found.sigma:g}, the model has {_both(found.clean)}; with "
        f"probability {found.confidence:g} the following holds for {found.queries:,} queries."
    ]
    told += [
        f"No change of a query of length {level.radius:g} (L2, pixel range) leaves less than "
        f"{_both(level.certified)}."
        for level in found.levels
    ]
    return _measurement("Certified", run, told, draw_certificate(found, name))


def _corruptions(run: RunFolder, name: str) -> Measurement:
    found = CorruptionRecord.load(run.path)
    left = {kind: found.of_kind(kind).mean(_PRECISION) for kind in found.names}
    worst = sorted(left, key=lambda kind: left[kind])[:_WORST]
    whose = {"both": "query and gallery"}.get(found.corrupted, found.corrupted)
    told = [
        f"Of {percent(found.clean[MAIN_PROTOCOL].mean_average_precision)} mAP, "
        f"{percent(found.mean(_PRECISION))} are left in the mean over {len(left)} corruptions of "
        f"the {whose} images. Least is left under "
        + listed([f"{kind.replace('_', ' ')} ({percent(left[kind])})" for kind in worst])
        + "."
    ]
    return _measurement("Corruptions", run, told, draw_corruptions(found, name))


def _ranking(run: RunFolder, name: str) -> Measurement:
    found, told = RankingAttacks.load(run.path).attacks, []
    climbs = {one.climb: [each for each in found if each.climb == one.climb] for one in found}
    for attacks in climbs.values():
        before, after = ers(attacks, attacked=False), ers(attacks)
        score = f"ERS {after:.1f}, of {before:.1f} before" if after and before else "No ERS yet"
        measures = [
            f"{one.attack} {what.removesuffix(', %')} {old} to {new}"
            for one in attacks
            for what, old, new in (told_measure(*each) for each in one.measured.items())
        ]
        told.append(f"{score}: {told_climb(attacks)}. {listed(measures)}.")
    drawn = draw_ers(list(climbs.values())[-1], label_of(run.provenance.title), name=name)
    return _measurement("Chosen items", run, told, drawn)


def _adaptive(run: RunFolder, name: str) -> Measurement:
    told = [_told_adaptive(attack) for attack in AdaptiveAttacks.load(run.path).attacks]
    return _measurement("What stands behind the network", run, told, None)


def _told_adaptive(attack: AdaptiveAttack) -> str:
    """What both attackers leave, or what a detector sees of them."""
    behind, budget = attack.climb.behind, f"{attack.climb.eps:g}/255"
    lefts = (attack.clean, attack.oblivious, attack.adaptive)
    if isinstance(behind, Detected):
        seen = [percent(left.alarms.raised) for left in lefts if left.alarms]
        lost = [percent(left.alarms.unnoticed) for left in lefts if left.alarms]
        return (
            f"A detector by {behind.defense} raises an alarm at {seen[0]} of clean queries. "
            f"Attacked in {budget} by who does not know of it, {seen[1]} raise one and {lost[1]} "
            f"are lost without; by who does, {seen[2]} and {lost[2]}."
        )
    left = [_both(each.reranked) for each in lefts if each.reranked]
    return (
        f"After re-ranking clean queries have {left[0]}. Attacked in {budget} by who does not "
        f"know of it, they have {left[1]}; by who does, {left[2]}."
    )


def _both(scores: dict[str, Score]) -> str:
    score = scores[MAIN_PROTOCOL]
    return f"{percent(score.mean_average_precision)} mAP and {percent(score.rank1)} rank-1"


def _measurement(
    heading: str, run: RunFolder, told: list[str], drawn: Picture | None
) -> Measurement:
    label = label_of(run.provenance.title) or label_of(run.path.resolve().name)
    return Measurement(heading, label, told, drawn, run.provenance.command)


_KINDS: Mapping[str, Callable[[RunFolder, str], Measurement]] = {
    BLACK_BOX_FILE: _black_box,
    CERTIFICATE_FILE: _certificate,
    CORRUPTIONS_FILE: _corruptions,
    ERS_FILE: _ranking,
    ADAPTIVE_FILE: _adaptive,
}
