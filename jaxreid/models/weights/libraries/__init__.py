"""The libraries whose files are read and written, one module each: a declaration of their names."""

from jaxreid.models.weights.libraries.adv_reid import ADV_REID
from jaxreid.models.weights.libraries.clip_reid import CLIP_REID
from jaxreid.models.weights.libraries.fast_reid import FAST_REID, FAST_REID_MGN, FAST_REID_ZOO
from jaxreid.models.weights.libraries.layout import Layout
from jaxreid.models.weights.libraries.native import NATIVE
from jaxreid.models.weights.libraries.solider import SOLIDER
from jaxreid.models.weights.libraries.strong_baseline import STRONG_BASELINE
from jaxreid.models.weights.libraries.timm import TIMM
from jaxreid.models.weights.libraries.torchreid import TORCHREID
from jaxreid.models.weights.libraries.torchvision import TORCHVISION
from jaxreid.models.weights.libraries.transreid import TRANSREID
from jaxreid.models.weights.libraries.transreid_ssl import TRANSREID_SSL

__all__ = ["LAYOUTS"]

LAYOUTS: dict[str, Layout] = {
    "fast-reid-mgn": FAST_REID_MGN,
    "fast-reid-v0.1": FAST_REID_ZOO,
    "clip-reid": CLIP_REID,
    "solider": SOLIDER,
    "fast-reid": FAST_REID,
    "jaxreid": NATIVE,
    "adv-reid": ADV_REID,
    "transreid": TRANSREID,
    "transreid-ssl": TRANSREID_SSL,
    "strong-baseline": STRONG_BASELINE,
    "timm": TIMM,
    "torchreid": TORCHREID,
    "torchvision": TORCHVISION,
}
"""name -> Layout, in the order in which they are looked for: the first that recognises the names.

timm's ResNets are named as torchvision's, so "timm" is for its transformers.
"""
