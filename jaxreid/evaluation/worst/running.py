"""The worst case of a retrieval test: a fixed ensemble of attacks, and the worst that any met."""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxreid.constants import MAIN_PROTOCOL
from jaxreid.errors import InputError
from jaxreid.evaluation.grid import canonical
from jaxreid.evaluation.guidance import Targets
from jaxreid.evaluation.retrieval import RetrievalTest
from jaxreid.evaluation.scoring import Scored
from jaxreid.evaluation.timing import stopwatch
from jaxreid.evaluation.worst.attacker import attacker_of
from jaxreid.evaluation.worst.best import BY_PRECISION, BY_RANK, Best, Offer
from jaxreid.evaluation.worst.members import MemberSpec, members_of, reporting
from jaxreid.evaluation.worst.outcome import Extremes, Ranking, in_eight_bits
from jaxreid.evaluation.worst.searching import Found, Setting, found_by
from jaxreid.evaluation.worst.state import State, StateFiles, gallery_features, keep_gallery
from jaxreid.records import Condition, Member, WorstCase
from jaxreid.types import Embedded

__all__ = ["Worst", "worst_case"]


class Worst(NamedTuple):
    """What an ensemble found.

    Attributes:
        scored: worst-case scores, also per query; re-ranked scores are of the one image.
        worst: how they came about.
        targets: the T images attacked.
        sets: queries and gallery with the features of the one image.
        kind: which of two images that is: 0, of least average precision, or 1, by rank, for who
            wants to be found as somebody else. Who knows guides alone chooses both by his own
            ranking of these: the gallery has no say in what he shows.
        images: float32 [2,T,H,W,3] in [0, 1]: the one of least average precision, and the one whose
            first match stands furthest down; zeros where `changed` is False.
        features: [2,T,D], theirs.
        changed: boolean [2,T]; where False the clean image is the worst.
        largest_change: of a pixel, in 1/255.
        nonfinite: boolean [T], whether a gradient held NaN or infinity.
        zero: boolean [T], whether every attack that ran met a gradient of zero.
        seconds: of all members, also of those that an earlier run did.
    """

    scored: Scored
    worst: WorstCase
    targets: Targets
    sets: tuple[Embedded, Embedded]
    kind: int
    images: np.ndarray
    features: np.ndarray
    changed: np.ndarray
    largest_change: float
    nonfinite: np.ndarray
    zero: np.ndarray
    seconds: float

    def pictures(self) -> dict[int, np.ndarray]:
        """The one image of each that is not the clean one.

        Returns:
            Position in the split -> float32 [H,W,3] in [0, 1].
        """
        rows, images = np.flatnonzero(self.changed[self.kind]), self.images[self.kind]
        return {int(self.targets.indices[row]): images[row] for row in rows}


