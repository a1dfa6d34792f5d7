"""Guide-sampling Online Adversarial Training: the adversary of a training step."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxreid.attacks import linf, steepest_step, unchecked
from jaxreid.attacks.objectives import join, signed
from jaxreid.attacks.pgd import ascend_guides
from jaxreid.errors import InputError
from jaxreid.guides import furthest_other
from jaxreid.models.normalization import Statistics
from jaxreid.training.state import TrainBatch, TrainState
from jaxreid.types import Array, ArrayLike, Embed, Guides

__all__ = ["Adversary", "Attacked", "goat"]

# Of a pixel range of 1: float32 images differ from clean +- eps by rounding.
_AT_BUDGET = 1e-6


class Attacked(NamedTuple):
    """What an adversary makes of a batch.

    Attributes:
        images: [B,H,W,3] in [0, 1] to learn from.
        adversarial: [B,H,W,3] in [0, 1], the same before any clean ones were mixed in.
        bank: the features of all training images after this batch, or None.
        figures: name -> [], for the log.
    """

    images: Array
    adversarial: Array
    bank: Array | None
    figures: dict[str, Array]


Adversary = Callable[[TrainState, TrainBatch, Array, Array | None], Attacked]
"""(state, batch, [B] keys, start [B,H,W,3] or None) -> Attacked; None starts at random."""


def _gathered(value: ArrayLike, axis_name: str | None) -> Array:
    """The whole batch, from all devices, in its order."""
    value = jnp.asarray(value)
    return value if axis_name is None else lax.all_gather(value, axis_name, tiled=True)


def _pushing(
    embed: Embed, state: TrainState, batch: TrainBatch, *, own: Array | None, from_bank: bool
) -> Guides:
    """Features of the pushing images [B,P,D]; `own`, if given, stands in for missing ones."""
    if from_bank:
        assert state.bank is not None
        features = state.bank[jnp.maximum(batch.push_indices, 0)]
    else:
        rows, pushes = batch.push_images.shape[:2]
        features = embed(batch.push_images.reshape(rows * pushes, *batch.push_images.shape[2:]))
        features = features.reshape(rows, pushes, -1)
    mask = batch.push_mask
    if own is not None:
        features = jnp.where(mask[..., None], features, own[:, None])
        mask = jnp.ones_like(mask)
    return signed("push", features, mask, 1)


def _pulling(own: Array, labels: ArrayLike, count: int, axis_name: str | None) -> Guides:
    """The furthest features of other people among all devices' images, [B,L,D]."""
    everyone = _gathered(own, axis_name)
    # Labels start at 0, which `guides` takes for a distractor.
    chosen = furthest_other(
        own, labels + 1, everyone, _gathered(labels + 1, axis_name), count=count
    )
    return signed("pull", everyone[chosen.indices], chosen.mask, -1)


def _with_clean(
    images: Array, adversarial: Array, keys: Array, fraction: float | ArrayLike
) -> Array:
    """Keeps a share of the images as they are, drawn by each example's own key."""
    draw = jax.vmap(lambda key: jax.random.bernoulli(jax.random.fold_in(key, 1), fraction))
    return jnp.where(draw(keys)[:, None, None, None], images, adversarial)


