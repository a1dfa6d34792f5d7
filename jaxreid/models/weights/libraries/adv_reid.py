"""The names of Bouniot et al.'s networks, https://github.com/CEA-LIST/adv-reid."""

from jaxreid.models.weights.libraries.layout import Layout, begins
from jaxreid.models.weights.shapes import osnet_shape, resnet_shape, vit_shape

__all__ = ["ADV_REID"]

ADV_REID = Layout(
    recognises=begins("backbone."),
    backbone="backbone",
    heads={
        "classification": {"neck": "backbone.fc", "classifier": "fc"},
        "triplet": {"neck": "backbone.fc.0", "projection": "backbone.fc.2"},
        "linear": {"classifier": "fc"},
        "none": {},
    },
    readers=(vit_shape(), osnet_shape(), resnet_shape()),
    # The last four have heads here that their own libraries lack.
    kinds=("resnet", "vit", "clip_vit", "clip_resnet", "swin", "osnet"),
)
