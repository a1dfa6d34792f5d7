"""One training step: attack the batch with the weights of now, then learn from it."""

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax import lax

from jaxreid.collectives import Collective
from jaxreid.errors import InputError
from jaxreid.random import example_keys
from jaxreid.training.defenses import Defense
from jaxreid.training.inner_attack import Adversary, Attacked
from jaxreid.training.objectives import LossFunction
from jaxreid.training.optim import Averaging
from jaxreid.training.state import TrainBatch, TrainState, Variables, split
from jaxreid.training.update import outputs_of, updated
from jaxreid.types import Array

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
            nothing, one without triplets for a state with a triplet_loss, one without clean images
            for a state with BatchNorm layers for them, one that has no use for the state's
            discriminator or lacks it, or a self-meta step for an odd number of images.
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
    _check_discriminator(state, defense)
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
        state, metrics = updated(state, batch, attacked, loss_fn, defense, devices)
        if averaging is not None:
            weight = averaging(state.step * replays + replay)
            state = _averaged(state, weight, batch, attacked.images, defense, devices)
        metrics = {**metrics, **of_attack}
    return state.replace(step=state.step + jnp.int32(1)), metrics


def _check_discriminator(state: TrainState, defense: Defense) -> None:
    if (state.discriminator is None) == (defense.discriminator_weight > 0):
        raise InputError(
            "a discriminator needs both Defense(discriminator_weight=...) above 0 and a state with "
            "one: TrainState.create(...).replace(discriminator=Opponent.create(...))"
        )


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
        outputs_of(model, batch, images, defense if state.auxiliary is None else Defense())
        seen: Variables = devices.mean(split(model)[2])
        return seen

    # With all of the weight, the parameters of now are the average.
    stats = lax.cond(weight < 1, followed, lambda _: state.stats, state.average_stats)
    return state.replace(average=average, average_stats=stats)
