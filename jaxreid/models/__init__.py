"""Re-ID networks in Flax NNX, whose parameters are named as in PyTorch's state dicts."""

from jaxreid.models import weights as weights
from jaxreid.models.backbone import BackboneConfig, Part
from jaxreid.models.cameras import MEAN_CAMERA, NO_CAMERA
from jaxreid.models.clip_resnet import CLIPResNet, CLIPResNetConfig
from jaxreid.models.clip_vit import CLIPVisionTransformer, CLIPViTConfig
from jaxreid.models.config import ModelConfig
from jaxreid.models.embeddings import Embedding, embedding
from jaxreid.models.exported import ExportedEmbedding, load_exported
from jaxreid.models.exporting import export_embedding
from jaxreid.models.folding import Target, frozen
from jaxreid.models.heads import Outputs
from jaxreid.models.jpm import JigsawTransformer, JPMConfig
from jaxreid.models.kinds import ARCHITECTURES
from jaxreid.models.mgn import MGN, MGNConfig
from jaxreid.models.normalization import BatchNorm
from jaxreid.models.osnet import OSNet, OSNetConfig
from jaxreid.models.pipeline import Pipeline
from jaxreid.models.reid import ReID, create
from jaxreid.models.resnet import ResNet, ResNetConfig
from jaxreid.models.swin import SwinConfig, SwinTransformer
from jaxreid.models.torch_modules import TorchEmbedding, from_torch
from jaxreid.models.vit import VisionTransformer, ViTConfig

__all__ = [
    "ARCHITECTURES",
    "MEAN_CAMERA",
    "MGN",
    "NO_CAMERA",
    "BackboneConfig",
    "BatchNorm",
    "CLIPResNet",
    "CLIPResNetConfig",
    "CLIPViTConfig",
    "CLIPVisionTransformer",
    "Embedding",
    "ExportedEmbedding",
    "JPMConfig",
    "JigsawTransformer",
    "MGNConfig",
    "ModelConfig",
    "OSNet",
    "OSNetConfig",
    "Outputs",
    "Part",
    "Pipeline",
    "ReID",
    "ResNet",
    "ResNetConfig",
    "SwinConfig",
    "SwinTransformer",
    "Target",
    "TorchEmbedding",
    "ViTConfig",
    "VisionTransformer",
    "create",
    "embedding",
    "export_embedding",
    "from_torch",
    "frozen",
    "load_exported",
]