def worst_case(
    test: RetrievalTest,
    condition: Condition,
    *,
    specs: Sequence[MemberSpec] | None = None,
    folder: Path | None = None,
    progress: Callable[[int], None] | None = None,
    on_member: Callable[[Member], None] | None = None,
) -> Worst:
    """Runs an ensemble of attacks and keeps the worst of every image that any of them met.

    Per query ``AP* = min_x AP(x)`` and ``R* = max_x rank of the first match``, over the clean
    image, noise, every iterate of every ascent, and the published attacks, so that the result is
    never above any of these; the quick ensemble does without them, and an attack may find a later
    rank than it does. Cheap attacks come first, and later ones run on images that have something to
    lose: whose first item is still a match, or whose average precision is more than 0.01 above the
    floor, where all matches come last. After Croce and Hein, "Reliable Evaluation of Adversarial
    Robustness with an Ensemble of Diverse Parameter-free Attacks", ICML 2020,
    https://arxiv.org/abs/2003.01690, for rankings. Ties are counted against the matches, in clean
    and in attacked rankings alike. Which iterate is kept is decided inside the program; what is
    reported is ranked anew from the images that were kept. With several processes, each must call
    this alike.

    Args:
        test: the retrieval test.
        condition: an ensemble (`jaxreid.constants.ENSEMBLES`), its budget, norm, side, knowledge,
            distance and seed; nothing else matters.
        specs: attacks of your own in place of the ensemble's; what they leave does not compare with
            figures of its name.
        folder: of a run; after each attack its state is written there, and an interrupted ensemble
            goes on from it. None to keep nothing.
        progress: called with the work done, of `amount_of_work`.
        on_member: called after each attack.

    Returns:
        Worst.

    Raises:
        InputError: a condition that is no ensemble, images that cannot be decoded, features that
            are no finite [B,D] array.
        OSError: the folder cannot be written.
    """
    condition = canonical(condition)
    if not condition.is_ensemble:
        raise InputError(f"{condition.attack} is no ensemble: a single attack has one result")
    gallery = _attacked_gallery(test, condition, folder) if condition.attacked_gallery else None
    targets = test.targets(condition)
    attacker = attacker_of(test, condition, targets, gallery)
    setting = Setting(test, condition, targets, attacker)
    ranking = Ranking(setting, gallery)
    if specs is None:
        specs = members_of(condition)
    specs = tuple(specs) if condition.eps > 0 else ()
    state, files = _fresh(setting, ranking), StateFiles(folder, condition, specs)
    files.read(state)
    report = reporting(progress, specs, len(targets.indices))
    # Before the first program compiles, which takes longer than many a member.
    report(len(state.members), 0, 1)
    for one in specs[len(state.members) :]:
        _run(setting, ranking, state, one, partial(report, len(state.members)))
        files.write(state)
        report(len(state.members), 0, 1)
        if on_member is not None:
            on_member(state.members[-1])
    outcome = _outcome(setting, ranking, state)
    if folder is not None and condition.side == "gallery":
        keep_gallery(folder, condition, outcome.features[BY_PRECISION])
    return outcome


def _attacked_gallery(test: RetrievalTest, condition: Condition, folder: Path | None) -> Embedded:
    """What an ensemble of the same name leaves of the gallery, from its file or computed."""
    other = canonical(dataclasses.replace(condition, side="gallery", attacked_gallery=False))
    targets = test.targets(other)
    features = gallery_features(folder, other, np.asarray(targets.clean))
    if features is None:
        features = worst_case(test, other, folder=folder).features[BY_PRECISION]
    return test.sets(other, (targets.indices, features))[1]


def _fresh(setting: Setting, ranking: Ranking) -> State:
    """Clean images: nothing was met yet."""
    test, _, targets, attacker = setting
    size, clean = test.loader.size, np.asarray(targets.clean)
    reported = Best(clean, attacker.reported_scores(clean), size, sign=attacker.sign)
    known = reported
    if not attacker.shares and attacker.climbs:
        known = Best(clean, attacker.known_scores(clean), size, sign=attacker.sign)
    count = len(clean)
    return State(
        known=known,
        reported=reported,
        extremes=Extremes(ranking.clean.per_query),
        members=[],
        climbed=np.zeros(count, np.int32),
        flat=np.zeros(count, np.int32),
        nonfinite=np.zeros(count, bool),
    )


def _rows_of(setting: Setting, state: State, one: MemberSpec) -> np.ndarray:
    """Whom a member attacks, int64 [n]."""
    _, condition, targets, attacker = setting
    everyone = not attacker.shares and one.metric == "all"
    # A gallery that is compared with a published attack's has to be attacked as a whole.
    if everyone or (one.kind == "published" and condition.side == "gallery"):
        return np.arange(len(targets.indices))
    return np.flatnonzero(attacker.left(one.metric, state.known.extremes()))


def _run(
    setting: Setting,
    ranking: Ranking,
    state: State,
    one: MemberSpec,
    report: Callable[[int, int], None],
) -> None:
    """Runs a member and takes over what it found."""
    rows = _rows_of(setting, state, one)
    with stopwatch() as watch:
        if len(rows):
            found = found_by(setting, one, rows, state.known, lambda done: report(done, len(rows)))
            _take(setting, ranking, state, one, found)
        seconds, _ = watch.read()
    precision, rank1 = _so_far(setting, ranking, state)
    state.members.append(
        Member(
            name=one.name,
            images=len(rows),
            won=0,
            won_first=0,
            mean_average_precision=precision,
            rank1=rank1,
            passes=one.passes * len(rows),
            seconds=seconds,
        )
    )


