"""Adversaries of a training step: what is learned from instead of the clean images."""

from collections.abc import Callable, Mapping
from typing import Literal

import jax.numpy as jnp
from jax import lax

from jaxreid.attacks import ATTACKS, AttackInput, unchecked
from jaxreid.cameras import seen_by
from jaxreid.checks import check_choice
from jaxreid.collectives import Collective
from jaxreid.constants import EPS, STEP_SIZE
from jaxreid.errors import InputError
from jaxreid.guides import furthest_other, nearest_other
from jaxreid.models.folding import check_target
from jaxreid.models.normalization import Statistics
from jaxreid.training.inner_attack import Adversary, Attacked, InnerAttack, refreshed
from jaxreid.training.state import TrainBatch, TrainState
from jaxreid.training.step_schedules import StepSchedule
from jaxreid.types import Array, ArrayLike, Embed, Guides, Selection

__all__ = ["goat"]


PullFrom = Literal["furthest", "nearest"]
# Which images of other people pull -> the attack that it makes, and who chooses them.
_PULLING: Mapping[PullFrom, tuple[str, Callable[..., Selection]]] = {
    "furthest": ("fna", furthest_other),
    "nearest": ("nna", nearest_other),
}


def goat(
    *,
    push: int = 0,
    pull: int = 0,
    pull_from: PullFrom = "furthest",
    eps: float | ArrayLike = EPS,
    step_size: float | ArrayLike = STEP_SIZE,
    steps: int = 7,
    batch_norm: Statistics = "running",
    clean_fraction: float = 0.0,
    pad_with_self: bool = False,
    guide_bank: bool = False,
    strength: Callable[[Array], Array] | None = None,
    step_schedule: StepSchedule = "constant",
) -> Adversary:
    """Makes the adversary of Guide-sampling Online Adversarial Training.

    ``x' = argmax sum_p ||f(x') - g_p||^2 - sum_l ||f(x') - g_l||^2`` within eps of x, from a random
    start, on the weights of now. With P = L = 0 the guide is the image's own feature (SMA); with
    P > 0, L = 0 the attack is IFGSM with several guides; with both it is FNA. Pulling guides are
    the furthest features of other people in the *whole* batch, or the nearest: then the attack is
    NNA, with means in the place of the sums. Guides are constants. Bouniot et al., CVPRW 2020,
    https://openaccess.thecvf.com/content_CVPRW_2020/html/w47/Bouniot_Vulnerability_of_Person_Re-Identification_Models_to_Metric_Adversarial_Attacks_CVPRW_2020_paper.html
    One step of 1.25 eps is the fast training of Wong et al., ICLR 2020,
    https://arxiv.org/abs/2001.03994.

    Args:
        push: P, pushing guides of each image; the batch holds as many.
        pull: L, pulling guides of each image.
        pull_from: which of other people's images pull, the "furthest" or the "nearest"; of these
            there may be fewer than L.
        eps: budget, in pixel range; a number or [C].
        step_size: in pixel range; a number or [C].
        steps: inner attack steps, at least 1, static.
        batch_norm: statistics of the attack's BatchNorm; the attack never changes them.
        clean_fraction: share of images that stay as they are, in [0, 1].
        pad_with_self: whether missing pushing guides are replaced by the image's own feature.
        guide_bank: whether pushing guides are taken from `state.bank` instead of from
            `batch.push_images`. Where there is a bank it is refreshed with the clean features of
            each batch.
        strength: step [] -> factor [] of eps and step_size; 1 by default.
        step_schedule: "constant"; "cosine", in which steps shorten from step_size towards 0; or
            "adaptive", by `jaxreid.attacks.adaptive_ascent`, which finds its own from eps.

    Returns:
        The Adversary; with pulls it says whom it aimed at. Its metrics: `objective_start` and
        `objective_end`, the mean objective where the first and the last step set out, in squared
        unit of the features; `at_budget`, the share of pixel values that are changed by eps;
        `unguided`, the share of images without a guide.

    Raises:
        InputError: a count or share out of range, or pull_from or step_schedule something else; in
            a step, guide_bank without a bank.
    """
    _check_options(push, pull, pull_from, steps, clean_fraction)
    inner = InnerAttack(eps, step_size, steps, clean_fraction, strength, step_schedule)
    inner.check()
    attack = ATTACKS[_attack_name(push, pull, pull_from)]._replace(start="random")
    needs_own = pull > 0 or push == 0 or pad_with_self

    # A step is compiled for all devices: it holds no call back to the host.
    @unchecked
    def adversary(
        state: TrainState, batch: TrainBatch, keys: Array, start: Array | None, devices: Collective
    ) -> Attacked:
        network = state.embed(batch_norm)
        embed = seen_by(network, batch.cameras)
        wanted = needs_own or state.bank is not None
        own = lax.stop_gradient(embed(batch.images)) if wanted else None
        budget, stride = inner.budget(state, batch)
        aims: Array | None = None
        given = AttackInput(eps=budget, step_size=stride, steps=steps, clean_features=own)
        # In replays the attack sets out from where the one before ended.
        given = given._replace(key=keys if start is None else None, start=start)
        if push:
            stand_in = own if pad_with_self else None
            bank, together = _bank_of(state, guide_bank), _together(state, batch_norm)
            features, mask = _pushing(network, batch, push, bank, stand_in, together)
            given = given._replace(push=features, push_mask=mask)
        if pull and own is not None:
            features, mask, aims = _pulling(own, batch.labels, pull, pull_from, devices)
            given = given._replace(pull=features, pull_mask=mask)
        ascent = inner.ascend(attack, embed, batch.images, given)
        return inner.result(
            ascent,
            state,
            batch,
            keys,
            bank=refreshed(state.bank, own, batch.indices, devices),
            unguided=_unguided(attack.guides(given)),
            aims=aims,
        )

    return adversary