def goat(
    *,
    push: int = 0,
    pull: int = 0,
    eps: float | ArrayLike = 5 / 255,
    step_size: float | ArrayLike = 1 / 255,
    steps: int = 7,
    batch_norm: Statistics = "running",
    clean_fraction: float = 0.0,
    pad_with_self: bool = False,
    guide_bank: bool = False,
    strength: Callable[[Array], Array] | None = None,
    axis_name: str | None = None,
) -> Adversary:
    """Makes the adversary of Guide-sampling Online Adversarial Training.

    ``x' = argmax sum_p ||f(x') - g_p||^2 - sum_l ||f(x') - g_l||^2`` within eps of x, from a random
    start, on the weights of now. With P = L = 0 the guide is the image's own feature (SMA); with
    P > 0, L = 0 the attack is IFGSM with several guides; with both it is FNA. Pulling guides are
    the furthest features of other people in the *whole* batch. Guides are constants. Bouniot et
    al., CVPRW 2020,
    https://openaccess.thecvf.com/content_CVPRW_2020/html/w47/Bouniot_Vulnerability_of_Person_Re-Identification_Models_to_Metric_Adversarial_Attacks_CVPRW_2020_paper.html
    One step of 1.25 eps is the fast training of Wong et al., ICLR 2020,
    https://arxiv.org/abs/2001.03994.

    Args:
        push: P, pushing guides of each image; the batch holds as many.
        pull: L, pulling guides of each image.
        eps: budget, in pixel range; a number or [C].
        step_size: in pixel range; a number or [C].
        steps: inner attack steps, at least 1, static.
        batch_norm: statistics of the attack's BatchNorm; the attack never changes them.
        clean_fraction: share of images that stay as they are, in [0, 1].
        pad_with_self: whether missing pushing guides are replaced by the image's own feature.
        guide_bank: whether pushing guides are taken from `state.bank`, which is refreshed with the
            clean features of each batch, instead of from `batch.push_images`.
        strength: step [] -> factor [] of eps and step_size; 1 by default.
        axis_name: mapped axis of the devices; None for one device.

    Returns:
        The Adversary. Its figures: `objective_start` and `objective_end`, the mean objective where
        the first and the last step set out, in squared unit of the features; `at_budget`, the share
        of pixel values that are changed by eps; `unguided`, the share of images without a guide.

    Raises:
        InputError: a count or share out of range.
    """
    if push < 0 or pull < 0 or steps < 1:
        raise InputError(
            f"push and pull must be 0 or more and steps 1 or more, got {push}, {pull}, {steps}"
        )
    if not 0 <= clean_fraction <= 1:
        raise InputError(f"clean_fraction must lie in [0, 1], got {clean_fraction}")
    needs_own = pull > 0 or push == 0 or pad_with_self or guide_bank

    def choose(embed: Embed, state: TrainState, batch: TrainBatch, own: Array | None) -> Guides:
        if push == 0 and pull == 0:
            assert own is not None
            return signed("own", own, None, 1)
        chosen = []
        if push:
            stand_in = own if pad_with_self else None
            chosen.append(_pushing(embed, state, batch, own=stand_in, from_bank=guide_bank))
        if pull:
            assert own is not None
            chosen.append(_pulling(own, batch.labels, pull, axis_name))
        return chosen[0] if len(chosen) == 1 else join(*chosen)

    # A step is compiled for all devices: it holds no call back to the host.
    @unchecked
    def adversary(
        state: TrainState, batch: TrainBatch, keys: Array, start: Array | None
    ) -> Attacked:
        if push and batch.push_mask.shape[1] != push:
            raise InputError(
                f"the batch holds {batch.push_mask.shape[1]} pushing guides per image, not {push}"
            )
        embed = state.embed(batch_norm)
        own = lax.stop_gradient(embed(batch.images)) if needs_own else None
        guides = lax.stop_gradient(choose(embed, state, batch, own))
        factor = 1.0 if strength is None else strength(state.step)
        dtype = batch.images.dtype
        budget, stride = (jnp.asarray(size, dtype) * factor for size in (eps, step_size))
        threat = linf(budget)
        ascent = ascend_guides(
            embed,
            batch.images,
            guides,
            threat=threat,
            rule=steepest_step(threat.steepest, stride),
            steps=steps,
            key=keys if start is None else None,
            start=start,
        )
        adversarial = lax.stop_gradient(ascent.images)
        bank = None if state.bank is None else jnp.asarray(state.bank)
        if bank is not None and own is not None:
            bank = bank.at[_gathered(batch.indices, axis_name)].set(_gathered(own, axis_name))
        change = jnp.abs(adversarial - batch.images)
        figures = {
            "objective_start": jnp.mean(ascent.objective[0]),
            "objective_end": jnp.mean(ascent.objective[-1]),
            "at_budget": jnp.mean(change >= budget - _AT_BUDGET),
            "unguided": jnp.mean(jnp.all(guides.weights == 0, axis=1)),
        }
        images = adversarial
        if clean_fraction:
            images = _with_clean(batch.images, adversarial, keys, clean_fraction)
        return Attacked(images, adversarial, bank, figures)

    return adversary
