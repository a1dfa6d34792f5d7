"""Adversarial images of a split, batch by batch, on all devices of all processes."""

from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from jaxreid.attacks import (
    ATTACKS,
    THREATS,
    AttackInput,
    AttackSpec,
    boost_of,
    signed_guides,
    unchecked,
)
from jaxreid.augmentation import to_float
from jaxreid.constants import Norm
from jaxreid.data.batches import Batch, Images
from jaxreid.evaluation.boosts import boost_names
from jaxreid.evaluation.embeds import as_pytree, features_of_rows
from jaxreid.evaluation.features import Subset, have_unit_length
from jaxreid.evaluation.guidance import START, key_of
from jaxreid.evaluation.paper import choices
from jaxreid.evaluation.retrieval import Plan
from jaxreid.evaluation.rounding import finish_of, in_pixels
from jaxreid.evaluation.scoring import evenly_spaced
from jaxreid.evaluation.universal import Perturbation
from jaxreid.evaluation.universal.perturbation import changed_rows
from jaxreid.random import example_keys
from jaxreid.sharding import over_rows, replicated, row_mesh, whole_batch
from jaxreid.types import Array, ArrayLike, Embed

__all__ = ["AttackedBatch", "attack_split"]

_MIXED_WITH = 64


class AttackedBatch(NamedTuple):
    """Adversarial images of this process.

    Attributes:
        rows: int [b], positions among the targets; -1 in padding.
        images: [b,H,W,3], float32 in [0, 1], or uint8 if they were rounded.
        change: float32 [b], the largest change of a pixel, in 1/255.
        nonfinite: int32 [b], steps at which the gradient held NaN or infinity.
        zero: int32 [b], steps at which the whole gradient was zero.
    """

    rows: np.ndarray
    images: Array
    change: Array
    nonfinite: Array
    zero: Array


class _Attempt(NamedTuple):
    """Images of one start and their objective, with the steps without a gradient."""

    images: Array
    value: Array
    nonfinite: Array
    zero: Array


class _Shared(NamedTuple):
    """What all rows of a program share; eps and step_size in pixel range."""

    embed: Embed
    guides: ArrayLike  # [N,D]
    means: ArrayLike  # [K,D]
    key: Array
    eps: ArrayLike
    step_size: ArrayLike
    others: ArrayLike  # uint8 [P,H,W,3] that a boost mixes with; none for one that does not


class _Rows(NamedTuple):
    """What each row of a program has of its own; None where the attack has no use for it."""

    images: np.ndarray  # uint8 [b,H,W,3]
    cameras: np.ndarray  # int32 [b], of the images; -1 in padding
    position: np.ndarray  # int32 [b], in the split; -1 in padding
    push: np.ndarray | None
    push_mask: np.ndarray | None
    pull: np.ndarray | None
    pull_mask: np.ndarray | None
    clean: np.ndarray | None


def _form(attack: AttackSpec) -> AttackSpec:
    """The spec of the compiled program, shared by attacks that only differ in who guides."""
    return attack._replace(
        title="",
        push="none" if attack.push == "none" else "all",
        # Towards images of the guide set, or towards means.
        pull=attack.pull if attack.pull in ("none", "nearest") else "furthest",
    )


@cache
def _program(
    form: AttackSpec, norm: Norm, steps: int, valued: bool, boosts: tuple[str, ...]
) -> Callable[[_Shared, _Rows], _Attempt]:
    """(shared, rows) -> an attempt, with where it stands on the objective if valued."""

    # Images come from 8 bits and guides were checked: without callbacks to the host the program
    # fits into the compilation cache.
    @unchecked
    def run(shared: _Shared, rows: _Rows) -> _Attempt:
        def embed(images: Array) -> Array:
            return features_of_rows(shared.embed, images, rows.cameras)

        images = to_float(rows.images)
        given = AttackInput(
            push=_push(form, shared, rows),
            push_mask=rows.push_mask,
            pull=_pull(form, shared, rows),
            pull_mask=rows.pull_mask,
            key=example_keys(shared.key, jnp.maximum(rows.position, 0)),
            eps=shared.eps,
            step_size=shared.step_size,
            steps=steps,
            threat=THREATS[norm],
            clean_features=rows.clean,
            boost=boost_of(boosts, others=to_float(shared.others)) if boosts else None,
        )
        found = form.ascend(embed, images, given)
        guides = form.guides(given) if valued else None
        value = jnp.zeros(len(images))
        if guides is not None:
            value = signed_guides(embed, guides)(found.images)
        return _Attempt(found.images, value, found.nonfinite_steps, found.zero_steps)

    return run


def _push(form: AttackSpec, shared: _Shared, rows: _Rows) -> Array | None:
    """Features to get away from, [b,G,D] or [b,D]."""
    if rows.push is not None:
        return shared.guides[rows.push]
    if form.push != "none" and rows.clean is not None:
        # The paper's ODFA: its guide is the opposite of the image itself.
        return jnp.negative(rows.clean)
    return None


def _pull(form: AttackSpec, shared: _Shared, rows: _Rows) -> Array | None:
    """Features to resemble, [b,k,D]."""
    if rows.pull is None:
        return None
    return (shared.guides if form.pull == "nearest" else shared.means)[rows.pull]


