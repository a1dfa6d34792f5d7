"""Types shared by all modules, and the glossary of shape letters.

Shape letters, everywhere in jaxreid:

| letter | meaning |
| --- | --- |
| B | images in a batch |
| H, W, C | height, width, channels of an image |
| D | dimension of a feature |
| G | guides of one image, padding included |
| P, L | those of them that push, and those that pull |
| N | items one can choose or retrieve from (a guide set, a gallery) |
| Q | queries |
| K | identities, and the classes of a classifier |
| M | gallery matches of one query, padding included; in `jaxreid.distances`, rows of x |
| R | ranks of a CMC curve |
| T | images attacked; in re-ranking, items put in a new order |
| E | queries shown as examples |

Images are floating point in [0, 1]; eps and step sizes are in the same unit (5/255 is five grey
levels). Identity 0 is a distractor, -1 is junk: neither is ever attacked or chosen as a guide.

Annotations such as `Features` say shape and dtype (jaxtyping), and the tests check that they are
true; a caller who gets a shape wrong hears of it from `jaxreid.checks`, as an `InputError`. Names
that end in `Like` take arrays of NumPy as well.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float, Int, Integer, Key, UInt32

__all__ = [
    "Array",
    "ArrayLike",
    "Centroids",
    "CountPerImage",
    "Embed",
    "Embedded",
    "Features",
    "FeaturesLike",
    "Guides",
    "IdentitiesLike",
    "Image",
    "ImageLike",
    "Images",
    "ImagesLike",
    "Keys",
    "KeysLike",
    "MaskLike",
    "PerImage",
    "PullLike",
    "PushLike",
    "RandomKey",
    "Scalar",
    "Selection",
    "SetFeaturesLike",
    "SetIdentitiesLike",
]

Array = jax.Array
ArrayLike = jax.Array | np.ndarray

Images = Float[Array, "B H W C"]
"""In [0, 1]; gradients with respect to images have this shape, too."""
ImagesLike = Float[ArrayLike, "B H W C"]
Image = Float[Array, "H W C"]
ImageLike = Float[ArrayLike, "H W C"]
PerImage = Float[Array, "B"]
CountPerImage = Int[Array, "B"]
Scalar = Float[Array, ""]

Features = Float[Array, "B D"]
"""In the unit of the embedding."""
FeaturesLike = Float[ArrayLike, "B D"]
IdentitiesLike = Integer[ArrayLike, "B"]
"""Identities, labels, cameras, or positions in a dataset."""
SetFeaturesLike = Float[ArrayLike, "N D"]
"""Of the set that one can choose from."""
SetIdentitiesLike = Integer[ArrayLike, "N"]

PushLike = Float[ArrayLike, "B D"] | Float[ArrayLike, "B G D"]
"""Features of each image's own identity: one, or G of them."""
PullLike = Float[ArrayLike, "B D"] | Float[ArrayLike, "B N D"]
"""Features of another identity: one, or N of them."""
MaskLike = Bool[ArrayLike, "B"] | Bool[ArrayLike, "B _"] | Integer[ArrayLike, "B _"]
"""Which guides there are; False (or 0) is padding."""

RandomKey = Key[Array, ""] | UInt32[Array, "_"]
"""One key, of `jax.random.key` or of `jax.random.PRNGKey`."""
Keys = Key[Array, "B"] | UInt32[Array, "B _"]
"""One key per image, as `jaxreid.random.example_keys` makes them."""
KeysLike = RandomKey | Keys

Embed = Callable[[Array], Array]
"""images [B,H,W,C] in [0, 1] -> features [B,D]; row i depends on image i only."""


class Guides(NamedTuple):
    """Reference features with signed weights, one set per image.

    Attributes:
        features: [B,G,D] floating point, in the unit of the embedding.
        weights: [B,G] floating point and finite; above 0 (+1) pushes away from the guide, below 0
            (-1) pulls towards it, 0 is padding (its feature is ignored, NaN included).
    """

    features: Float[Array, "B G D"]
    weights: Float[Array, "B G"]


class Embedded(NamedTuple):
    """A set of images after the embedding: what retrieval works on.

    Attributes:
        features: [N,D] floating point, in the unit of the embedding.
        identities: [N] integer; 0 is a distractor, -1 junk.
        cameras: [N] integer.
    """

    features: SetFeaturesLike
    identities: SetIdentitiesLike
    cameras: SetIdentitiesLike


class Selection(NamedTuple):
    """Chosen guides of each target, of `jaxreid.guides`.

    Attributes:
        indices: [B,G] int32 positions in the guide set; 0 where the mask is False.
        mask: [B,G] boolean; False is padding. A row without any True has no guide.
    """

    indices: Int[Array, "B G"]
    mask: Bool[Array, "B G"]


class Centroids(NamedTuple):
    """Mean feature of every identity.

    Attributes:
        features: [K,D] in the unit of the embedding; zero in padding.
        identities: [K] int32, ascending; padding is -1 and comes last.
    """

    features: Float[Array, "K D"]
    identities: Int[Array, " K"]
