"""The shape of a backbone, read off the names and shapes of its tensors: one module per kind."""

from jaxreid.models.weights.shapes.clip import clip_resnet_shape, clip_vit_shape
from jaxreid.models.weights.shapes.mgn import mgn_shape
from jaxreid.models.weights.shapes.osnet import is_osnet, osnet_shape
from jaxreid.models.weights.shapes.resnet import resnet_shape
from jaxreid.models.weights.shapes.swin import swin_shape
from jaxreid.models.weights.shapes.transreid import transreid_shape
from jaxreid.models.weights.shapes.vit import vit_shape

__all__ = [
    "clip_resnet_shape",
    "clip_vit_shape",
    "is_osnet",
    "mgn_shape",
    "osnet_shape",
    "resnet_shape",
    "swin_shape",
    "transreid_shape",
    "vit_shape",
]
