"""Types shared by every room, and the glossary of shape letters.

Shape letters, everywhere in jaxreid:

| letter | meaning |
| --- | --- |
| B | images in a batch |
| H, W, C | height, width, channels of an image |
| D | dimension of a feature |
| G | guides of one image, padding included |
| N | items one can choose or retrieve from (a guide set, a gallery) |
| Q | queries |
| K | identities |
| M | gallery matches of one query, padding included |

Images are floating point in [0, 1]; eps and step sizes are in the same unit (5/255 is five grey
levels). Identity 0 is a distractor, -1 is junk: neither is ever attacked or chosen as a guide.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

__all__ = ["Array", "ArrayLike", "Embed", "Embedded", "Guides"]

Array = jax.Array
ArrayLike = jax.Array | np.ndarray

Embed = Callable[[Array], Array]
"""images [B,H,W,C] in [0, 1] -> features [B,D]; row i depends on image i only."""


class Guides(NamedTuple):
    """Reference features with signs, one set per image.

    Attributes:
        features: [B,G,D] floating point, in the unit of the embedding.
        weights: [B,G] floating point; +1 pushes away from the guide, -1 pulls towards it, 0 is
            padding (its feature is ignored, NaN included).
    """

    features: Array
    weights: Array


class Embedded(NamedTuple):
    """A set of images after the embedding: what retrieval works on.

    Attributes:
        features: [N,D] floating point, in the unit of the embedding.
        identities: [N] integer; 0 is a distractor, -1 junk.
        cameras: [N] integer.
    """

    features: ArrayLike
    identities: ArrayLike
    cameras: ArrayLike
