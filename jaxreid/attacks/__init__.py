"""Metric attacks: pixels, budgets and gradients; no Flax, no configuration, no identities."""

from jaxreid.attacks.apgd import AdaptiveAscent, Judged, Kept, adaptive_ascent, checkpoints
from jaxreid.attacks.diversity import input_diversity, smoothed_gradients
from jaxreid.attacks.inputs import AttackInput
from jaxreid.attacks.named import fgsm, ifgsm, mifgsm, noise, odfa, sma
from jaxreid.attacks.negatives import fna, nna
from jaxreid.attacks.objectives import Objective, signed_guides
from jaxreid.attacks.pgd import Ascent, projected_ascent
from jaxreid.attacks.random_search import RandomSearch, search_at_random
from jaxreid.attacks.restarts import better_of, mean_over_draws, restarted
from jaxreid.attacks.rules import l1_normalize, momentum_step, steepest_step
from jaxreid.attacks.specs import ATTACKS, AttackSpec
from jaxreid.attacks.threats import THREATS, Threat, l2, linf
from jaxreid.attacks.transfer import BOOSTS, Boost, Viewed, boost_of, boosted_ascent
from jaxreid.attacks.universal import saturated, shifted, total_variation
from jaxreid.attacks.views import View, admixed, blockwise, diverse, scaled
from jaxreid.checks import unchecked
from jaxreid.random import example_keys
from jaxreid.types import Guides

__all__ = [
    "ATTACKS",
    "BOOSTS",
    "THREATS",
    "AdaptiveAscent",
    "Ascent",
    "AttackInput",
    "AttackSpec",
    "Boost",
    "Guides",
    "Judged",
    "Kept",
    "Objective",
    "RandomSearch",
    "Threat",
    "View",
    "Viewed",
    "adaptive_ascent",
    "admixed",
    "better_of",
    "blockwise",
    "boost_of",
    "boosted_ascent",
    "checkpoints",
    "diverse",
    "example_keys",
    "fgsm",
    "fna",
    "ifgsm",
    "input_diversity",
    "l1_normalize",
    "l2",
    "linf",
    "mean_over_draws",
    "mifgsm",
    "momentum_step",
    "nna",
    "noise",
    "odfa",
    "projected_ascent",
    "restarted",
    "saturated",
    "scaled",
    "search_at_random",
    "shifted",
    "signed_guides",
    "sma",
    "smoothed_gradients",
    "steepest_step",
    "total_variation",
    "unchecked",
]
