"""Optimisers as chains of optax transformations."""

from collections.abc import Callable
from typing import Literal, get_args

import optax

from jaxreid.errors import InputError
from jaxreid.types import Array

__all__ = ["OptimizerName", "optimizer"]

OptimizerName = Literal["adam", "adamw", "sgd"]
"""See `optimizer`."""

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
