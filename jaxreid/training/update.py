"""One update of a training step: what it descends, its gradient, and the state after it."""

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
from jaxreid.training.auxiliary import Auxiliary, learned, overlaid, parts_of, those_of
from jaxreid.training.defenses import BothSides, Defense
from jaxreid.training.discriminator import Suspects, opposed
from jaxreid.training.inner_attack import Attacked
from jaxreid.training.objectives import LossFunction
from jaxreid.training.self_meta import halves_of, looked_ahead
from jaxreid.training.state import TrainBatch, TrainState, Variables, split
from jaxreid.types import Array, ArrayLike

__all__ = ["outputs_of", "updated"]

Metrics = dict[str, Array]
# The batch, its images to learn from, and soft labels of them or None.
_Examples = tuple[TrainBatch, Array, Array | None]


class _Statistics(NamedTuple):
    """BatchNorm's of the network, and of the layers that clean images pass where they have some."""

    network: Variables
    of_clean: Variables | None


_Value = tuple[Array, tuple[_Statistics, Metrics]]


class _Learned(NamedTuple):
    """What is learned of the network, and of the discriminator where there is one; or gradients."""

    params: Any
    discriminator: Variables | None


def _beside(model: nnx.Module, batch: TrainBatch) -> dict[str, ArrayLike]:
    """What a network takes beside images: the cameras, if it tells them apart."""
    count = cameras_of(model)
    if not count:
        return {}
    if batch.cameras is None:
        raise InputError(f"the network tells {count} cameras apart: TrainBatch.cameras is missing")
    return {"cameras": batch.cameras}


def outputs_of(
    model: Any, batch: TrainBatch, images: Array, defense: Defense, of_clean: Any = None
) -> tuple[Outputs, Outputs | None]:
    """What the network says of the images to learn from, and of the clean ones if it sees them.

    `of_clean` is the network that sees those, where that is another one.
    """
    see = partial(model, batch_norm="batch")
    beside = _beside(model, batch)
    if not defense.needs_clean:
        return see(images, **beside), None
    if of_clean is not None or not defense.together:
        clean = see if of_clean is None else partial(of_clean, batch_norm="batch")
        return see(images, **beside), clean(batch.images, **beside)
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


def updated(
    state: TrainState,
    batch: TrainBatch,
    attacked: Attacked,
    loss_fn: LossFunction,
    defense: Defense,
    devices: Collective,
) -> tuple[TrainState, Metrics]:
    """Descends the loss on attacked images, and on the clean ones if the defense wants them."""
    value = _value_of(state, attacked, loss_fn, defense, devices)
    before = _Statistics(state.stats, None if state.auxiliary is None else state.auxiliary.stats)

    def objective(of: _Learned, images: Array) -> _Value:
        if not defense.meta_step:
            return value(of, before, (batch, images, attacked.targets))
        return looked_ahead(
            lambda params, *rest: value(of._replace(params=params), *rest),
            of.params,
            before,
            halves_of((batch, images, attacked.targets)),
            size=defense.meta_step,
            devices=devices,
        )

    (loss, (stats, metrics)), gradient, to_images = _descent(
        objective, state, attacked, defense, devices
    )
    state = _moved(state, gradient, stats)
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
) -> Callable[[_Learned, _Statistics, _Examples], _Value]:
    """(what is learned, statistics, examples) -> what is descended."""

    def value(of: _Learned, stats: _Statistics, examples: _Examples) -> _Value:
        batch, images, targets = examples
        model, of_clean = _networks(state, of.params, stats)
        seen, clean = outputs_of(model, batch, images, defense, of_clean)
        loss, metrics = _loss(seen, clean, batch.labels, loss_fn, defense, devices, targets=targets)
        if clean is not None and defense.consistency is not None:
            # They are of a whole batch.
            triplets = None if defense.meta_step else attacked.triplets
            sides = BothSides(clean.features, seen.features, triplets, state.step)
            term, of_both = defense.consistency(sides, devices)
            loss, metrics = loss + term, metrics | of_both
        opponent, judge = state.discriminator, of.discriminator
        if clean is not None and opponent is not None and judge is not None:
            changed = jnp.any(images != batch.images, axis=(1, 2, 3))
            suspects = Suspects(clean.features, seen.features, changed)
            weight = defense.discriminator_weight
            term, of_both = opposed(opponent, judge, suspects, weight=weight, devices=devices)
            loss, metrics = loss + term, metrics | of_both
        if defense.penalty is not None:
            params, _ = parts_of(of.params, state.auxiliary)
            embed = seen_by(embedding(state.graph, params, stats.network), batch.cameras)
            term, found = defense.penalty(embed, batch.images, batch.labels, devices)
            loss, metrics = loss + term, metrics | found
        own = stats.of_clean and those_of(split(of_clean)[2], stats.of_clean)
        return loss, (_Statistics(split(model)[2], own), metrics)

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

    def descend(params: Any) -> tuple[Any, list[Array]]:
        rival = None if state.discriminator is None else state.discriminator.params
        # Statistics too: their mean over devices is what every device goes on with, so that the
        # state is one state wherever it is looked at, saved or resumed. Images are a device's own.
        found, (gradient, *to_images) = differentiate(_Learned(params, rival), attacked.images)
        return devices.mean((found, gradient)), to_images

    here = learned(state.params, state.auxiliary)
    (found, gradient), to_images = descend(here)
    if defense.perturbation is not None:
        # Loss and statistics stay those of the weights that there are.
        there = defense.perturbation(here, gradient.params)
        (_, gradient), to_images = descend(there)
    return found, gradient, to_images


def _moved(state: TrainState, gradient: _Learned, stats: _Statistics) -> TrainState:
    """The state after the optimizer's update of all that is learned."""
    before = learned(state.params, state.auxiliary)
    updates, kept = state.optimizer.update(gradient.params, state.optimizer_state, before)
    params, own = parts_of(optax.apply_updates(before, updates), state.auxiliary)
    rival = state.discriminator
    if rival is not None and gradient.discriminator is not None:
        rival = rival.descended(gradient.discriminator, state.optimizer)
    twin = None
    if own is not None and stats.of_clean is not None:
        twin = Auxiliary(own, stats.of_clean)
    return state.replace(
        params=params,
        stats=stats.network,
        optimizer_state=kept,
        auxiliary=twin,
        discriminator=rival,
    )


def _networks(state: TrainState, everything: Any, stats: _Statistics) -> tuple[Any, Any]:
    """The network with what is learned, and the one that clean images pass, if that is another."""
    params, own = parts_of(everything, state.auxiliary)
    model = nnx.merge(state.graph, params, stats.network, copy=True)
    if own is None or stats.of_clean is None:
        return model, None
    of_clean = overlaid(stats.network, stats.of_clean)
    return model, nnx.merge(state.graph, overlaid(params, own), of_clean, copy=True)


def _of_triplets(metrics: Metrics) -> Array:
    """The loss of the triplets of this update, which the next attack goes by."""
    if "triplet_loss" not in metrics:
        raise InputError(
            "the state has a triplet_loss, but the defense no term on triplets: "
            "Defense(consistency=triplet_term(...))"
        )
    return metrics["triplet_loss"].astype(jnp.float32)
