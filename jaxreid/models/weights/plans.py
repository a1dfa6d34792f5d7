"""What a checkpoint holds, and what should become of it."""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import numpy as np

from jaxreid.errors import InputError
from jaxreid.models.reid import ModelConfig
from jaxreid.models.vit import ViTConfig
from jaxreid.models.weights.configs import Choices, detect_layout, infer, override
from jaxreid.models.weights.headers import check_digest, decode
from jaxreid.models.weights.layouts import LAYOUTS, check_layout
from jaxreid.models.weights.names import listed, renamed, unwrapped
from jaxreid.models.weights.storage import Checkpoint

__all__ = ["HEADER", "Plan", "plan", "resample_positions"]

# Key of the .safetensors header that `save` and `convert` write. It is the only one: the library
# writes several in an order that changes from run to run.
HEADER = "jaxreid"


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
    header = decode(checkpoint.metadata[HEADER]) if HEADER in checkpoint.metadata else None
    if header is not None:
        check_digest(header, tensors)
    if header is not None and layout is None:
        stored, layout = header.config, header.layout
    else:
        stored, layout, tensors = _recognised(tensors, layout, choices)
    config = override(stored, choices)
    old_shape, shape = stored.backbone, config.backbone
    if (
        isinstance(shape, ViTConfig)
        and isinstance(old_shape, ViTConfig)
        and shape.grid != old_shape.grid
    ):
        prefix = LAYOUTS[layout].backbone
        name = f"{prefix}.pos_embed" if prefix else "pos_embed"
        tensors[name] = resample_positions(tensors[name], old_shape.grid, shape.grid)
    return Plan(tensors, config, layout)


def _recognised(
    tensors: dict[str, np.ndarray], layout: str | None, choices: Choices
) -> tuple[ModelConfig, str, dict[str, np.ndarray]]:
    """Configuration, layout and tensors by today's names, from the tensors alone."""
    if layout is not None:
        check_layout(layout)
    tensors = unwrapped(tensors, layout)
    if layout is None:
        layout = detect_layout(tensors)
        if layout == "strong-baseline":
            _ask_for_stem(tensors)
    # timm names its ResNets as torchvision does.
    if layout == "timm" and "patch_embed.proj.weight" not in tensors:
        layout = "torchvision"
    if any(name.startswith("heads.bnneck.") for name in tensors) and not choices.get("pool"):
        raise InputError(
            "heads.bnneck is what fast-reid called heads.bottleneck.0 up to 2020-09; its stem then "
            "pooled as torchvision's does, and no tensor says so: --pool padded for a file of that "
            "time, --pool ceil for one of today's code"
        )
    tensors = renamed(tensors, layout)
    pixels = _take_pixel_statistics(tensors)
    stored = infer(tensors, layout, image_size=choices.get("image_size"))
    return override(stored, pixels), layout, tensors


def _ask_for_stem(tensors: Mapping[str, np.ndarray]) -> None:
    """Forks of reid-strong-baseline share its names, not its network."""
    if "base.conv1.weight" in tensors:
        raise InputError(
            "the names begin with 'base.', as those of reid-strong-baseline and of its forks do, "
            "and no tensor tells which: --from strong-baseline reads the original (no ReLU after "
            "the stem), with --stem-relu forks that have one; TransReID's ResNets, which pool 2x2, "
            "are not read"
        )
    raise InputError(
        f"the names begin with 'base.' ({listed(sorted(tensors))}), as those of TransReID and "
        "SOLIDER do: of such files only ResNets named as torchvision's are read"
    )


def _take_pixel_statistics(tensors: dict[str, np.ndarray]) -> Choices:
    """fast-reid stores mean and std of the pixels, in grey levels of 0 to 255."""
    names = {"mean": "pixel_mean", "std": "pixel_std"}
    if not all(name in tensors for name in names.values()):
        return {}
    mean, std = (tensors.pop(name).ravel().astype(float) / 255 for name in names.values())
    return {"mean": tuple(mean.tolist()), "std": tuple(std.tolist())}


def resample_positions(
    embeddings: np.ndarray, old: tuple[int, int], new: tuple[int, int]
) -> np.ndarray:
    """Resizes the grid of position embeddings, bicubic and antialiased as timm does.

    Args:
        embeddings: [1,1+rows*columns,D]; the first, of the class token, stays as it is.
        old: (rows, columns) of patches.
        new: (rows, columns) of patches wanted.

    Returns:
        [1,1+rows*columns,D] of the same type.

    Raises:
        InputError: the number of embeddings is not that of old.
    """
    if embeddings.shape[1] != old[0] * old[1] + 1:
        raise InputError(
            f"pos_embed has shape {embeddings.shape}, expected {old[0] * old[1] + 1} tokens"
        )
    grid = embeddings[0, 1:].astype(np.float32).reshape(*old, -1)
    grid = jax.image.resize(grid, (*new, grid.shape[-1]), "cubic", antialias=True)
    flat = np.asarray(grid).reshape(1, -1, grid.shape[-1]).astype(embeddings.dtype)
    return np.concatenate([embeddings[:, :1], flat], axis=1)
