"""Metric adversarial training: GOAT as an adversary, one pure step, one loop of pmap."""

from jaxreid.training.adversaries import Adversary, Attacked, goat
from jaxreid.training.objectives import LossFunction, cross_entropy_loss, triplet_loss
from jaxreid.training.optim import Averaging, moving_average, optimizer
from jaxreid.training.state import TrainBatch, TrainState
from jaxreid.training.step import train_step

__all__ = [
    "Adversary",
    "Attacked",
    "Averaging",
    "LossFunction",
    "TrainBatch",
    "TrainState",
    "cross_entropy_loss",
    "goat",
    "moving_average",
    "optimizer",
    "train_step",
    "triplet_loss",
]
