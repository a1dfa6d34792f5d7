"""Clean and attacked retrieval: features of a split, and what an attack leaves of the ranking."""

from jaxreid.evaluation.attacking import Reading
from jaxreid.evaluation.conditions import attack_names, canonical, conditions
from jaxreid.evaluation.extract import extract
from jaxreid.evaluation.robustness import robustness
from jaxreid.evaluation.views import mirrored, unit_length

__all__ = [
    "Reading",
    "attack_names",
    "canonical",
    "conditions",
    "extract",
    "mirrored",
    "robustness",
    "unit_length",
]