def _attack_name(push: int, pull: int, pull_from: PullFrom) -> str:
    """The row of ATTACKS that has such guides."""
    if pull:
        return _PULLING[pull_from][0]
    return "ifgsm_multi" if push else "sma"


def _check_options(
    push: int, pull: int, pull_from: PullFrom, steps: int, clean_fraction: float
) -> None:
    check_choice("pull_from", pull_from, _PULLING)
    if push < 0 or pull < 0 or steps < 1:
        raise InputError(
            f"push and pull must be 0 or more and steps 1 or more, got {push}, {pull}, {steps}"
        )
    if not 0 <= clean_fraction <= 1:
        raise InputError(f"clean_fraction must lie in [0, 1], got {clean_fraction}")


def _bank_of(state: TrainState, wanted: bool) -> ArrayLike | None:
    if wanted and state.bank is None:
        raise InputError("guide_bank needs a bank: TrainState.create(bank=...)")
    return state.bank if wanted else None


def _together(state: TrainState, batch_norm: Statistics) -> bool:
    """Whether all pushing images pass the network at once: they share statistics, or on a CPU.

    There a loop costs some percent of a step, and gains nothing.
    """
    return batch_norm == "batch" or check_target(state.target) == "cpu"


def _pushing(
    network: Embed,
    batch: TrainBatch,
    count: int,
    bank: ArrayLike | None,
    stand_in: Array | None,
    together: bool,
) -> tuple[Array, Array]:
    """Features of other images of the same people [B,P,D], and which of them are there [B,P]."""
    mask = jnp.asarray(batch.push_mask)
    if mask.shape[1] != count:
        raise InputError(f"the batch holds {mask.shape[1]} pushing guides per image, not {count}")
    if bank is not None:
        features = jnp.asarray(bank)[jnp.maximum(batch.push_indices, 0)]
    elif together:
        images = batch.push_images.reshape(-1, *batch.push_images.shape[2:])
        cameras = None if batch.push_cameras is None else jnp.ravel(batch.push_cameras)
        features = seen_by(network, cameras)(images).reshape(*mask.shape, -1)
    else:
        features = _one_by_one(network, batch, count)
    if stand_in is not None:
        features = jnp.where(mask[..., None], features, stand_in[:, None])
        mask = jnp.ones_like(mask)
    return lax.stop_gradient(features), mask


def _one_by_one(network: Embed, batch: TrainBatch, count: int) -> Array:
    """Features [B,P,D] of a batch's pushing images, for all images the first, the second, ...

    As many pass at a time as are attacked: what stays on an accelerator's chip of those does of
    these, where P times as many would go to its large memory and back after each layer.
    """
    cameras = None if batch.push_cameras is None else jnp.asarray(batch.push_cameras)

    def features(place: Array) -> Array:
        seen = seen_by(network, None if cameras is None else cameras[:, place])
        return seen(batch.push_images[:, place])

    return jnp.swapaxes(lax.map(features, jnp.arange(count)), 0, 1)


def _pulling(
    own: Array, labels: ArrayLike, count: int, pull_from: PullFrom, devices: Collective
) -> tuple[Array, Array, Array]:
    """Features of other people among all devices' images, [B,L,D], which are there, whose [B,L]."""
    everyone = devices.gather(own)
    # Labels start at 0, which `guides` takes for a distractor.
    people = devices.gather(labels + 1)
    _, choose = _PULLING[pull_from]
    chosen = choose(own, labels + 1, everyone, people, count=count)
    aims = jnp.where(chosen.mask, people[chosen.indices] - 1, -1)
    return everyone[chosen.indices], chosen.mask, aims


def _unguided(guides: Guides | None) -> Array:
    """Which images have no guide, [B]."""
    assert guides is not None
    return jnp.all(guides.weights == 0, axis=1)
