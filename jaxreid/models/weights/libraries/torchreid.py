"""torchreid, https://github.com/KaiyangZhou/deep-person-reid."""

from jaxreid.models.weights.libraries.layout import Layout, begins
from jaxreid.models.weights.shapes import resnet_shape

__all__ = ["TORCHREID"]

TORCHREID = Layout(
    recognises=begins("classifier."),
    backbone="",
    heads={
        "embedding": {"projection": "fc.0", "neck": "fc.1", "classifier": "classifier"},
        "linear": {"classifier": "classifier"},
        "none": {},
    },
    readers=(resnet_shape(ibn_asks="last_stride"),),
    kinds=("resnet",),
)
