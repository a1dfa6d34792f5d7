"""The part of the configuration that says how the loss is descended, and what is averaged."""

from dataclasses import dataclass
from typing import Literal

from jaxreid.constants import MOST_EPOCHS
from jaxreid.errors import InputError
from jaxreid.training.fields import Group, declare

__all__ = ["OptimizerConfig", "OptimizerName"]

OptimizerName = Literal["adam", "adamw", "sgd"]
"""See `jaxreid.training.optimizer`."""


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig(Group, group="optimizer"):
    """How the loss is descended."""

    name: OptimizerName = declare(
        "adamw",
        "`adam`: weight decay added to the gradient, as PyTorch's Adam; `adamw`: decoupled; `sgd`: "
        "Nesterov momentum 0.9, weight decay added to the gradient.",
    )
    learning_rate: float = declare(3e-3, "The highest of the run, for the whole batch.", above=0)
    weight_decay: float = declare(5e-4, "Of all parameters.", low=0)
    clip_norm: float = declare(
        0.0,
        "Longest gradient (L2 norm over all parameters), to which longer ones are scaled; 0 for no "
        "limit.",
        low=0,
    )
    ema: float = declare(
        0.0,
        "Decay per step of an exponential moving average of the parameters, which is then "
        "evaluated and saved as the result; 0 for none.",
        low=0,
        below=1,
    )
    swa_from_epoch: float = declare(
        0.0,
        "Epochs after which the mean of the parameters of all steps begins (SWA), which is then "
        "evaluated and saved as the result, with BatchNorm statistics of its own; 0 for none.",
        unit="epochs",
        low=0,
        high=MOST_EPOCHS,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ema and self.swa_from_epoch:
            raise InputError(
                "optimizer.ema and optimizer.swa_from_epoch are two averages of one result: one "
                f"must be 0; got {self.ema:g} and {self.swa_from_epoch:g}"
            )
