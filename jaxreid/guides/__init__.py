"""Choice of guides by identity, as indices and masks.

Guides are chosen from a guide set, by their positions in it: one selection serves for features
(`features[selection.indices]`) and for images alike. Identities 0 (distractors) and -1 (junk) are
never chosen, and nothing is chosen for them. A random choice is keyed by the target's own key and
the guide's position, so it depends neither on the batch nor on its order.
"""

from jaxreid.guides.others import furthest_other, nearest_other, random_other
from jaxreid.guides.own import centroids, same_identity
from jaxreid.types import Centroids, Selection

__all__ = [
    "Centroids",
    "Selection",
    "centroids",
    "furthest_other",
    "nearest_other",
    "random_other",
    "same_identity",
]
