"""What training minimises: who somebody is, and that an attack does not move it."""

from jaxreid.losses.consistency import feature_shift, similarity_divergence
from jaxreid.losses.identities import (
    HardestPairs,
    batch_hard_triplet,
    cross_entropy,
    hardest_pairs,
    mean_triplet_loss,
)
from jaxreid.losses.soft_labels import smoothed_labels, soft_cross_entropy

__all__ = [
    "HardestPairs",
    "batch_hard_triplet",
    "cross_entropy",
    "feature_shift",
    "hardest_pairs",
    "mean_triplet_loss",
    "similarity_divergence",
    "smoothed_labels",
    "soft_cross_entropy",
]
