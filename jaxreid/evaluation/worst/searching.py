"""Runs one member of an ensemble on some of its images, on all devices of all processes."""

import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np

from jaxreid.data.batches import Batch
from jaxreid.evaluation.attack_split import attack_split
from jaxreid.evaluation.embeds import Shots, as_pytree, features_of_shots
from jaxreid.evaluation.features import Subset
from jaxreid.evaluation.grid import as_published
from jaxreid.evaluation.guidance import Targets, select_guides
from jaxreid.evaluation.retrieval import Plan, RetrievalTest
from jaxreid.evaluation.rounding import as_float, finish_of, in_pixels
from jaxreid.evaluation.worst.attacker import Attacker
from jaxreid.evaluation.worst.best import BY_PRECISION, BY_RANK, Best
from jaxreid.evaluation.worst.members import MemberSpec
from jaxreid.evaluation.worst.programs import Rows, Shared, program
from jaxreid.records import Condition
from jaxreid.sharding import (
    over_rows,
    replicated,
    row_mesh,
    summed_over_processes,
    whole_batch,
)
from jaxreid.types import ArrayLike

__all__ = ["Found", "Setting", "finished", "found_by"]

# Which of the best images a member starts from.
_KINDS = {"precision": BY_PRECISION, "rank": BY_RANK, "all": BY_PRECISION}


class Setting(NamedTuple):
    """What all members of an ensemble share.

    Attributes:
        test: the retrieval test.
        condition: canonical.
        targets: the T images attacked.
        attacker: in which lists they are looked for.
    """

    test: RetrievalTest
    condition: Condition
    targets: Targets
    attacker: Attacker


class Found(NamedTuple):
    """What a member met of n images, the same on every process.

    Attributes:
        rows: int64 [n], positions among the targets.
        images: float32 [K,n,H,W,3], as they are ranked.
        features: [K,n,D], theirs.
        nonfinite: int32 [n], steps at which the gradient held NaN or infinity.
        zero: int32 [n], steps at which the whole gradient was zero.
    """

    rows: np.ndarray
    images: np.ndarray
    features: np.ndarray
    nonfinite: np.ndarray
    zero: np.ndarray


class _Batch(NamedTuple):
    """A batch of this process: places among the n images (-1 in padding), and what was met."""

    places: np.ndarray
    images: Sequence[ArrayLike]
    features: Sequence[ArrayLike]
    nonfinite: ArrayLike
    zero: ArrayLike


Progress = Callable[[int], None]


def found_by(
    setting: Setting,
    one: MemberSpec,
    rows: np.ndarray,
    best: Best,
    progress: Progress | None = None,
) -> Found:
    """Runs a member.

    Random numbers come from the seed, the member's name and the image's position in its split:
    neither the batch size, nor the devices, nor who else is attacked changes an image.

    Args:
        setting: what it is about.
        one: the member.
        rows: int64 [n], positions among the targets.
        best: of the images so far, from which some members start.
        progress: called with the images done.

    Returns:
        Found.

    Raises:
        InputError: an image that cannot be decoded, or an embedding that fails.
    """
    run = _published if one.kind == "published" else _compiled
    found: Found | None = None
    for batch in run(setting, one, rows, best):
        if found is None:
            found = _room(rows, batch)
        inside = batch.places >= 0
        places = batch.places[inside]
        for kind, (images, features) in enumerate(zip(batch.images, batch.features, strict=True)):
            found.images[kind, places] = as_float(np.asarray(images)[inside])
            found.features[kind, places] = np.asarray(features)[inside]
        found.nonfinite[places] = np.asarray(batch.nonfinite)[inside]
        found.zero[places] = np.asarray(batch.zero)[inside]
        if progress is not None:
            progress(min(int(batch.places.max(initial=0)) + 1, len(rows)))
    assert found is not None
    # Each image is on one process, and zeros on all others.
    return Found(rows, *(summed_over_processes(part) for part in found[1:]))


def _room(rows: np.ndarray, batch: _Batch) -> Found:
    kinds, count = len(batch.images), len(rows)
    features = np.asarray(batch.features[0])
    return Found(
        rows,
        np.zeros((kinds, count, *batch.images[0].shape[1:]), np.float32),
        np.zeros((kinds, count, *features.shape[1:]), features.dtype),
        np.zeros(count, np.int32),
        np.zeros(count, np.int32),
    )


def _published(setting: Setting, one: MemberSpec, rows: np.ndarray, best: Best) -> Iterator[_Batch]:
    """The attack that `jaxreid evaluate` runs under the same name: the same images, to the bit."""
    test, condition, targets, _ = setting
    condition = as_published(one.name, condition)
    plan = Plan(test, condition, targets, select_guides(targets, condition))
    mesh = row_mesh(test.loader.devices)
    embed = replicated(as_pytree(test.clean(condition.distance).embed), mesh)
    # Filled up to a whole batch, so that the same program runs.
    least = min(test.loader.batch_size, len(targets.indices))
    spare = np.setdiff1d(np.arange(len(targets.indices)), rows)[: max(least - len(rows), 0)]
    filled = plan.rows(np.concatenate([rows, spare]))
    for batch in attack_split(filled):
        shots = Shots(batch.images, filled.cameras(batch.rows))
        features = over_rows(features_of_shots, mesh)(embed, shots)
        places = np.where(batch.rows < len(rows), batch.rows, -1)
        yield _Batch(places, [batch.images], [features], batch.nonfinite, batch.zero)


