"""Optimisers, learning rates and averages of parameters, put together from optax."""

from collections.abc import Callable
from typing import get_args

import jax.numpy as jnp
import optax

from jaxreid.errors import InputError
from jaxreid.training.config import OptimizerConfig, OptimizerName, ScheduleConfig
from jaxreid.types import Array

__all__ = [
    "Averaging",
    "OptimizerName",
    "averaging_of",
    "equal_average",
    "moving_average",
    "optimizer",
    "schedule",
    "warmup",
]

Averaging = Callable[[Array], Array | float]
"""Updates so far, with this one, [] integer from 1 -> weight of the parameters of now, above 0 and
at most 1, in an average that has the rest of its weight from before."""

_MOMENTUM = 0.9


def optimizer(
    name: OptimizerName,
    learning_rate: Callable[[Array], Array],
    *,
    weight_decay: float = 0.0,
    clip_norm: float = 0.0,
) -> optax.GradientTransformation:
    """Clipping, weight decay, Adam or momentum, learning rate.

    "adam" adds the decay to the gradient before Adam sees it, as PyTorch's `Adam` and the paper's
    code do (Kingma and Ba, https://arxiv.org/abs/1412.6980); "adamw" decouples it (Loshchilov and
    Hutter, https://arxiv.org/abs/1711.05101); "sgd" has Nesterov momentum 0.9 and adds the decay
    to the gradient.

    Args:
        name: "adam", "adamw" or "sgd".
        learning_rate: number of updates before this one [] -> []; its value is the step's length.
        weight_decay: of all parameters, 0 or more.
        clip_norm: longest gradient, L2 over all parameters; 0 for no limit.

    Returns:
        An optax transformation whose updates are added to the parameters.

    Raises:
        InputError: an unknown name, or a negative number.
    """
    if name not in get_args(OptimizerName):
        raise InputError(f"optimizer must be one of {get_args(OptimizerName)}, got {name!r}")
    if weight_decay < 0 or clip_norm < 0:
        raise InputError(
            f"weight_decay and clip_norm must be 0 or more, got {weight_decay} and {clip_norm}"
        )
    decay = optax.add_decayed_weights(weight_decay)
    follow = {
        "adam": (decay, optax.scale_by_adam()),
        "adamw": (optax.scale_by_adam(), decay),
        "sgd": (decay, optax.trace(_MOMENTUM, nesterov=True)),
    }[name]
    clip = (optax.clip_by_global_norm(clip_norm),) if clip_norm else ()
    return optax.chain(*clip, *follow, optax.scale_by_learning_rate(learning_rate))


def schedule(fields: ScheduleConfig, *, epochs: float) -> optax.Schedule:
    """The learning rate over the epochs, as a factor of its peak.

    "constant" is 1. "steps" multiplies by `factor` at each of the `boundaries` (Bouniot et al.: 0.1
    at epochs 20 and 40). "exponential" is 1 until `decay_start`, then
    ``final_fraction ** ((epoch - decay_start) / decay_epochs)`` (Hermans et al., "In Defense of the
    Triplet Loss", https://arxiv.org/abs/1703.07737; Bouniot et al.: 0.001 over 100 epochs from
    epoch 50 on). "cosine" is half a cosine wave from the end of the warm-up down to 0 (Loshchilov
    and Hutter, "SGDR", ICLR 2017, https://arxiv.org/abs/1608.03983). All are multiplied by the
    linear warm-up.

    Args:
        fields: config.schedule.
        epochs: of the run, more than the warm-up's.

    Returns:
        epoch [] (0 at the start, with fractions) -> factor [].
    """
    start = fields.warmup_epochs
    wave = optax.cosine_decay_schedule(1.0, 1)
    shape = {
        "constant": optax.constant_schedule(1.0),
        "steps": optax.piecewise_constant_schedule(
            1.0, dict.fromkeys(fields.boundaries, fields.factor)
        ),
        "exponential": optax.exponential_decay(
            1.0, fields.decay_epochs, fields.final_fraction, fields.decay_start
        ),
        "cosine": lambda epoch: wave(jnp.clip((epoch - start) / (epochs - start), 0, 1)),
    }[fields.name]
    growth = warmup(start)
    return lambda epoch: growth(epoch) * shape(epoch)


def warmup(epochs: float) -> optax.Schedule:
    """Grows linearly from 0 to 1, ``min(1, epoch / epochs)``.

    Args:
        epochs: 0 or more; 0 is always 1.

    Returns:
        epoch [] -> factor [].
    """
    if not epochs:
        return optax.constant_schedule(1.0)
    # optax.linear_schedule computes 1 - (1 - x), which loses the digits of a small x.
    return lambda epoch: jnp.minimum(epoch / epochs, 1.0)


def moving_average(decay: float) -> Averaging:
    """Exponential moving average of the parameters, ``decay * average + (1 - decay) * params``.

    Args:
        decay: per update, in [0, 1).

    Returns:
        The rule by which a step averages.
    """
    return lambda updates: 1 - decay


def equal_average(after: int) -> Averaging:
    """Mean of the parameters of all updates from one on: stochastic weight averaging (SWA).

    ``average + (params - average) / n`` at the n-th update after the first `after` ones; the
    parameters of now until then. Izmailov et al., "Averaging Weights Leads to Wider Optima and
    Better Generalization", UAI 2018, https://arxiv.org/abs/1803.05407; of adversarial training
    Gowal et al., https://arxiv.org/abs/2010.03593. Every update counts, not one per epoch.

    Args:
        after: updates before those that are averaged, 0 or more.

    Returns:
        The rule by which a step averages.

    Raises:
        InputError: a negative number.
    """
    if after < 0:
        raise InputError(f"updates before an average must be 0 or more, got {after}")
    return lambda updates: 1 / jnp.maximum(updates - after, 1).astype(jnp.float32)


def averaging_of(fields: OptimizerConfig, updates_per_epoch: int) -> Averaging | None:
    """The average that a configuration asks for.

    Args:
        fields: config.optimizer.
        updates_per_epoch: of the parameters, 1 or more.

    Returns:
        The rule by which a step averages; None for no average.
    """
    if fields.swa_from_epoch:
        return equal_average(round(fields.swa_from_epoch * updates_per_epoch))
    return moving_average(fields.ema) if fields.ema else None
