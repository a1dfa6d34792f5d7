"""Metric adversarial training: adversaries, losses and defenses, one pure step, one pmap loop."""

from jaxreid.training.adversaries import Adversary, Attacked, goat
from jaxreid.training.bank_adversary import RankingObjective, ranking_adversary
from jaxreid.training.defenses import (
    Consistency,
    Defense,
    Perturbation,
    consistent,
    weight_perturbation,
)
from jaxreid.training.objectives import (
    LossFunction,
    cross_entropy_loss,
    precision_loss,
    triplet_loss,
    weighted_losses,
)
from jaxreid.training.optim import Averaging, moving_average, optimizer
from jaxreid.training.state import TrainBatch, TrainState
from jaxreid.training.step import train_step

__all__ = [
    "Adversary",
    "Attacked",
    "Averaging",
    "Consistency",
    "Defense",
    "LossFunction",
    "Perturbation",
    "RankingObjective",
    "TrainBatch",
    "TrainState",
    "consistent",
    "cross_entropy_loss",
    "goat",
    "moving_average",
    "optimizer",
    "precision_loss",
    "ranking_adversary",
    "train_step",
    "triplet_loss",
    "weight_perturbation",
    "weighted_losses",
]