def _compiled(setting: Setting, one: MemberSpec, rows: np.ndarray, best: Best) -> Iterator[_Batch]:
    """The members that are programs of their own."""
    test, condition, _, _ = setting
    mesh = row_mesh(test.loader.devices)
    run = over_rows(program(one, condition.norm, condition.distance), mesh)
    finish = over_rows(finish_of(condition.norm, eight_bit=condition.eight_bit), mesh)
    embed_rows = over_rows(features_of_shots, mesh)
    shared = replicated(_shared(setting, one), mesh)
    waiting: _Batch | None = None
    for batch in _batches(setting, rows):
        met = run(shared, _rows(setting, one, batch, rows, best))
        images = [
            finish(shared.eps, (batch.images, met.images[:, kind]))[0]
            for kind in range(met.images.shape[1])
        ]
        features = [embed_rows(shared.embed, Shots(each, batch.cameras)) for each in images]
        if waiting is not None:
            yield waiting
        # One batch behind: the devices have work while the host decodes.
        waiting = _Batch(batch.indices, images, features, met.nonfinite, met.zero)
    if waiting is not None:
        yield waiting


def _shared(setting: Setting, one: MemberSpec) -> Shared:
    test, condition, _, attacker = setting
    # Not the numbers of single attacks, and not those of another member.
    key = jax.random.fold_in(jax.random.key(condition.seed), zlib.crc32(one.name.encode()))
    return Shared(
        embed=as_pytree(test.clean(condition.distance).embed),
        gallery=np.asarray(attacker.gallery.features),
        identities=np.asarray(attacker.gallery.identities, np.int32),
        key=key,
        eps=np.asarray(in_pixels(condition)[0], np.float32),
        sign=np.asarray(attacker.sign, np.float32),
        person=np.asarray(one.person, np.int32),
    )


def _batches(setting: Setting, rows: np.ndarray) -> Iterator[Batch]:
    """This process's part of the clean images of some targets, in batches of one size."""
    test, condition, targets, _ = setting
    loader = test.loader
    total = whole_batch(loader.batch_size, len(targets.indices), row_mesh(loader.devices))
    source = Subset(test.source(condition.side), targets.indices[rows])
    with loader.batches(source, total) as batches:
        yield from batches


def _kept(best: Best, kind: int, at: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """Kept images of some targets, float32 [b,H,W,3]; uint8 clean ones where nothing was worse."""
    changed = best.winner[kind, at] >= 0
    return np.where(changed[:, None, None, None], best.images[kind, at], as_float(clean))


def _rows(setting: Setting, one: MemberSpec, batch: Batch, rows: np.ndarray, best: Best) -> Rows:
    """The rows of a batch; padding has what the first of the images has."""
    at, padding = rows[np.maximum(batch.indices, 0)], batch.indices < 0
    start = _kept(best, _KINDS[one.metric], at, batch.images) if one.start == "best" else None
    return Rows(
        images=batch.images,
        cameras=batch.cameras,
        position=np.where(padding, -1, setting.targets.indices[at]).astype(np.int32),
        start=start,
        clean=np.asarray(setting.targets.clean[at]),
        lists=setting.attacker.lists(at) if setting.attacker.climbs else None,
    )


def finished(setting: Setting, best: Best) -> tuple[np.ndarray, np.ndarray]:
    """Features [2,T,D] of the images that were kept, rounded to 8 bits, and their changes [2,T].

    Changes are in 1/255, and not rounded where the condition does not say so.
    """
    test, condition, targets, _ = setting
    mesh = row_mesh(test.loader.devices)
    eps = replicated(np.asarray(in_pixels(condition)[0], np.float32), mesh)
    embed = replicated(as_pytree(test.clean(condition.distance).embed), mesh)
    as_ranked, in_levels = (
        over_rows(finish_of(condition.norm, eight_bit=bits), mesh)
        for bits in (condition.eight_bit, True)
    )
    changed = np.flatnonzero((best.winner >= 0).any(axis=0))
    features = np.zeros((2, len(changed), targets.clean.shape[1]), best.features.dtype)
    change = np.zeros((2, len(changed)), np.float32)
    for batch in _batches(setting, changed):
        inside = batch.indices >= 0
        places, at = batch.indices[inside], changed[np.maximum(batch.indices, 0)]
        for kind in (BY_PRECISION, BY_RANK):
            kept = _kept(best, kind, at, batch.images)
            levels, _ = in_levels(eps, (batch.images, kept))
            change[kind, places] = np.asarray(as_ranked(eps, (batch.images, kept))[1])[inside]
            found = over_rows(features_of_shots, mesh)(embed, Shots(levels, batch.cameras))
            features[kind, places] = np.asarray(found)[inside]
    whole = np.stack([targets.clean, targets.clean]).astype(features.dtype)
    whole[:, changed] = summed_over_processes(features)
    return whole, summed_over_processes(change)
