"""One training step: attack the batch with the weights of now, then learn from it."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax import lax

from jaxreid.cameras import seen_by
from jaxreid.collectives import Collective
from jaxreid.errors import InputError
from jaxreid.models import Outputs, embedding
from jaxreid.models.cameras import cameras_of
from jaxreid.random import example_keys
from jaxreid.training.auxiliary import Auxiliary, learned, overlaid, parts_of, those_of
from jaxreid.training.defenses import BothSides, Defense
from jaxreid.training.inner_attack import Adversary, Attacked
from jaxreid.training.objectives import LossFunction
from jaxreid.training.optim import Averaging
from jaxreid.training.state import TrainBatch, TrainState, Variables, split
from jaxreid.types import Array, ArrayLike

__all__ = ["train_step"]

Metrics = dict[str, Array]


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
        averaging: how `state.average` follows the parameters, `moving_average(...)` or
            `equal_average(...)`; without, it stays as it is. Statistics of its own follow what its
            network makes of the same images, once it is another one than that of now.
        axis_name: mapped axis of the devices; None for one device.
        replays: updates per batch, at least 1; static.

    Returns:
        The state of after, and metrics averaged over the whole batch (with replays, those of the
        last update), each [].

    Raises:
        InputError: replays below 1, averaging for a state without an average, a defense that weighs
            nothing, one without triplets for a state with a triplet_loss, or one without clean
            images for a state with BatchNorm layers for them.
    """
    if replays < 1:
        raise InputError(f"replays must be at least 1, got {replays}")
    if averaging is not None and state.average is None:
        raise InputError(
            "averaging needs a state with an average: TrainState.create(averaged=True)"
        )
    defense = Defense() if defense is None else defense
    defense.check()
    if state.auxiliary is not None and not defense.needs_clean:
        raise InputError(
            "BatchNorm layers for clean images need a defense that sees them: Defense(clean_weight"
            "=...) or Defense(consistency=...)"
        )
    devices = Collective(axis_name)
    keys = example_keys(jax.random.fold_in(key, state.step), batch.indices)
    start: Array | None = None
    metrics: Metrics = {}
    # Unrolled: replays are few, and the first one has no start.
    for replay in range(1, replays + 1):
        attacked = Attacked(batch.images, batch.images, None, {})
        if adversary is not None:
            attacked = adversary(state, batch, keys, start, devices)
            start = attacked.adversarial
            state = state.replace(bank=attacked.bank)
        of_attack = devices.mean(attacked.metrics)
        state, metrics = _update(state, batch, attacked, loss_fn, defense, devices)
        if averaging is not None:
            weight = averaging(state.step * replays + replay)
            state = _averaged(state, weight, batch, attacked.images, defense, devices)
        metrics = {**metrics, **of_attack}
    return state.replace(step=state.step + jnp.int32(1)), metrics


def _beside(model: nnx.Module, batch: TrainBatch) -> dict[str, ArrayLike]:
    """What a network takes beside images: the cameras, if it tells them apart."""
    count = cameras_of(model)
    if not count:
        return {}
    if batch.cameras is None:
        raise InputError(f"the network tells {count} cameras apart: TrainBatch.cameras is missing")
    return {"cameras": batch.cameras}


def _outputs(
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


def _update(
    state: TrainState,
    batch: TrainBatch,
    attacked: Attacked,
    loss_fn: LossFunction,
    defense: Defense,
    devices: Collective,
) -> tuple[TrainState, Metrics]:
    """Descends the loss on attacked images, and on the clean ones if the defense wants them."""

    def objective(
        everything: Any,
    ) -> tuple[Array, tuple[Variables, Variables | None, Metrics]]:
        model, of_clean = _networks(state, everything)
        seen, clean = _outputs(model, batch, attacked.images, defense, of_clean)
        loss, metrics = _loss(
            seen, clean, batch.labels, loss_fn, defense, devices, targets=attacked.targets
        )
        if clean is not None and defense.consistency is not None:
            sides = BothSides(clean.features, seen.features, attacked.triplets, state.step)
            value, of_both = defense.consistency(sides, devices)
            loss, metrics = loss + value, metrics | of_both
        if defense.penalty is not None:
            params, _ = parts_of(everything, state.auxiliary)
            embed = seen_by(embedding(state.graph, params, state.stats), batch.cameras)
            value, found = defense.penalty(embed, batch.images, batch.labels, devices)
            loss, metrics = loss + value, metrics | found
        own_stats = None
        if state.auxiliary is not None:
            own_stats = those_of(split(of_clean)[2], state.auxiliary.stats)
        return loss, (split(model)[2], own_stats, metrics)

    descend = jax.value_and_grad(objective, has_aux=True)
    before = learned(state.params, state.auxiliary)
    # Statistics too: their mean over devices is what every device goes on with, so that the state
    # is one state wherever it is looked at, saved or resumed.
    (loss, (stats, own_stats, metrics)), gradient = devices.mean(descend(before))
    if defense.perturbation is not None:
        # Loss and statistics stay those of the weights that there are.
        _, gradient = devices.mean(descend(defense.perturbation(before, gradient)))
    updates, optimizer_state = state.optimizer.update(gradient, state.optimizer_state, before)
    params, own = parts_of(optax.apply_updates(before, updates), state.auxiliary)
    state = state.replace(
        params=params,
        stats=stats,
        optimizer_state=optimizer_state,
        auxiliary=None if own is None else Auxiliary(own, own_stats),
    )
    if state.triplet_loss is not None:
        state = state.replace(triplet_loss=_of_triplets(metrics))
    return state, {"loss": loss, "gradient_norm": optax.tree.norm(gradient), **metrics}


def _networks(state: TrainState, everything: Any) -> tuple[Any, Any]:
    """The network with what is learned, and the one that clean images pass, if that is another."""
    params, own = parts_of(everything, state.auxiliary)
    model = nnx.merge(state.graph, params, state.stats, copy=True)
    if own is None or state.auxiliary is None:
        return model, None
    stats = overlaid(state.stats, state.auxiliary.stats)
    return model, nnx.merge(state.graph, overlaid(params, own), stats, copy=True)


def _averaged(
    state: TrainState,
    weight: Array | float,
    batch: TrainBatch,
    images: Array,
    defense: Defense,
    devices: Collective,
) -> TrainState:
    """Moves the average towards the parameters, and its statistics to what its network sees.

    Those of the network that is trained would not fit: Izmailov et al. pass once more over the
    data, where here each batch is seen as it comes.
    """
    average = optax.incremental_update(state.params, state.average, weight)
    if state.average_stats is None:
        return state.replace(average=average)

    def followed(stats: Variables) -> Variables:
        model = nnx.merge(state.graph, average, stats, copy=True)
        # Clean images that pass other layers are nothing to these statistics.
        _outputs(model, batch, images, defense if state.auxiliary is None else Defense())
        seen: Variables = devices.mean(split(model)[2])
        return seen

    # With all of the weight, the parameters of now are the average.
    stats = lax.cond(weight < 1, followed, lambda _: state.stats, state.average_stats)
    return state.replace(average=average, average_stats=stats)


def _of_triplets(metrics: Metrics) -> Array:
    """The loss of the triplets of this update, which the next attack goes by."""
    if "triplet_loss" not in metrics:
        raise InputError(
            "the state has a triplet_loss, but the defense no term on triplets: "
            "Defense(consistency=triplet_term(...))"
        )
    return metrics["triplet_loss"].astype(jnp.float32)
