"""The shape of a backbone, read off the names and shapes of its tensors: one module per kind."""

from jaxreid.models.weights.shapes.mgn import mgn_shape
from jaxreid.models.weights.shapes.resnet import resnet_shape
from jaxreid.models.weights.shapes.transreid import transreid_shape
from jaxreid.models.weights.shapes.vit import vit_shape

__all__ = ["mgn_shape", "resnet_shape", "transreid_shape", "vit_shape"]
