"""Metric adversarial training: adversaries, losses and defenses, one pure step, one pmap loop."""

from jaxreid.training.adversaries import goat
from jaxreid.training.auxiliary import Auxiliary, auxiliary_of
from jaxreid.training.bank_adversary import RankingObjective, ranking_adversary
from jaxreid.training.bisectors import bisector_penalty
from jaxreid.training.defenses import (
    BothSides,
    Consistency,
    Defense,
    Penalty,
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
from jaxreid.training.optim import Averaging, equal_average, moving_average, optimizer
from jaxreid.training.several_adversaries import one_of
from jaxreid.training.state import TrainBatch, TrainState
from jaxreid.training.step import train_step
from jaxreid.training.step_schedules import StepSchedule
from jaxreid.training.triplet_adversaries import Destination, TripletObjective, triplet_adversary
from jaxreid.training.triplet_terms import TripletTerm, triplet_term
from jaxreid.training.universal_perturbation import universal_adversary
from jaxreid.training.vertex_mixup import mixed_with_vertex

__all__ = [
    "Adversary",
    "Attacked",
    "Auxiliary",
    "Averaging",
    "BothSides",
    "Consistency",
    "Defense",
    "Destination",
    "Discriminator",
    "LossFunction",
    "Opponent",
    "Penalty",
    "Perturbation",
    "RankingObjective",
    "StepSchedule",
    "TrainBatch",
    "TrainState",
    "TripletObjective",
    "TripletTerm",
    "auxiliary_of",
    "bisector_penalty",
    "consistent",
    "cross_entropy_loss",
    "equal_average",
    "goat",
    "mixed_with_vertex",
    "moving_average",
    "one_of",
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
