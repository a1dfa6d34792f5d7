"""How much of a retrieval test an attack leaves: condition by condition, written as it is known."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils

from jaxreid.attacks import ATTACKS
from jaxreid.budgets import exact
from jaxreid.data.read.source import ReidSource
from jaxreid.errors import InputError
from jaxreid.evaluation.album import Album
from jaxreid.evaluation.attacking import Reading, attacked_batches
from jaxreid.evaluation.conditions import canonical, strongest
from jaxreid.evaluation.exhibits import example_queries, examples_of, feature_map, first_items
from jaxreid.evaluation.extract import extract, features_of_rows, refuse_nonfinite
from jaxreid.evaluation.guidance import Guidance, Targets, select_guides
from jaxreid.evaluation.holding import held_by_run
from jaxreid.evaluation.matches import Cameras
from jaxreid.evaluation.retrieval import Progress, RetrievalTest
from jaxreid.evaluation.rows import as_pytree, gathered, mesh_of, on_every_device, over_rows
from jaxreid.evaluation.scoring import Scored
from jaxreid.evaluation.stopwatch import Stopwatch, stopwatch
from jaxreid.evaluation.stored_images import StoredImages
from jaxreid.evaluation.subsets import Subset
from jaxreid.ranking import KReciprocal
from jaxreid.records import Condition, Examples, FeatureMap, Result, RunFolder
from jaxreid.types import Embed

__all__ = ["robustness"]


def robustness(
    embed: Embed,
    query: ReidSource,
    gallery: ReidSource,
    conditions: Sequence[Condition],
    *,
    reading: Reading,
    run: RunFolder | None = None,
    limit: int | None = None,
    rerank: KReciprocal | None = None,
    cameras: Cameras = "differ",
    examples: int = 6,
    stored: StoredImages | None = None,
    progress: Progress | None = None,
    on_result: Callable[[Result], None] | None = None,
) -> list[Result]:
    """Attacks a retrieval test and ranks what comes out, for every condition in turn.

    Clean features are extracted once. Each result is written as soon as it is known, and one that
    the folder holds already is not computed again, so an interrupted sweep goes on where it was.
    Attacks see the gradient of the embedding that is ranked; images of identity 0 (distractors)
    and -1 (junk) are never attacked, and nobody guides itself. At eps 0, and for an image without
    any guide, the clean features stand, bit by bit. All devices of all processes share every
    batch; with several processes each must call this alike, and the first one writes.

    Args:
        embed: images [B,H,W,3] float32 in [0, 1] -> features [B,D]; row i depends on image i only.
        query: the query split.
        gallery: the gallery split.
        conditions: from `conditions`, or your own; their seeds, eps and steps may differ freely.
        reading: size of the images, batches and devices.
        run: where to write; None to return the results only.
        limit: how many queries to rank (and attack), evenly spaced; the others still guide.
        rerank: settings of k-reciprocal re-ranking, beside the plain ranking.
        cameras: "differ" for matches that another camera took; "ignore" for images without camera
            labels, where only the query's own image is no match.
        examples: queries to show of the strongest budget of each attack; 0 for none.
        stored: adversarial images to rank in place of attacking; the conditions beside the clean
            one must be that of their manifest.
        progress: called with ("clean features" or "attacks", images done, images in all).
        on_result: called with each new result.

    Returns:
        One Result per condition, in their order, each condition once.

    Raises:
        InputError: bad conditions, empty splits, no query with a match, images that cannot be
            decoded, features that are no finite [B,D] array.
        OSError: the folder cannot be written any more, as on a full disk; what it lists is
            complete, and the same call goes on from there.
    """
    if examples < 0:
        raise InputError(f"examples must be at least 0, got {examples}")
    wanted = _each_once(conditions, stored)
    test = RetrievalTest(
        embed,
        query,
        gallery,
        reading=reading,
        limit=limit,
        rerank=rerank,
        cameras=cameras,
        progress=progress,
    )
    test.refuse_matchless()
    with held_by_run(run.path) if run is not None else contextlib.nullcontext():
        # Not before: whoever had the folder may have added to it.
        known = {r.condition: r for r in run.results()} if run is not None else {}
        damaged = set(run.damaged()) & set(wanted) if run is not None else set()
        for condition in damaged:
            known.pop(condition, None)
        todo = _missing(wanted, known)
        pictured = {*strongest(wanted), *damaged} if examples else set()
        sweep = _Sweep(test, stored, _Meter(test, todo, progress))
        for condition in todo:
            done = _evaluated(sweep, condition, examples if condition in pictured else 0)
            if run is not None and jax.process_index() == 0:
                _write(run, condition, done)
            known[condition] = done.result
            if on_result is not None:
                on_result(done.result)
    return [known[condition] for condition in wanted if condition in known]


def _is_clean(condition: Condition) -> bool:
    return condition.attack == "clean"


def _each_once(conditions: Sequence[Condition], stored: StoredImages | None) -> list[Condition]:
    """The conditions in their one form; refused where the stored images are of another one."""
    wanted = list(dict.fromkeys(canonical(condition) for condition in conditions))
    for condition in wanted:
        if stored is not None and not _is_clean(condition) and condition != stored.condition:
            raise InputError(f"the stored images are of {stored.condition.key} and nothing else")
    return wanted


def _missing(wanted: list[Condition], known: dict[Condition, Result]) -> list[Condition]:
    """What is left to do, as the first process sees it: the others may not see its folder."""
    missing = np.array([condition not in known for condition in wanted], bool)
    if jax.process_count() > 1:
        missing = np.asarray(multihost_utils.broadcast_one_to_all(missing))
    return [condition for condition, left in zip(wanted, missing, strict=True) if left]


class _Meter:
    """Progress over a whole sweep, in images attacked."""

    def __init__(
        self, test: RetrievalTest, todo: Sequence[Condition], progress: Progress | None
    ) -> None:
        self._progress, self._before = progress, 0
        self._images = {c: _images(test, c) for c in todo}
        self._total = sum(self._images.values())

    def within(self, done: int) -> None:
        """Images of the current condition that are done."""
        if self._progress is not None and self._total:
            self._progress("attacks", self._before + done, self._total)

    def finish(self, condition: Condition) -> None:
        """The current condition is done."""
        self._before += self._images[condition]
        self.within(0)


def _images(test: RetrievalTest, condition: Condition) -> int:
    if condition.eps == 0:
        return 0
    return len(test.attackable(condition.side)) * condition.restarts


class _Sweep(NamedTuple):
    """What all conditions of a sweep share."""

    test: RetrievalTest
    stored: StoredImages | None
    meter: _Meter


class _Evaluated(NamedTuple):
    result: Result
    scored: Scored
    examples: Examples | None = None
    map: FeatureMap | None = None


def _write(run: RunFolder, condition: Condition, done: _Evaluated) -> None:
    """The line comes last: what is listed is complete."""
    try:
        if done.examples is not None:
            done.examples.save(run.examples_of(condition))
        else:
            # What an interruption or damage left.
            run.examples_of(condition).unlink(missing_ok=True)
        if done.map is not None:
            done.map.save(run.map_of(condition))
        else:
            run.map_of(condition).unlink(missing_ok=True)
        run.append(done.result, done.scored.per_query)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(
            error.errno, f"cannot write to {run.path}: {reason}; what it lists is complete"
        ) from error


def _evaluated(sweep: _Sweep, condition: Condition, examples: int) -> _Evaluated:
    """One condition, from the attack to the pictures."""
    test = sweep.test
    if _is_clean(condition):
        with stopwatch() as watch:
            scored = test.clean_score(condition.distance)
            return _Evaluated(_result(condition, scored, watch), scored)
    # Before the clock starts: clean features and their ranking are shared by all attacks.
    targets = test.targets(condition)
    chosen = np.zeros(0, np.int64)
    if examples:
        chosen = example_queries(test.clean_score(condition.distance).per_query, examples)
    with stopwatch() as watch:
        guidance = select_guides(ATTACKS[condition.attack], targets, condition)
        show = test.ranked[chosen] if condition.side == "query" else chosen[:0]
        attacked = _attacked(sweep, condition, targets, guidance, show)
        sets = test.sets(condition, (targets.indices, attacked.features))
        scored = test.score(*sets, condition.distance)
        result = _result(
            condition,
            scored,
            watch,
            attacked=len(targets.indices),
            unguided=int((~guidance.guided).sum()),
            largest_change=attacked.largest_change,
            **_without_gradient(test, condition, targets, attacked),
        )
    sweep.meter.finish(condition)
    if not len(chosen):
        return _Evaluated(result, scored)
    after = first_items(*sets, chosen, condition)
    pictures = attacked.pictures
    if condition.side == "gallery":
        pictures = _again(sweep, condition, targets, guidance, np.unique(after[0]))
    return _Evaluated(
        result,
        scored,
        examples_of(test, condition, chosen, after, pictures),
        feature_map(test, condition, chosen, targets, attacked.features),
    )


def _without_gradient(
    test: RetrievalTest, condition: Condition, targets: Targets, attacked: "_Attacked"
) -> dict[str, Any]:
    """How many images had no gradient to follow, and which is the first of them."""
    either = attacked.nonfinite | attacked.zero
    first = ""
    if either.any():
        position = int(targets.indices[int(either.argmax())])
        first = str(test.source(condition.side).file_names[position])
    return {
        "nonfinite_gradients": int(attacked.nonfinite.sum()),
        "zero_gradients": int(attacked.zero.sum()),
        "first_without_gradient": first,
    }


def _result(condition: Condition, scored: Scored, watch: Stopwatch, **figures: Any) -> Result:
    seconds, compile_seconds = watch.read()
    return Result(
        condition,
        scored.scores,
        scored.reranked,
        seconds=seconds,
        compile_seconds=compile_seconds,
        **figures,
    )


class _Attacked(NamedTuple):
    features: np.ndarray  # [T,D]
    largest_change: float
    pictures: dict[int, np.ndarray]  # position in the split -> float32 [H,W,3]
    nonfinite: np.ndarray  # bool [T], whether the gradient held NaN or infinity at some step
    zero: np.ndarray  # bool [T], whether it was zero at some step


def _attacked(
    sweep: _Sweep, condition: Condition, targets: Targets, guidance: Guidance, show: np.ndarray
) -> _Attacked:
    """Features of the adversarial images, and the images at the positions to show."""
    if condition.eps == 0:
        # A budget of zero leaves the clean images: their features are known, to the bit.
        none = np.zeros(len(targets.indices), bool)
        return _Attacked(targets.clean, 0.0, {}, none, none)
    test, meter = sweep.test, sweep.meter
    source, reading = test.source(condition.side), test.reading
    if sweep.stored is not None:
        return _from_store(sweep.stored, test, condition, targets, guidance, show)
    embed = test.clean(condition.distance).embed
    mesh = mesh_of(reading.devices)
    run, shared = over_rows(features_of_rows, mesh), on_every_device(as_pytree(embed), mesh)
    features, changes, album = [], [], Album(np.isin(targets.indices, show), reading.size)
    nonfinite, zero = [], []
    for batch in attacked_batches(
        embed, source, targets, guidance, condition, reading, progress=meter.within
    ):
        features.append(run(shared, batch.images))
        changes.append(batch.change)
        nonfinite.append(batch.nonfinite)
        zero.append(batch.zero)
        album.add(batch)
        if len(features) > 1:
            # One batch behind: the devices have work while the host decodes.
            features[-2] = np.asarray(features[-2])
    found = gathered(features, len(targets.indices))
    try:
        refuse_nonfinite(found, Subset(source, targets.indices))
    except InputError as error:
        # The images are finite and in [0, 1], whatever the gradient was.
        raise InputError(f"under {condition.attack}, eps {exact(condition.eps)}: {error}") from None
    change = gathered(changes, len(targets.indices))
    return _Attacked(
        np.where(guidance.guided[:, None], found, targets.clean),
        float(change[guidance.guided].max(initial=0)),
        album.pictures(targets),
        (gathered(nonfinite, len(targets.indices)) > 0) & guidance.guided,
        (gathered(zero, len(targets.indices)) > 0) & guidance.guided,
    )


def _from_store(
    stored: StoredImages,
    test: RetrievalTest,
    condition: Condition,
    targets: Targets,
    guidance: Guidance,
    show: np.ndarray,
) -> _Attacked:
    """The same of images that were attacked before."""
    change = stored.largest_change(test, condition, targets.indices)
    embed = test.clean(condition.distance).embed
    found = extract(embed, Subset(stored, targets.indices), **test.reading._asdict()).features
    features = np.where(guidance.guided[:, None], found, targets.clean)
    nonfinite, zero = stored.without_gradient(targets.indices)
    return _Attacked(features, change, stored.pictures(test.reading, show), nonfinite, zero)


def _again(
    sweep: _Sweep,
    condition: Condition,
    targets: Targets,
    guidance: Guidance,
    positions: np.ndarray,
) -> dict[int, np.ndarray]:
    """Attacks a few images once more: which of a gallery are wanted shows only in the ranking."""
    wanted = np.isin(targets.indices, positions)
    test = sweep.test
    if sweep.stored is not None:
        return sweep.stored.pictures(test.reading, targets.indices[wanted])
    # Filled up to a whole batch, so that the same program runs.
    count = max(int(wanted.sum()), min(test.reading.batch_size, len(wanted)))
    rows = np.sort(np.argsort(~wanted, kind="stable")[:count])
    few, theirs = targets.rows(rows), guidance.rows(rows)
    album = Album(wanted[rows], test.reading.size)
    embed, source = test.clean(condition.distance).embed, test.source(condition.side)
    for batch in attacked_batches(embed, source, few, theirs, condition, test.reading):
        album.add(batch)
    return album.pictures(few)
