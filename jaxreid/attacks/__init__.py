"""Metric attacks: pixels, budgets and gradients; no Flax, no configuration, no identities."""

from jaxreid.attacks.apgd import AdaptiveAscent, Judged, Kept, adaptive_ascent, checkpoints
from jaxreid.attacks.named import fgsm, fna, ifgsm, mifgsm, noise, odfa, sma
from jaxreid.attacks.objectives import Objective, signed_guides
from jaxreid.attacks.pgd import Ascent, projected_ascent
from jaxreid.attacks.rules import l1_normalize, momentum_step, steepest_step
from jaxreid.attacks.specs import ATTACKS, AttackInput, AttackSpec
from jaxreid.attacks.threats import Threat, l2, linf
from jaxreid.checks import unchecked
from jaxreid.random import example_keys
from jaxreid.types import Guides

__all__ = [
    "ATTACKS",
    "AdaptiveAscent",
    "Ascent",
    "AttackInput",
    "AttackSpec",
    "Guides",
    "Judged",
    "Kept",
    "Objective",
    "Threat",
    "adaptive_ascent",
    "checkpoints",
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
