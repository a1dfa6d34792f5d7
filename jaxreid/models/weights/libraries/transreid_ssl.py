"""TransReID-SSL, https://github.com/damo-cv/TransReID-SSL: its ViTs with a convolutional stem.

Those without one have TransReID's names, pipeline and layer normalisation, and are read as such.
"""

from functools import partial

from jaxreid.models.weights.libraries.layout import Layout
from jaxreid.models.weights.libraries.transreid import pipeline_fields
from jaxreid.models.weights.shapes import transreid_shape

__all__ = ["TRANSREID_SSL"]

TRANSREID_SSL = Layout(
    recognises=lambda names: (
        "base.cls_token" in names and "base.patch_embed.conv.0.weight" in names
    ),
    backbone="base",
    heads={"classification": {"neck": "bottleneck", "classifier": "classifier"}, "none": {}},
    readers=(transreid_shape,),
    kinds=("vit",),
    classifier_bias=False,
    fields=partial(pipeline_fields, library="TransReID-SSL"),
    ignorable={"base.fc.*": "the classifier of ImageNet that the backbone was built with"},
)
