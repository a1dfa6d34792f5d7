"""Metric adversarial training: GOAT as an adversary, one pure step, one loop of pmap."""

from jaxreid.training.goat import Adversary, Attacked, goat
from jaxreid.training.objectives import cross_entropy_loss, triplet_loss
from jaxreid.training.optimizers import optimizer
from jaxreid.training.state import TrainBatch, TrainState
from jaxreid.training.step import LossFunction, train_step

__all__ = [
    "Adversary",
    "Attacked",
    "LossFunction",
    "TrainBatch",
    "TrainState",
    "cross_entropy_loss",
    "goat",
    "optimizer",
    "train_step",
    "triplet_loss",
]
