"""Metric attacks: pixels, budgets and gradients; no Flax, no configuration, no identities."""

from jaxreid.attacks.ascent import Ascent, projected_ascent
from jaxreid.attacks.named import fgsm, fna, ifgsm, mifgsm, noise, odfa, sma
from jaxreid.attacks.objectives import Objective, signed_guides
from jaxreid.attacks.rules import l1_normalize, momentum_step, steepest_step
from jaxreid.attacks.table import ATTACKS, Attack, AttackInput
from jaxreid.attacks.threats import Threat, l2, linf
from jaxreid.random import example_keys
from jaxreid.staging import unchecked
from jaxreid.types import Guides

__all__ = [
    "ATTACKS",
    "Ascent",
    "Attack",
    "AttackInput",
    "Guides",
    "Objective",
    "Threat",
    "example_keys",
    "fgsm",
    "fna",
    "ifgsm",
    "l1_normalize",
    "l2",
    "linf",
    "mifgsm",
    "momentum_step",
    "noise",
    "odfa",
    "projected_ascent",
    "signed_guides",
    "sma",
    "steepest_step",
    "unchecked",
]
