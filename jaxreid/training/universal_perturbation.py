"""An adversary that is one perturbation of all images, moved by the updates of the parameters."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxreid.attacks import input_diversity, linf, smoothed_gradients, unchecked
from jaxreid.collectives import Collective
from jaxreid.constants import EPS, STEP_SIZE
from jaxreid.errors import InputError
from jaxreid.random import numbered
from jaxreid.training.inner_attack import Adversary, Attacked, InnerAttack, share_at, with_clean
from jaxreid.training.state import TrainBatch, TrainState
from jaxreid.types import Array, ArrayLike

__all__ = ["universal_adversary"]


def universal_adversary(
    *,
    eps: float | ArrayLike = EPS,
    step_size: float | ArrayLike = STEP_SIZE,
    restart_every: int = 0,
    clean_fraction: float = 0.0,
    diversity: float = 0.0,
    blur: float = 0.0,
    strength: Callable[[Array], Array] | None = None,
) -> Adversary:
    """Makes the adversary whose perturbation is the same for all images and is learned for free.

    ``x_i' = clip(x_i + d, 0, 1)`` with ``d = state.universal``. The pass that gives the parameters
    their gradient gives d its own, of all that the step minimises, and then ``d <- clip(d +
    step_size sign(sum_i dL/dx_i' dx_i'/dd), -eps, eps)``. Shafahi et al., "Universal Adversarial
    Training", AAAI 2020, https://arxiv.org/abs/1811.11304. With restarts at random, some images
    left clean, diverse inputs and smoothed gradients it is the efficient training of "Towards
    Robust Person Re-Identification via Efficient and Generalized Adversarial Training",
    https://github.com/HWliiu/RobustReidResearch.

    Args:
        eps: budget, in pixel range; a number or [C].
        step_size: of d, once per update, in pixel range; a number or [C].
        restart_every: steps after which d is drawn anew, uniformly within eps; 0 for only before
            the first step.
        clean_fraction: share of images that stay as they are, in [0, 1]; d does not learn from
            them.
        diversity: probability that an attacked image is made smaller and laid on black
            (`attacks.input_diversity`) before the network sees it.
        blur: deviation in pixels of the Gaussian that the gradient of d is blurred by
            (`attacks.smoothed_gradients`) before its sign is taken; 0 for none.
        strength: step [] -> factor [] of eps and step_size; 1 by default.

    Returns:
        The Adversary; its state needs a perturbation, `TrainState.universal`. Its metric is
        `at_budget`, the share of the values of d that lie eps from 0.

    Raises:
        InputError: a count or share out of range.
    """
    inner = InnerAttack(eps, step_size, 1, clean_fraction, strength)
    inner.check()
    _check_options(restart_every, diversity, blur)

    # A step is compiled for all devices: it holds no call back to the host.
    @unchecked
    def adversary(
        state: TrainState, batch: TrainBatch, keys: Array, start: Array | None, devices: Collective
    ) -> Attacked:
        budget, stride = inner.budget(state, batch)
        change = _checked(state, batch).astype(batch.images.dtype)
        # In replays the perturbation goes on from the update before.
        if start is None:
            due = state.step % restart_every == 0 if restart_every else state.step == 0
            change = jnp.where(due, budget * _drawn(keys, change, devices), change)

        def moved(change: Array) -> Array:
            return _seen(jnp.clip(batch.images + change, 0, 1), keys, diversity)

        images, pull_back = jax.vjp(
            lambda change: with_clean(batch.images, moved(change), keys, clean_fraction), change
        )

        steepest = linf(budget).steepest

        def follow(slope: Array) -> Array:
            gradient = smoothed_gradients(devices.sum(pull_back(slope)[0]), sigma=blur)
            uphill = steepest(gradient)
            return jnp.clip(change + stride * uphill, -budget, budget).astype(jnp.float32)

        return Attacked(
            images=images,
            adversarial=moved(change),
            bank=None if state.bank is None else jnp.asarray(state.bank),
            metrics={"at_budget": share_at(budget, change)},
            follow=follow,
        )

    return adversary


def _check_options(restart_every: int, diversity: float, blur: float) -> None:
    if restart_every < 0:
        raise InputError(f"restart_every must be 0 or more, got {restart_every}")
    if not 0 <= diversity <= 1:
        raise InputError(f"diversity must lie in [0, 1], got {diversity}")
    if not blur >= 0:
        raise InputError(f"blur must be 0 or more pixels, got {blur}")


def _seen(images: Array, keys: Array, diversity: float) -> Array:
    """Images as the network is shown them."""
    if not diversity:
        return images
    # 1 is for which images stay clean, 2 for where the perturbation starts.
    placing = numbered(keys, 3)
    return input_diversity(images, placing, probability=diversity)


def _checked(state: TrainState, batch: TrainBatch) -> Array:
    """The perturbation of a state that has one for such images."""
    shape = batch.images.shape[1:]
    if state.universal is None or jnp.shape(state.universal) != shape:
        raise InputError(
            "this adversary needs a perturbation of the shape of an image: "
            f"TrainState.create(...).replace(universal=jnp.zeros({tuple(shape)}))"
        )
    return jnp.asarray(state.universal)


def _drawn(keys: Array, change: Array, devices: Collective) -> Array:
    """Uniform in [-1, 1], by the key of the whole batch's first example: on all devices the same.

    In single precision, so that one key gives float64 images the same start as float32 images.
    """
    everyone = devices.gather(jax.random.key_data(keys))
    first = jax.random.wrap_key_data(everyone[0], impl=jax.random.key_impl(keys))
    # 1 is for which images stay clean.
    unit = jax.random.uniform(jax.random.fold_in(first, 2), change.shape, jnp.float32, -1, 1)
    return unit.astype(change.dtype)
