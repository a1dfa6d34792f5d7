"""The defenses that presets know by name: what each is beside the attack of GOAT it begins with.

All but `recommended` are as published, as far as this trainer goes: each also learns to classify
(or to rank, with a triplet head) the attacked images, and its numbers of steps and epochs are those
of the preset.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

__all__ = ["DEFENSES", "NamedDefense"]


class NamedDefense(NamedTuple):
    """A row of the table.

    Attributes:
        attack: the word of `goat=` that it begins with.
        fields: of the configuration, what it changes.
        compares: whether clean images are in what is learned, beside or within the attacked ones.
        on_triplets: whether it needs several images of a person in a batch.
        on_drawn_people: more fields that change where people are drawn.
    """

    attack: str
    fields: Mapping[str, object]
    compares: bool = False
    on_triplets: bool = False
    on_drawn_people: Mapping[str, object] = MappingProxyType({})


def _on_triplets(objective: str, consistency: str, **more: float) -> NamedDefense:
    fields = {
        "batch.sampler": "identities",
        "goat.objective": objective,
        "defense.consistency": consistency,
        **{f"defense.{name}": value for name, value in more.items()},
    }
    return NamedDefense("sma", fields, compares=True, on_triplets=True)


_TRADES = {
    "defense.attacked_weight": 0.0,
    "defense.clean_weight": 1.0,
    "defense.consistency": "similarities",
}
# Budget, step, diversity and blur as published; how many images stay clean and how seldom the
# perturbation is drawn anew is our choice, and batches, losses and epochs are the preset's.
_UNIVERSAL = {
    "goat.objective": "universal",
    "goat.eps": 4.0,
    "goat.step_size": 2.55,
    "goat.steps": 1,
    "goat.clean_fraction": 0.5,
    "goat.restart_every": 100,
    "goat.diversity": 0.5,
    "goat.blur": 3.0,
}
# What came out best in docs/defenses.md. On drawn people, four times as many of them count most.
_RECOMMENDED = {
    "goat.eps": 4.0,
    "goat.steps": 2,
    "goat.step_size": 3.0,
    "goat.clean_fraction": 0.0,
    "goat.guide_bank": True,
}
_MORE_PEOPLE = {
    "dataset.name": "synthetic_reid/people_800",
    "epochs": 4,
    "evaluation.every_epochs": 2,
}
DEFENSES: Mapping[str, NamedDefense] = {
    "recommended": NamedDefense("fna", _RECOMMENDED, on_drawn_people=_MORE_PEOPLE),
    "trades": NamedDefense("sma", _TRADES, compares=True),
    # The published weight of the intra-class structure, of 0.05 and 0.5 the one of the paper.
    "hm": _on_triplets("hardness", "triplets", structure_weight=0.5),
    "act": _on_triplets("collapse", "candidates"),
    # Features as far from where they were as they get: SMA.
    "est": NamedDefense("sma", {}),
    "amd": _on_triplets("misorder", "triplets"),
    "catride": _on_triplets("decoupled", "decoupled"),
    "ranking": NamedDefense("sma", {"goat.objective": "soft_margin"}),
    # The blur is published for images four times as large as drawn ones.
    "universal": NamedDefense("sma", _UNIVERSAL, on_drawn_people={"goat.blur": 0.75}),
    "awp": NamedDefense("fna", {"defense.weight_perturbation": 0.005}),
    # Half of what the label of the vertex leaves the own class.
    "fnes": NamedDefense("fna", {"mixup.stretch": 2.0, "mixup.guide_label": 0.05}, compares=True),
}
"""Word behind `defense=` -> what it stands for."""
