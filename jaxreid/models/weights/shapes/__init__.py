"""The shape of a backbone, read off the names and shapes of its tensors: one module per kind."""

from jaxreid.models.weights.shapes.mgn import mgn_shape
from jaxreid.models.weights.shapes.osnet import is_osnet, osnet_shape
from jaxreid.models.weights.shapes.resnet import resnet_shape
from jaxreid.models.weights.shapes.vit import vit_shape

__all__ = ["is_osnet", "mgn_shape", "osnet_shape", "resnet_shape", "vit_shape"]
