"""One training step: attack the batch with the weights of now, then learn from it."""

from typing import Any, Protocol

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax import lax

from jaxreid.errors import InputError
from jaxreid.models import Outputs
from jaxreid.random import example_keys
from jaxreid.training.goat import Adversary
from jaxreid.training.state import TrainBatch, TrainState, split
from jaxreid.types import Array, ArrayLike

__all__ = ["LossFunction", "train_step"]


class LossFunction(Protocol):
    """(Outputs, labels [B], axis_name) -> loss [] and figures for the log, each []."""

    def __call__(  # noqa: D102
        self, outputs: Outputs, labels: ArrayLike, axis_name: str | None
    ) -> tuple[Array, dict[str, Array]]: ...


def _across(tree: Any, axis_name: str | None) -> Any:
    return tree if axis_name is None else lax.pmean(tree, axis_name)


def _update(
    state: TrainState,
    batch: TrainBatch,
    images: Array,
    *,
    loss_fn: LossFunction,
    axis_name: str | None,
    average_decay: float,
) -> tuple[TrainState, dict[str, Array]]:
    """Descends the loss on the given images."""

    def objective(params: Any) -> tuple[Array, tuple[Any, dict[str, Array]]]:
        model = nnx.merge(state.graph, params, state.stats, copy=True)
        loss, figures = loss_fn(model(images, batch_norm="batch"), batch.labels, axis_name)
        _, _, stats = split(model)
        return loss, (stats, figures)

    (loss, (stats, figures)), gradient = jax.value_and_grad(objective, has_aux=True)(state.params)
    # Statistics too: their mean over devices is what every device goes on with, so that the state
    # is one state wherever it is looked at, saved or resumed.
    loss, stats, figures, gradient = _across((loss, stats, figures, gradient), axis_name)
    updates, optimizer_state = state.optimizer.update(gradient, state.optimizer_state, state.params)
    params = optax.apply_updates(state.params, updates)
    average = state.average
    if average is not None:
        average = optax.incremental_update(params, average, 1 - average_decay)
    figures = {"loss": loss, "gradient_norm": optax.tree.norm(gradient), **figures}
    return state.replace(
        params=params, stats=stats, optimizer_state=optimizer_state, average=average
    ), figures


def train_step(
    state: TrainState,
    batch: TrainBatch,
    key: Array,
    *,
    loss_fn: LossFunction,
    adversary: Adversary | None = None,
    axis_name: str | None = None,
    replays: int = 1,
    average_decay: float = 0.0,
) -> tuple[TrainState, dict[str, Array]]:
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
        axis_name: mapped axis of the devices; None for one device.
        replays: updates per batch, at least 1; static.
        average_decay: decay per update of the moving average of parameters, in [0, 1).

    Returns:
        The state of after, and figures averaged over the whole batch (with replays, those of the
        last update), each [].

    Raises:
        InputError: replays below 1.
    """
    if replays < 1:
        raise InputError(f"replays must be at least 1, got {replays}")
    keys = example_keys(jax.random.fold_in(key, state.step), batch.indices)
    start: Array | None = None
    figures: dict[str, Array] = {}
    # Unrolled: replays are few, and the first one has no start.
    for _ in range(replays):
        images, strength = batch.images, {}
        if adversary is not None:
            attacked = adversary(state, batch, keys, start)
            images, start = attacked.images, attacked.adversarial
            strength = _across(attacked.figures, axis_name)
            state = state.replace(bank=attacked.bank)
        state, figures = _update(
            state,
            batch,
            images,
            loss_fn=loss_fn,
            axis_name=axis_name,
            average_decay=average_decay,
        )
        figures = {**figures, **strength}
    return state.replace(step=state.step + jnp.int32(1)), figures
