"""Black-box attacks on a service that shows rank lists, counted in the images that it is asked."""

from jaxreid.evaluation.blackbox.memory import Memory
from jaxreid.evaluation.blackbox.model import average_precision, ranker_of
from jaxreid.evaluation.blackbox.objectives import People, Seen, seen_in
from jaxreid.evaluation.blackbox.ranker import Answer, Ranker
from jaxreid.evaluation.blackbox.running import (
    STRATEGIES,
    Attacked,
    attack_by_queries,
    checkpoints_of,
)
from jaxreid.evaluation.blackbox.searching import Prior, Service, attack_searches
from jaxreid.evaluation.blackbox.strategy import Given, Strategy, Told

__all__ = [
    "STRATEGIES",
    "Answer",
    "Attacked",
    "Given",
    "Memory",
    "People",
    "Prior",
    "Ranker",
    "Seen",
    "Service",
    "Strategy",
    "Told",
    "attack_by_queries",
    "attack_searches",
    "average_precision",
    "checkpoints_of",
    "ranker_of",
    "seen_in",
]
