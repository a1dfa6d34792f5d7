"""The table of ranking attacks: who is changed, which candidate is drawn, what is climbed."""

from typing import Literal, NamedTuple, get_args

from jaxreid.records import ERS_TERMS

__all__ = ["CANDIDATES", "RANKING_ATTACKS", "SCORED", "Candidate", "Changed", "RankingAttackSpec"]

Changed = Literal["query", "candidate"]
"""The image that is attacked."""
Candidate = Literal["any", "near", "first", "first other"]
"""Which item of the query's list is the candidate: any, one of the nearest hundredth, the first
one, or the first one that is no match."""
CANDIDATES: tuple[Candidate, ...] = get_args(Candidate)
"""All of them."""


class RankingAttackSpec(NamedTuple):
    """A ranking attack.

    Attributes:
        title: full name.
        candidate: the item that it is about.
        objective: key of `jaxreid.evaluation.order.measures.OBJECTIVES`.
        measures: keys of `jaxreid.evaluation.order.measures.MEASURES`.
        changed: the image that is attacked.
    """

    title: str
    candidate: Candidate
    objective: str
    measures: tuple[str, ...]
    changed: Changed = "query"


_Spec = RankingAttackSpec

RANKING_ATTACKS: dict[str, RankingAttackSpec] = {
    "ca+": _Spec("Candidate attack, raising", "any", "raised", ("raised",), "candidate"),
    "ca-": _Spec("Candidate attack, lowering", "near", "lowered", ("lowered",), "candidate"),
    "qa+": _Spec("Query attack, raising", "any", "raised", ("raised",)),
    "qa-": _Spec("Query attack, lowering", "near", "lowered", ("lowered",)),
    "tma": _Spec("Targeted mismatch", "any", "towards", ("cosine",)),
    "es": _Spec("Embedding shift", "first", "shift", ("shift", "first")),
    "ltm": _Spec("Learning to misrank", "first", "furthest margin", ("first",)),
    "gtm": _Spec("Greedy top-1 misranking", "first other", "nearer", ("first",)),
    "gtt": _Spec("Greedy top-1 translocation", "first", "lowered", ("retained",)),
    "spqa+": _Spec(
        "Guarded query attack, raising", "any", "raised, guarded", ("raised, guarded", "guards")
    ),
    "spqa-": _Spec(
        "Guarded query attack, lowering", "near", "lowered, guarded", ("lowered, guarded", "guards")
    ),
}
"""Name -> ranking attack. Zhou et al., "Adversarial Ranking
Attack and Defense", ECCV 2020, https://arxiv.org/abs/2002.11293, and "Adversarial Attack and
Defense in Deep Ranking", https://arxiv.org/abs/2106.03614."""

SCORED = tuple(dict.fromkeys(term.attack for term in ERS_TERMS))
"""Those that the ERS is made of."""
