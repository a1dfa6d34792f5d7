"""One training step: attack the batch with the weights of now, then learn from it."""

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from jaxreid.collectives import Collective
from jaxreid.errors import InputError
from jaxreid.models.cameras import cameras_of
from jaxreid.random import example_keys
from jaxreid.training.adversaries import Adversary
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
        averaging: how `state.average` follows the parameters, `moving_average(...)`; without, it
            stays as it is.
        axis_name: mapped axis of the devices; None for one device.
        replays: updates per batch, at least 1; static.

    Returns:
        The state of after, and metrics averaged over the whole batch (with replays, those of the
        last update), each [].

    Raises:
        InputError: replays below 1, or averaging for a state without an average.
    """
    if replays < 1:
        raise InputError(f"replays must be at least 1, got {replays}")
    if averaging is not None and state.average is None:
        raise InputError(
            "averaging needs a state with an average: TrainState.create(averaged=True)"
        )
    devices = Collective(axis_name)
    keys = example_keys(jax.random.fold_in(key, state.step), batch.indices)
    start: Array | None = None
    metrics: Metrics = {}
    # Unrolled: replays are few, and the first one has no start.
    for _ in range(replays):
        images, of_attack = batch.images, {}
        if adversary is not None:
            attacked = adversary(state, batch, keys, start, devices)
            images, start = attacked.images, attacked.adversarial
            of_attack = devices.mean(attacked.metrics)
            state = state.replace(bank=attacked.bank)
        state, metrics = _update(state, batch, images, loss_fn, devices)
        if averaging is not None and state.average is not None:
            state = state.replace(average=averaging(state.average, state.params))
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


def _update(
    state: TrainState,
    batch: TrainBatch,
    images: Array,
    loss_fn: LossFunction,
    devices: Collective,
) -> tuple[TrainState, Metrics]:
    """Descends the loss on the given images."""

    def objective(params: Variables) -> tuple[Array, tuple[Variables, Metrics]]:
        model = nnx.merge(state.graph, params, state.stats, copy=True)
        outputs = model(images, batch_norm="batch", **_beside(model, batch))
        loss, metrics = loss_fn(outputs, batch.labels, devices)
        _, _, stats = split(model)
        return loss, (stats, metrics)

    (loss, (stats, metrics)), gradient = jax.value_and_grad(objective, has_aux=True)(state.params)
    # Statistics too: their mean over devices is what every device goes on with, so that the state
    # is one state wherever it is looked at, saved or resumed.
    loss, stats, metrics, gradient = devices.mean((loss, stats, metrics, gradient))
    updates, optimizer_state = state.optimizer.update(gradient, state.optimizer_state, state.params)
    params = optax.apply_updates(state.params, updates)
    state = state.replace(params=params, stats=stats, optimizer_state=optimizer_state)
    return state, {"loss": loss, "gradient_norm": optax.tree.norm(gradient), **metrics}
