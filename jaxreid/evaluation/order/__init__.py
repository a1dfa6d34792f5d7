"""Attacks that raise or lower chosen items of a ranking, and the score that is made of them."""

from jaxreid.evaluation.order.running import attack_rankings, ranking_attack_names
from jaxreid.evaluation.order.specs import RANKING_ATTACKS, RankingAttackSpec

__all__ = [
    "RANKING_ATTACKS",
    "RankingAttackSpec",
    "attack_rankings",
    "ranking_attack_names",
]
