"""The paper: its numbers, to compare ours with, and what its own code does differently.

Bouniot, Audigier, Loesch, "Vulnerability of Person Re-Identification Models to Metric Adversarial
Attacks", CVPR Workshops 2020, https://openaccess.thecvf.com/content_CVPRW_2020/html/w47/Bouniot_Vulnerability_of_Person_Re-Identification_Models_to_Metric_Adversarial_Attacks_CVPRW_2020_paper.html

mAP in %, trapezoid (protocol "market1501"); queries attacked with guides from the queries,
L-infinity, 15 steps of 1/255. Model "C" is a ResNet-50 trained by classification. The authors
published the numbers without the dataset's name; they fit Market-1501.
"""

import dataclasses
from types import MappingProxyType
from typing import NamedTuple

from jaxreid.attacks import ATTACKS, AttackSpec
from jaxreid.constants import Distance
from jaxreid.records import Condition

__all__ = [
    "CURVES",
    "MODELS",
    "STUDIED",
    "Choices",
    "PaperModel",
    "as_paper_matters",
    "choices",
    "paper_map",
]


class PaperModel(NamedTuple):
    """A row of the paper's table.

    Attributes:
        title: the model.
        distance: between features.
        mean_average_precision: name of an attack ("clean" for none) -> mAP in % at eps = 5/255.
    """

    title: str
    distance: Distance
    mean_average_precision: MappingProxyType[str, float]


def _row(
    title: str, distance: Distance, clean: float, ifgsm: float, sma: float, fna: float
) -> PaperModel:
    values = {"clean": clean, "ifgsm": ifgsm, "sma": sma, "fna": fna}
    return PaperModel(title, distance, MappingProxyType(values))


MODELS = (
    _row("C", "euclidean", 76.02, 3.20, 2.34, 0.53),
    _row("C", "cosine", 77.53, 0.21, 0.26, 0.07),
    _row("C, GOAT 0 push 0 pull", "euclidean", 68.08, 21.67, 25.92, 11.77),
    _row("C, GOAT 0 push 0 pull", "cosine", 69.99, 15.51, 22.91, 8.70),
    _row("C, GOAT 4 push 1 pull", "euclidean", 69.95, 26.33, 29.45, 16.76),
    _row("C, GOAT 4 push 1 pull", "cosine", 71.55, 20.24, 26.28, 13.41),
)
"""The paper's table at eps = 5/255, the undefended model first."""

STUDIED = (
    "fgsm",
    "fgsm_multi",
    "ifgsm",
    "ifgsm_multi",
    "mifgsm",
    "mifgsm_multi",
    "sma",
    "odfa",
    "fna",
    "fna_without_push",
    "fna_without_pull",
    "fna_random_pull",
)
"""The attacks that the paper studies, keys of ATTACKS."""

CURVES: MappingProxyType[str, tuple[float, ...]] = MappingProxyType(
    {
        "clean": (76.0,),
        "ifgsm": (48.5, 23.0, 10.5, 5.2, 3.0),
        "sma": (58.5, 27.8, 10.5, 4.8, 2.4),
        "fna": (39.8, 11.8, 3.2, 1.1, 0.5),
        "fna_without_pull": (44.2, 18.3, 7.4, 3.7, 1.9),
        "fna_without_push": (66.0, 39.6, 13.0, 4.4, 1.5),
        "fna_random_pull": (65.2, 41.2, 15.7, 7.0, 2.5),
    }
)
"""mAP in % of the undefended model by L2 at eps = 1, 2, 3, 4, 5 (in 1/255), read off the authors'
plots to +-0.5; that of clean images for "clean"."""


def paper_map(attack: str, eps: float, distance: str) -> float | None:
    """The paper's mAP in % for its undefended model; None where the paper has none.

    From the table where it has the number, from the plots elsewhere. `attack` is a key of ATTACKS
    or "clean", for which `eps` (in 1/255) is not used.
    """
    for model in MODELS[:2]:
        if model.distance == distance and (attack == "clean" or eps == 5):
            value = model.mean_average_precision.get(attack)
            if value is not None:
                return value
    curve = CURVES.get(attack, ()) if distance == "euclidean" and attack != "clean" else ()
    if float(eps).is_integer() and 1 <= eps <= len(curve):
        return curve[int(eps) - 1]
    return None


class Choices(NamedTuple):
    """What a condition runs where our code and the paper's decide differently.

    Attributes:
        attack: the row of ATTACKS whose objective is climbed.
        pads_with_self: whether an image is among its own pushing guides, and fills the places of
            missing ones.
        furthest_by: the distance by which a person is the furthest; None for attacks without one.
    """

    attack: AttackSpec
    pads_with_self: bool
    furthest_by: Distance | None


def choices(condition: Condition) -> Choices:
    """Our choices for a condition, or with `as_paper` those of the paper's code.

    The paper's ODFA is IFGSM away from -f(x), towards which its authors go: the attack that pushes,
    whose guide is the opposite of the image's own feature.
    """
    attack = ATTACKS[condition.attack]
    looks = attack.pull == "furthest"
    # Of attacks that pull towards the nearest images the paper knows nothing.
    if not condition.as_paper or attack.pull == "nearest":
        return Choices(attack, False, condition.distance if looks else None)
    return Choices(
        ATTACKS["ifgsm_multi"] if attack.own == "opposite" else attack,
        pads_with_self=attack.push == "all" and condition.guides == condition.side,
        furthest_by="euclidean" if looks else None,
    )


def as_paper_matters(condition: Condition) -> bool:
    """Whether a condition asks for the paper's code where it does anything else than ours."""
    return choices(condition) != choices(dataclasses.replace(condition, as_paper=False))
