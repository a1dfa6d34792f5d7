"""The worst case of a retrieval test: a fixed ensemble of attacks, and the worst that any met."""

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxreid.errors import InputError
from jaxreid.evaluation.grid import canonical
from jaxreid.evaluation.guidance import Targets
from jaxreid.evaluation.retrieval import RetrievalTest
from jaxreid.evaluation.scoring import Scored
from jaxreid.evaluation.timing import stopwatch
from jaxreid.evaluation.worst.aims import aim_of
from jaxreid.evaluation.worst.best import BY_PRECISION, BY_RANK, Best, Offer
from jaxreid.evaluation.worst.galleries import gallery_features, keep_gallery
from jaxreid.evaluation.worst.outcome import Extremes, Ranking
from jaxreid.evaluation.worst.posing import posing
from jaxreid.evaluation.worst.rounds import Round, rounds_of
from jaxreid.evaluation.worst.searching import Found, Search, finished, found_by
from jaxreid.evaluation.worst.state import Diary, State
from jaxreid.evaluation.worst.work import reporting
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
            wants to be found as somebody else.
        images: float32 [2,T,H,W,3] in [0, 1]: the one of least average precision, and the one whose
            first match stands furthest down; zeros where `changed` is False.
        features: [2,T,D], theirs.
        changed: boolean [2,T]; where False the clean image is the worst.
        largest_change: of a pixel, in 1/255.
        nonfinite: boolean [T], whether a gradient held NaN or infinity.
        zero: boolean [T], whether every attack that ran met a gradient of zero.
        seconds: of all rounds, also of those that an earlier run did.
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
    folder: Path | None = None,
    progress: Callable[[int], None] | None = None,
    on_member: Callable[[Member], None] | None = None,
) -> Worst:
    """Runs an ensemble of attacks and keeps the worst of every image that any of them met.

    Per query ``AP* = min_x AP(x)`` and ``R* = max_x rank of the first match``, over the clean
    image, noise, every iterate of every ascent, and the published attacks, so that the result is
    never above any of these. Cheap attacks come first, and later ones run on images that have
    something to lose: whose first item is still a match, or whose average precision is more than
    0.01 above the floor, where all matches come last. After Croce and Hein, "Reliable Evaluation of
    Adversarial Robustness with an Ensemble of Diverse Parameter-free Attacks", ICML 2020,
    https://arxiv.org/abs/2003.01690, for rankings. Ties are counted against the matches, in clean
    and in attacked rankings alike. Which iterate is kept is decided inside the program; what is
    reported is ranked anew from the images that were kept. With several processes, each must call
    this alike.

    Args:
        test: the retrieval test.
        condition: an ensemble (`jaxreid.constants.ENSEMBLES`), its budget, norm, side, knowledge,
            distance and seed; nothing else matters.
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
    poses = condition.goal == "impersonate"
    aim = posing(test, condition, targets) if poses else aim_of(test, condition, targets, gallery)
    search = Search(test, condition, targets, aim)
    ranking = Ranking(search, gallery)
    rounds = rounds_of(condition) if condition.eps > 0 else ()
    state, diary = _fresh(search, ranking), Diary(folder, condition, rounds)
    diary.read(state)
    report = reporting(progress, rounds, len(targets.indices))
    # Before the first program compiles, which takes longer than many a round.
    report(len(state.members), 0, 1)
    for one in rounds[len(state.members) :]:
        _run(search, ranking, state, one, partial(report, len(state.members)))
        diary.write(state)
        report(len(state.members), 0, 1)
        if on_member is not None:
            on_member(state.members[-1])
    outcome = _outcome(search, ranking, state)
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


def _fresh(search: Search, ranking: Ranking) -> State:
    """Clean images: nothing was met yet."""
    test, _, targets, aim = search
    size, clean = test.loader.size, np.asarray(targets.clean)
    worst = Best(clean, aim.judged(clean), size, sign=aim.sign)
    lead = worst
    if not aim.shares and aim.climbs:
        lead = Best(clean, aim.known(clean), size, sign=aim.sign)
    count = len(clean)
    return State(
        lead=lead,
        worst=worst,
        extremes=Extremes(ranking.clean.per_query),
        members=[],
        climbed=np.zeros(count, np.int32),
        flat=np.zeros(count, np.int32),
        nonfinite=np.zeros(count, bool),
    )


def _rows_of(search: Search, state: State, one: Round) -> np.ndarray:
    """Who is attacked in a round, int64 [n]."""
    _, condition, targets, aim = search
    everyone = not aim.shares and one.goal == "all"
    # A gallery that is compared with a published attack's has to be attacked as a whole.
    if everyone or (one.kind == "published" and condition.side == "gallery"):
        return np.arange(len(targets.indices))
    return np.flatnonzero(aim.left(one.goal, state.lead.extremes()))


def _run(
    search: Search,
    ranking: Ranking,
    state: State,
    one: Round,
    report: Callable[[int, int], None],
) -> None:
    """Runs a round and takes over what it found."""
    rows = _rows_of(search, state, one)
    with stopwatch() as watch:
        if len(rows):
            found = found_by(search, one, rows, state.lead, lambda done: report(done, len(rows)))
            _take(search, ranking, state, one, found)
        seconds, _ = watch.read()
    precision, rank1 = _so_far(search, ranking, state)
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


def _so_far(search: Search, ranking: Ranking, state: State) -> tuple[float, float]:
    """Mean average precision and rank-1 of what was met until now, of who is looked for."""
    if not search.aim.about_owner:
        met = state.worst.extremes()
        return float(met.precision["market1501"].mean()), float((met.first_rank == 1).mean())
    scores = state.extremes.scores(ranking.clean.scores)["market1501"]
    return scores.mean_average_precision, scores.rank1


def _take(search: Search, ranking: Ranking, state: State, one: Round, found: Found) -> None:
    """Ranks what a round found, and keeps what is worse than all before."""
    _, condition, targets, aim = search
    number, rows = len(state.members), found.rows
    for images, features in zip(found.images, found.features, strict=True):
        whole = np.array(targets.clean)
        whole[rows] = features
        judged = aim.judged(whole)
        state.worst.offer(Offer(rows, images, features, judged.rows(rows)), number)
        if state.lead is not state.worst:
            known = aim.known(whole)
            state.lead.offer(Offer(rows, images, features, known.rows(rows)), number)
        if condition.side == "gallery" and len(rows) == len(whole):
            # A gallery that somebody may have put there, as a whole.
            state.extremes.lower(ranking.scored(whole).per_query)
    if not aim.about_owner:
        pass
    elif condition.side == "query":
        state.extremes.put(ranking.rows, state.worst)
    else:
        for kind in (BY_PRECISION, BY_RANK):
            state.extremes.lower(ranking.scored(state.worst.features[kind]).per_query)
    state.nonfinite[rows] |= found.nonfinite > 0
    if one.kind in ("published", "ascent"):
        state.climbed[rows] += 1
        state.flat[rows] += found.zero > 0


def _outcome(search: Search, ranking: Ranking, state: State) -> Worst:
    """Ranks the images that were kept once more, as they are and rounded to 8 bits."""
    _, condition, targets, aim = search
    best = state.worst
    one = ranking.scored(best.features[aim.kind], rerank=True)
    rounded, change = finished(search, best)
    in_levels = Extremes(ranking.clean.per_query)
    levels = [ranking.scored(features) for features in rounded]
    for scored in levels:
        in_levels.lower(scored.per_query)
    if not aim.about_owner:
        state.extremes, in_levels = Extremes(one.per_query), Extremes(levels[aim.kind].per_query)
    scores = state.extremes.scores(one.scores)
    near = state.lead.extremes()
    return Worst(
        scored=Scored(scores, one.reranked, state.extremes.per_query()),
        worst=WorstCase(
            members=tuple(
                dataclasses.replace(
                    member,
                    won=int((best.winner[BY_PRECISION] == number).sum()),
                    won_first=int((best.winner[BY_RANK] == number).sum()),
                )
                for number, member in enumerate(state.members)
            ),
            one_image=one.scores,
            eight_bit=scores if condition.eight_bit else in_levels.scores(levels[aim.kind].scores),
            floor=ranking.floor(),
            at_floor=int((aim.matched & ~aim.left("precision", near)).sum()),
            survivors=int(((best.first_rank == 1) == aim.about_owner).sum()),
        ),
        targets=targets,
        sets=ranking.sets(best.features[aim.kind]),
        kind=aim.kind,
        images=best.images,
        features=best.features,
        changed=best.winner >= 0,
        largest_change=float(change.max(initial=0)),
        nonfinite=state.nonfinite,
        zero=(state.climbed > 0) & (state.flat == state.climbed),
        seconds=sum(member.seconds for member in state.members),
    )