@jax.jit
def _better(best: _Attempt, other: _Attempt) -> _Attempt:
    """Per image the start that went further up; the earlier one where both are equal.

    NaN is below everything: it neither wins nor keeps another from winning.
    """
    further = (other.value > best.value) | (jnp.isnan(best.value) & ~jnp.isnan(other.value))

    def chosen(theirs: Array, ours: Array) -> Array:
        return jnp.where(further.reshape(-1, *[1] * (ours.ndim - 1)), theirs, ours)

    better: _Attempt = jax.tree.map(chosen, other, best)
    return better


def attack_split(
    plan: Plan,
    *,
    perturbation: Perturbation | None = None,
    progress: Callable[[int], None] | None = None,
) -> Iterator[AttackedBatch]:
    """Attacks images of a split: one program per attack, whatever the budgets and the batches.

    The first start is the attack's own (random for odfa too where features have unit length: at the
    clean image its gradient is zero); with restarts, the others are random in the ball, and each
    image keeps the one with the highest objective. Random numbers come from the seed, the restart
    and the image's position in its split: neither the batch size nor the number of devices or
    processes changes an image (up to rounding). Every process must call this alike, and gets its
    own part of every batch.

    Args:
        plan: from `RetrievalTest.plan`.
        perturbation: what was learned before, for a condition of such.
        progress: called with the images done, restarts counted.

    Yields:
        AttackedBatch; uint8 images if condition.eight_bit.

    Raises:
        InputError: an image that cannot be decoded, or an embedding that is no JAX function.
    """
    test, condition, targets, _ = plan
    loader, count = test.loader, len(targets.indices)
    mesh = row_mesh(loader.devices)
    total = whole_batch(loader.batch_size, count, mesh)
    batches = loader.batches(Subset(test.source(condition.side), targets.indices), total)
    if perturbation is None:
        starts = _starts(plan, mesh)
    else:
        starts = [_as_learned(perturbation, loader.size, mesh)]
    finish = over_rows(finish_of(condition.norm, eight_bit=condition.eight_bit), mesh)
    eps = np.float32(in_pixels(condition)[0])
    with batches:
        for number, batch in enumerate(batches, 1):
            rows = _rows(batch, plan)
            best = starts[0](rows)
            for again in starts[1:]:
                best = _better(best, again(rows))
            images, change = finish(eps, (batch.images, best.images))
            yield AttackedBatch(batch.indices, images, change, best.nonfinite, best.zero)
            if progress is not None:
                progress(min(number * total, count) * condition.restarts)


def _starts(plan: Plan, mesh: Mesh) -> list[Callable[[_Rows], _Attempt]]:
    """The attack from each of its starts, a function of the rows alone."""
    test, condition, targets, guidance = plan
    attack = _form(choices(condition).attack)
    if attack.starts_at_random(unit_length=have_unit_length(targets.clean)):
        attack = attack._replace(start="random")
    valued, boosts = condition.restarts > 1, boost_names(condition.boost)
    eps, step_size = in_pixels(condition)
    gathers = guidance.push is not None or guidance.pulls_images
    shared = _Shared(
        embed=as_pytree(test.clean(condition.distance).embed),
        # Gathered from on the devices: a batch may have hundreds of guides per image.
        guides=targets.guide_set.features if gathers else targets.clean[:0],
        means=guidance.means,
        key=key_of(condition.seed, START),
        eps=np.asarray(eps, np.float32),
        step_size=np.asarray(step_size, np.float32),
        others=_mixed_with(plan),
    )
    shared = replicated(shared, mesh)
    starts: list[Callable[[_Rows], _Attempt]] = []
    for restart in range(condition.restarts):
        form = attack if restart == 0 else attack._replace(start="random")
        program = over_rows(_program(form, condition.norm, condition.steps, valued, boosts), mesh)
        key = replicated(key_of(condition.seed, START + restart), mesh)
        starts.append(partial(program, shared._replace(key=key)))
    return starts


def _as_learned(
    perturbation: Perturbation, size: tuple[int, int], mesh: Mesh
) -> Callable[[_Rows], _Attempt]:
    """What a learned perturbation makes of the rows; no gradient is asked for."""
    run, changing = over_rows(changed_rows, mesh), replicated(perturbation.changing(size), mesh)

    def start(rows: _Rows) -> _Attempt:
        images, none = run(changing, rows.images), jnp.zeros(len(rows.images), jnp.int32)
        return _Attempt(images, none, none, none)

    return start


def _mixed_with(plan: Plan) -> np.ndarray:
    """Images of the guiding split, evenly spaced, for a boost that mixes with others."""
    test, condition = plan.test, plan.condition
    source = test.source(condition.guides)
    if "admix" not in boost_names(condition.boost):
        return np.zeros((1, *test.loader.size, 3), np.uint8)
    return Images(source, test.loader.size, test.loader.filter, None)(
        evenly_spaced(len(source), _MIXED_WITH)
    )


def _rows(batch: Batch, plan: Plan) -> _Rows:
    """The rows of a batch; padding is attacked as if it had the guides of the first target."""
    _, condition, targets, guidance = plan
    own = not condition.is_learned and ATTACKS[condition.attack].own != "none"
    padding, at = batch.indices < 0, np.maximum(batch.indices, 0)
    theirs = guidance.rows(at)
    return _Rows(
        images=batch.images,
        cameras=batch.cameras,
        position=np.where(padding, -1, targets.indices[at]).astype(np.int32),
        push=theirs.push,
        push_mask=theirs.push_mask,
        pull=theirs.pull,
        pull_mask=theirs.pull_mask,
        clean=targets.clean[at] if own else None,
    )
