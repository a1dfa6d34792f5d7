"""One training step: attack the batch with the weights of now, then learn from it."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from jaxreid.cameras import seen_by
from jaxreid.collectives import Collective
from jaxreid.errors import InputError
from jaxreid.models import Outputs, embedding
from jaxreid.models.cameras import cameras_of
from jaxreid.random import example_keys
from jaxreid.training.defenses import BothSides, Defense
from jaxreid.training.discriminator import Suspects, opposed
from jaxreid.training.inner_attack import Adversary, Attacked
from jaxreid.training.objectives import LossFunction
from jaxreid.training.optim import Averaging
from jaxreid.training.self_meta import halves_of, looked_ahead
from jaxreid.training.state import TrainBatch, TrainState, Variables, split
from jaxreid.types import Array, ArrayLike

__all__ = ["train_step"]

Metrics = dict[str, Array]
_Value = tuple[Array, tuple[Variables, Metrics]]
# The batch, its images to learn from, and soft labels of them or None.
_Examples = tuple[TrainBatch, Array, Array | None]


class _Learned(NamedTuple):
    """Parameters of the network, and of the discriminator where there is one; or gradients."""

    params: Variables
    discriminator: Variables | None


def train_step(
    state: TrainState,
    batch: TrainBatch,
    key: Array,
    *,
    loss_fn: LossFunction,
    adversary: Adversary | None = None,
    defense: Defense | None = None,
    averaging: Averaging | None = None,
    axis_name: str | None = None,
    replays: int = 1,
) -> tuple[TrainState, Metrics]:
    """One step of (adversarial) training; pure.

    ``theta <- theta - optimizer(grad_theta L(f_theta(x')))`` with ``x' = adversary(x)`` on the
    weights of now. Madry et al., ICLR 2018, https://arxiv.org/abs/1706.06083. With replays the
    batch is learned from several times, and each attack sets out from the perturbation of the one
    before (Shafahi et al., "Adversarial Training for Free!", NeurIPS 2019,
    https://arxiv.org/abs/1904.12843).

    Args:
        state: of before, the same on every device.
        batch: this device's examples; the devices' batches are of one size.
        key: the same in every step and on every device; step and example are folded in.
        loss_fn: what is minimised.
        adversary: `goat(...)`; without, the images are learned from as they are.
        defense: what is minimised beside the loss of the adversary's images; by default nothing.
        averaging: how `state.average` follows the parameters, `moving_average(...)`; without, it
            stays as it is.
        axis_name: mapped axis of the devices; None for one device.
        replays: updates per batch, at least 1; static.

    Returns:
        The state of after, and metrics averaged over the whole batch (with replays, those of the
        last update), each [].

    Raises:
        InputError: replays below 1, averaging for a state without an average, a defense that weighs
            nothing, one without triplets for a state with a triplet_loss, one that has no use for
            the state's discriminator or lacks it, or a self-meta step for an odd number of images.
    """
    if replays < 1:
        raise InputError(f"replays must be at least 1, got {replays}")
    if averaging is not None and state.average is None:
        raise InputError(
            "averaging needs a state with an average: TrainState.create(averaged=True)"
        )
    defense = Defense() if defense is None else defense
    defense.check()
    _check_discriminator(state, defense)
    devices = Collective(axis_name)
    keys = example_keys(jax.random.fold_in(key, state.step), batch.indices)
    start: Array | None = None
    metrics: Metrics = {}
    # Unrolled: replays are few, and the first one has no start.
    for _ in range(replays):
        attacked = Attacked(batch.images, batch.images, None, {})
        if adversary is not None:
            attacked = adversary(state, batch, keys, start, devices)
            start = attacked.adversarial
            state = state.replace(bank=attacked.bank)
        of_attack = devices.mean(attacked.metrics)
        state, metrics = _update(state, batch, attacked, loss_fn, defense, devices)
        if averaging is not None and state.average is not None:
            state = state.replace(average=averaging(state.average, state.params))
        metrics = {**metrics, **of_attack}
    return state.replace(step=state.step + jnp.int32(1)), metrics


def _check_discriminator(state: TrainState, defense: Defense) -> None:
    if (state.discriminator is None) == (defense.discriminator_weight > 0):
        raise InputError(
            "a discriminator needs both Defense(discriminator_weight=...) above 0 and a state with "
            "one: TrainState.create(...).replace(discriminator=Opponent.create(...))"
        )


def _beside(model: nnx.Module, batch: TrainBatch) -> dict[str, ArrayLike]:
    """What a network takes beside images: the cameras, if it tells them apart."""
    count = cameras_of(model)
    if not count:
        return {}
    if batch.cameras is None:
        raise InputError(f"the network tells {count} cameras apart: TrainBatch.cameras is missing")
    return {"cameras": batch.cameras}


def _outputs(
    model: Any, batch: TrainBatch, images: Array, defense: Defense
) -> tuple[Outputs, Outputs | None]:
    """What the network says of the images to learn from, and of the clean ones if it sees them."""
    see = partial(model, batch_norm="batch")
    beside = _beside(model, batch)
    if not defense.needs_clean:
        return see(images, **beside), None
    if not defense.together:
        return see(images, **beside), see(batch.images, **beside)
    twice = {name: jnp.concatenate([value, value]) for name, value in beside.items()}
    both = see(jnp.concatenate([images, batch.images]), **twice)
    first, second = (
        jax.tree.map(lambda rows, half=half: jnp.split(rows, 2)[half], both) for half in (0, 1)
    )
    return first, second


def _loss(
    attacked: Outputs,
    clean: Outputs | None,
    labels: ArrayLike,
    loss_fn: LossFunction,
    defense: Defense,
    devices: Collective,
    *,
    targets: Array | None,
) -> tuple[Array, Metrics]:
    """The weighted losses of a defense; metrics of the clean images have names of their own."""
    # A loss of one's own need not know of soft labels where no adversary makes any.
    soft = {} if targets is None else {"targets": targets}
    total, metrics = loss_fn(attacked, labels, devices, **soft)
    total *= defense.attacked_weight
    if clean is None:
        return total, metrics
    of_clean, clean_metrics = loss_fn(clean, labels, devices)
    if defense.clean_weight:
        total += defense.clean_weight * of_clean
    metrics |= {f"clean_{name}": value for name, value in clean_metrics.items()}
    return total, metrics


def _update(
    state: TrainState,
    batch: TrainBatch,
    attacked: Attacked,
    loss_fn: LossFunction,
    defense: Defense,
    devices: Collective,
) -> tuple[TrainState, Metrics]:
    """Descends the loss on attacked images, and on the clean ones if the defense wants them."""
    value = _value_of(state, attacked, loss_fn, defense, devices)

    def objective(learned: _Learned, images: Array) -> _Value:
        if not defense.meta_step:
            return value(learned, state.stats, (batch, images, attacked.targets))
        return looked_ahead(
            lambda params, *rest: value(learned._replace(params=params), *rest),
            learned.params,
            state.stats,
            halves_of((batch, images, attacked.targets)),
            size=defense.meta_step,
            devices=devices,
        )

    (loss, (stats, metrics)), gradient, to_images = _descent(
        objective, state, attacked, defense, devices
    )
    state = _moved(state, gradient).replace(stats=stats)
    if attacked.follow is not None:
        state = state.replace(universal=attacked.follow(*to_images))
    if state.triplet_loss is not None:
        state = state.replace(triplet_loss=_of_triplets(metrics))
    return state, {"loss": loss, "gradient_norm": optax.tree.norm(gradient.params), **metrics}


def _value_of(
    state: TrainState,
    attacked: Attacked,
    loss_fn: LossFunction,
    defense: Defense,
    devices: Collective,
) -> Callable[[_Learned, Variables, _Examples], _Value]:
    """(what is learned, statistics, examples) -> what is descended."""

    def value(learned: _Learned, stats: Variables, examples: _Examples) -> _Value:
        batch, images, targets = examples
        model = nnx.merge(state.graph, learned.params, stats, copy=True)
        seen, clean = _outputs(model, batch, images, defense)
        loss, metrics = _loss(seen, clean, batch.labels, loss_fn, defense, devices, targets=targets)
        if clean is not None and defense.consistency is not None:
            # They are of a whole batch.
            triplets = None if defense.meta_step else attacked.triplets
            sides = BothSides(clean.features, seen.features, triplets, state.step)
            term, of_both = defense.consistency(sides, devices)
            loss, metrics = loss + term, metrics | of_both
        opponent, judge = state.discriminator, learned.discriminator
        if clean is not None and opponent is not None and judge is not None:
            changed = jnp.any(images != batch.images, axis=(1, 2, 3))
            suspects = Suspects(clean.features, seen.features, changed)
            weight = defense.discriminator_weight
            term, of_both = opposed(opponent, judge, suspects, weight=weight, devices=devices)
            loss, metrics = loss + term, metrics | of_both
        if defense.penalty is not None:
            embed = seen_by(embedding(state.graph, learned.params, stats), batch.cameras)
            term, found = defense.penalty(embed, batch.images, batch.labels, devices)
            loss, metrics = loss + term, metrics | found
        _, _, stats = split(model)
        return loss, (stats, metrics)

    return value


def _descent(
    objective: Callable[[_Learned, Array], _Value],
    state: TrainState,
    attacked: Attacked,
    defense: Defense,
    devices: Collective,
) -> tuple[Any, _Learned, list[Array]]:
    """What an objective is and holds, and its gradients to what is learned and to the images.

    Those to the images, of this device, only where a perturbation follows them.
    """
    wanted = (0,) if attacked.follow is None else (0, 1)
    differentiate = jax.value_and_grad(objective, wanted, has_aux=True)

    def descend(params: Variables) -> tuple[Any, list[Array]]:
        rival = None if state.discriminator is None else state.discriminator.params
        # Statistics too: their mean over devices is what every device goes on with, so that the
        # state is one state wherever it is looked at, saved or resumed. Images are a device's own.
        found, (gradient, *to_images) = differentiate(_Learned(params, rival), attacked.images)
        return devices.mean((found, gradient)), to_images

    (found, gradient), to_images = descend(state.params)
    if defense.perturbation is not None:
        # Loss and statistics stay those of the weights that there are.
        there = defense.perturbation(state.params, gradient.params)
        (_, gradient), to_images = descend(there)
    return found, gradient, to_images


def _moved(state: TrainState, gradient: _Learned) -> TrainState:
    """The state after the optimizer's update of all that is learned."""
    updates, kept = state.optimizer.update(gradient.params, state.optimizer_state, state.params)
    params = optax.apply_updates(state.params, updates)
    rival = state.discriminator
    if rival is not None and gradient.discriminator is not None:
        rival = rival.descended(gradient.discriminator, state.optimizer)
    return state.replace(params=params, optimizer_state=kept, discriminator=rival)


def _of_triplets(metrics: Metrics) -> Array:
    """The loss of the triplets of this update, which the next attack goes by."""
    if "triplet_loss" not in metrics:
        raise InputError(
            "the state has a triplet_loss, but the defense no term on triplets: "
            "Defense(consistency=triplet_term(...))"
        )
    return metrics["triplet_loss"].astype(jnp.float32)
