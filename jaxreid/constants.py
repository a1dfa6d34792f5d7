"""Words, defaults and bounds that settings share; no JAX, so that every module can read them.

A number beyond a bound is a slip, and would show hours later as a machine without memory or a run
of years.
"""

from typing import Literal

__all__ = [
    "ATTACK_TITLES",
    "DECAY",
    "ENSEMBLES",
    "EPS",
    "FALSE_ACCEPT_RATES",
    "LARGEST_BATCH",
    "LARGEST_SEED",
    "LEARNED",
    "LEVELS",
    "LONGEST_SIDE",
    "LONGEST_STORED_SIDE",
    "MAIN_PROTOCOL",
    "MOST_DIMENSIONS",
    "MOST_EPOCHS",
    "MOST_RESTARTS",
    "MOST_STEPS",
    "MOST_WORKERS",
    "NEAREST",
    "STEPS",
    "STEP_SIZE",
    "UNDEFENDED",
    "USUAL_FILTER",
    "Distance",
    "Filter",
    "Goal",
    "Knowledge",
    "Norm",
    "ProtocolName",
    "Side",
    "Ties",
]

Distance = Literal["euclidean", "cosine"]
"""Between two features, by which they are compared."""
Filter = Literal["bicubic", "bilinear", "opencv-bicubic", "opencv-bilinear"]
"""Kernel by which images are resized: PIL's, antialiased where an image shrinks, or OpenCV's, whose
kernels stay as wide as the stored pixels are; see `jaxreid.data.decode`."""
USUAL_FILTER: Filter = "bilinear"
"""Kernel of evaluations of networks of which nothing says another."""
Norm = Literal["linf", "l2"]
"""Of a perturbation, over the pixels of an image."""
Side = Literal["query", "gallery"]
"""Of a search: the images that ask, or those that are looked through."""
Knowledge = Literal["self", "guides", "gallery"]
"""What an attacker knows beside the model: the attacked image alone, other images of the same and
of other people, or the features of the very gallery that is searched."""
Goal = Literal["evade", "impersonate"]
"""Not to be found, or to be found as a chosen other person."""
ProtocolName = Literal["market1501", "torchreid"]
"""How average precision is counted: see `jaxreid.ranking.PROTOCOLS`."""
MAIN_PROTOCOL: ProtocolName = "market1501"
"""By which models, attacks and images are compared where one number has to decide."""
Ties = Literal["index", "pessimistic"]
"""What comes first of equal distances: the earlier item of the gallery, or whoever is wrong."""

LEVELS = 255
"""Steps from one end of the pixel range to the other: budgets that people name count them."""
EPS = 5 / 255
"""Budget of an attack in L-infinity, in pixel range: five grey levels, as Bouniot et al. (CVPRW
2020) have it in their main table; so are the next two."""
STEP_SIZE = 1 / 255
"""Length of a step of an attack, in pixel range."""
STEPS = 15
"""Of an attack."""
DECAY = 1.0
"""Weight of the past gradients in MI-FGSM, without unit: that of Dong et al. (CVPR 2018)."""
NEAREST = 30
"""Images of other people that `nna` pulls towards: from 10 to 60 make little difference."""

ATTACK_TITLES = {
    "noise": "Uniform noise",
    "fgsm": "FGSM, single guide",
    "fgsm_multi": "FGSM, multiple guides",
    "ifgsm": "IFGSM, single guide",
    "ifgsm_multi": "IFGSM, multiple guides",
    "mifgsm": "MI-FGSM, single guide",
    "mifgsm_multi": "MI-FGSM, multiple guides",
    "sma": "Self Metric Attack",
    "odfa": "Opposite-Direction Feature Attack",
    "fna": "Furthest-Negative Attack",
    "fna_without_push": "FNA without push",
    "fna_without_pull": "FNA without pull",
    "fna_random_pull": "FNA, random pull",
    "nna": "Nearest-Negatives Attack",
}
"""Attack -> full name, for tables and plots."""

ENSEMBLES = {
    "worst-1": "Worst case",
    "worst-1-quick": "Worst case, quick",
}
"""Ensemble of attacks -> full name. The number is a version: figures of different versions do not
compare."""

UNDEFENDED = "undefended"
"""The surrogate of a condition whose attacker has the network without what stands before it."""

LEARNED = {
    "universal": "Universal perturbation",
    "generator": "Generated perturbations",
}
"""Attack that was learned before it met the images -> full name."""

FALSE_ACCEPT_RATES = ("0.01", "0.001", "0.0001")
"""Shares of pairs of two people that a threshold may let pass; text, because 0.0001 has no exact
binary form and the number of pairs is rounded down."""

LARGEST_SEED = 2**32 - 1
"""Seeds have 32 bits to JAX and to NumPy, and one above would be another one again."""
MOST_STEPS = 1_000_000
"""Of gradients; papers take up to 1,000, and no loop of XLA counts further than 2^31."""
MOST_RESTARTS = 10_000
"""Of an attack, each as dear as the first."""
LONGEST_SIDE = 4096
"""Of an image that a user asks for, in pixels: 200 MB in float32."""
LONGEST_STORED_SIDE = 1 << 14
"""Of an image whose size a file states, in pixels."""
MOST_EPOCHS = 1_000_000
"""Of training."""
LARGEST_BATCH = 1_048_576
"""Images at a time: 400 GB of 256x128 pixels in float32."""
MOST_DIMENSIONS = 1_000_000
"""Of features."""
MOST_WORKERS = 512
"""Processes on one machine: each one holds 300 MB."""
