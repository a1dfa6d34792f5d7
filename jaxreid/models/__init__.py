"""Re-ID networks in Flax NNX, whose parameters are named as in PyTorch's state dicts."""

from jaxreid.models import weights as weights
from jaxreid.models.config import ARCHITECTURES, ModelConfig
from jaxreid.models.embeddings import Embedding, embedding
from jaxreid.models.folding import Target, frozen
from jaxreid.models.normalization import BatchNorm
from jaxreid.models.reid import Outputs, ReID, create
from jaxreid.models.resnet import ResNet, ResNetConfig
from jaxreid.models.vit import VisionTransformer, ViTConfig

__all__ = [
    "ARCHITECTURES",
    "BatchNorm",
    "Embedding",
    "ModelConfig",
    "Outputs",
    "ReID",
    "ResNet",
    "ResNetConfig",
    "Target",
    "ViTConfig",
    "VisionTransformer",
    "create",
    "embedding",
    "frozen",
]