def _so_far(setting: Setting, ranking: Ranking, state: State) -> tuple[float, float]:
    """Mean average precision and rank-1 of what was met until now, of who is looked for."""
    if not setting.attacker.evades:
        met = state.reported.extremes()
        return float(met.precision[MAIN_PROTOCOL].mean()), float((met.first_rank == 1).mean())
    scores = state.extremes.scores(ranking.clean.scores)[MAIN_PROTOCOL]
    return scores.mean_average_precision, scores.rank1


def _take(setting: Setting, ranking: Ranking, state: State, one: MemberSpec, found: Found) -> None:
    """Ranks what a member found, and keeps what is worse than all before."""
    _, condition, targets, attacker = setting
    number, rows = len(state.members), found.rows
    for images, features in zip(found.images, found.features, strict=True):
        whole = np.array(targets.clean)
        whole[rows] = features
        judged = attacker.reported_scores(whole)
        state.reported.offer(Offer(rows, images, features, judged.rows(rows)), number)
        if state.known is not state.reported:
            known = attacker.known_scores(whole)
            state.known.offer(Offer(rows, images, features, known.rows(rows)), number)
        if condition.side == "gallery" and len(rows) == len(whole):
            # A gallery that somebody may have put there, as a whole.
            state.extremes.lower(ranking.scored(whole).per_query)
    if attacker.evades and condition.side == "query":
        state.extremes.put(ranking.rows, state.reported)
    elif attacker.evades:
        for kind in (BY_PRECISION, BY_RANK):
            state.extremes.lower(ranking.scored(state.reported.features[kind]).per_query)
    state.nonfinite[rows] |= found.nonfinite > 0
    if one.kind in ("published", "ascent"):
        state.climbed[rows] += 1
        state.flat[rows] += found.zero > 0


def _outcome(setting: Setting, ranking: Ranking, state: State) -> Worst:
    """Ranks the images that were kept once more, as they are and rounded to 8 bits."""
    _, condition, targets, attacker = setting
    best, kept, extremes = state.reported, state.known, state.extremes
    shown = ranking.scored(kept.features[attacker.kind], rerank=True)
    first = best.first_rank
    if not attacker.evades:
        # To be found as somebody else takes one image, and nobody chooses it by what he cannot see;
        # and who is in the image was not what the attack was about.
        best, first = kept, attacker.reported_scores(kept.features[attacker.kind]).first_rank
        extremes = Extremes(shown.per_query)
    scores = extremes.scores(shown.scores)
    eight_bit, change = in_eight_bits(setting, ranking, best)
    at_floor = attacker.matched & ~attacker.left("precision", state.known.extremes())
    return Worst(
        scored=Scored(scores, shown.reranked, extremes.per_query()),
        worst=WorstCase(
            members=_with_wins(state.members, best),
            one_image=shown.scores,
            eight_bit=scores if condition.eight_bit else eight_bit,
            floor=ranking.floor(),
            at_floor=int(at_floor.sum()),
            survivors=int(((first == 1) == attacker.evades).sum()),
        ),
        targets=targets,
        sets=ranking.sets(kept.features[attacker.kind]),
        kind=attacker.kind,
        images=kept.images,
        features=kept.features,
        changed=kept.winner >= 0,
        largest_change=change,
        nonfinite=state.nonfinite,
        zero=(state.climbed > 0) & (state.flat == state.climbed),
        seconds=sum(member.seconds for member in state.members),
    )


def _with_wins(members: Sequence[Member], best: Best) -> tuple[Member, ...]:
    """The members, with how many of the images that are kept each one made."""
    won, won_first = (
        [int((best.winner[kind] == number).sum()) for number in range(len(members))]
        for kind in (BY_PRECISION, BY_RANK)
    )
    return tuple(
        dataclasses.replace(member, won=first, won_first=second)
        for member, first, second in zip(members, won, won_first, strict=True)
    )
