"""Metric adversarial training: adversaries, losses and defenses, one pure step, one pmap loop."""

from jaxreid.training.adversaries import goat
from jaxreid.training.bank_adversary import RankingObjective, ranking_adversary
from jaxreid.training.defenses import (
    BothSides,
    Consistency,
    Defense,
    Perturbation,
    consistent,
    weight_perturbation,
)
from jaxreid.training.discriminator import Discriminator, Opponent
from jaxreid.training.inner_attack import Adversary, Attacked
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
from jaxreid.training.triplet_adversaries import Destination, TripletObjective, triplet_adversary
from jaxreid.training.triplet_terms import TripletTerm, triplet_term
from jaxreid.training.universal_perturbation import universal_adversary

__all__ = [
    "Adversary",
    "Attacked",
    "Averaging",
    "BothSides",
    "Consistency",
    "Defense",
    "Destination",
    "Discriminator",
    "LossFunction",
    "Opponent",
    "Perturbation",
    "RankingObjective",
    "TrainBatch",
    "TrainState",
    "TripletObjective",
    "TripletTerm",
    "consistent",
    "cross_entropy_loss",
    "goat",
    "moving_average",
    "optimizer",
    "precision_loss",
    "ranking_adversary",
    "train_step",
    "triplet_adversary",
    "triplet_loss",
    "triplet_term",
    "universal_adversary",
    "weight_perturbation",
    "weighted_losses",
]
