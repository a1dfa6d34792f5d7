"""Changes that are learned once and laid on any image: one for all, or drawn by a network."""

from jaxreid.evaluation.universal.files import load_perturbation, save_perturbation
from jaxreid.evaluation.universal.learning import learn_perturbation
from jaxreid.evaluation.universal.perturbation import Perturbation
from jaxreid.evaluation.universal.recipe import Recipe

__all__ = [
    "Perturbation",
    "Recipe",
    "learn_perturbation",
    "load_perturbation",
    "save_perturbation",
]
