"""What a checkpoint holds, and what should become of it."""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import numpy as np

from jaxreid.errors import InputError
from jaxreid.models.reid import ModelConfig
from jaxreid.models.vit import ViTConfig
from jaxreid.models.weights.configs import Choices, decode, detect_layout, infer, override
from jaxreid.models.weights.layouts import LAYOUTS
from jaxreid.models.weights.storage import Checkpoint

__all__ = ["HEADER", "HEADER_LAYOUT", "Plan", "known", "plan"]

# Keys of the .safetensors header that `save` and `convert` write.
HEADER = "jaxreid"
HEADER_LAYOUT = "jaxreid.layout"


class Plan(NamedTuple):
    """A checkpoint with its network: what to import where.

    Attributes:
        tensors: name -> array, by today's names of the layout.
        config: the network.
        layout: a key of LAYOUTS.
    """

    tensors: Mapping[str, np.ndarray]
    config: ModelConfig
    layout: str


def plan(checkpoint: Checkpoint, layout: str | None, choices: Choices) -> Plan:
    """Tells what network a checkpoint holds, from its header or its tensors.

    Args:
        checkpoint: the file's content.
        layout: a key of LAYOUTS, or None to tell it from header or names.
        choices: what no tensor tells.

    Returns:
        The plan.

    Raises:
        InputError: the tensors are of no network known here, or contradict choices.
    """
    tensors = dict(checkpoint.tensors)
    if HEADER in checkpoint.metadata and layout is None:
        layout = checkpoint.metadata.get(HEADER_LAYOUT, "")
        known(layout)
        stored = decode(checkpoint.metadata[HEADER])
    else:
        layout = layout or detect_layout(tensors)
        known(layout)
        # timm names its ResNets as torchvision does.
        if layout == "timm" and "patch_embed.proj.weight" not in tensors:
            layout = "torchvision"
        for old, new in LAYOUTS[layout].renamed.items():
            if old in tensors:
                tensors[new] = tensors.pop(old)
        pixels = _take_pixel_statistics(tensors)
        stored = infer(tensors, layout, image_size=choices.get("image_size"))
        stored = override(stored, pixels)
    config = override(stored, choices)
    old_shape, shape = stored.backbone, config.backbone
    if (
        isinstance(shape, ViTConfig)
        and isinstance(old_shape, ViTConfig)
        and shape.grid != old_shape.grid
    ):
        prefix = LAYOUTS[layout].backbone
        name = f"{prefix}.pos_embed" if prefix else "pos_embed"
        tensors[name] = _resample_positions(tensors[name], old_shape.grid, shape.grid)
    return Plan(tensors, config, layout)


def known(layout: str) -> None:
    """Raises InputError unless layout is a key of LAYOUTS.

    Args:
        layout: the name.
    """
    if layout not in LAYOUTS:
        raise InputError(f"unknown layout {layout!r}; there are {', '.join(LAYOUTS)}")


def _take_pixel_statistics(tensors: dict[str, np.ndarray]) -> Choices:
    """fast-reid stores mean and std of the pixels, in grey levels of 0 to 255."""
    names = {"mean": "pixel_mean", "std": "pixel_std"}
    if not all(name in tensors for name in names.values()):
        return {}
    mean, std = (tensors.pop(name).ravel().astype(float) / 255 for name in names.values())
    return {"mean": tuple(mean.tolist()), "std": tuple(std.tolist())}


def _resample_positions(
    embeddings: np.ndarray, old: tuple[int, int], new: tuple[int, int]
) -> np.ndarray:
    """Bicubic, antialiased resize of the position grid; the class token's stays as it is."""
    if embeddings.shape[1] != old[0] * old[1] + 1:
        raise InputError(
            f"pos_embed has shape {embeddings.shape}, expected {old[0] * old[1] + 1} tokens"
        )
    grid = embeddings[0, 1:].astype(np.float32).reshape(*old, -1)
    grid = jax.image.resize(grid, (*new, grid.shape[-1]), "cubic", antialias=True)
    flat = np.asarray(grid).reshape(1, -1, grid.shape[-1]).astype(embeddings.dtype)
    return np.concatenate([embeddings[:, :1], flat], axis=1)
