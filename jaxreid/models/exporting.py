"""Writing a model without its code: see `jaxreid.models.exported`."""

import json
import os
import zipfile
from pathlib import Path

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from jaxreid.errors import InputError
from jaxreid.files import replacing
from jaxreid.models.config import ModelConfig
from jaxreid.models.embeddings import Embedding
from jaxreid.models.exported import (
    CARD,
    FORMS,
    PROGRAM,
    SUFFIX,
    WEIGHTS,
    Card,
    Machine,
    digest_of,
    is_exported,
)
from jaxreid.models.weights.layouts import default_layout
from jaxreid.models.weights.recognition import encode
from jaxreid.types import Array

__all__ = ["export_embedding"]


def export_embedding(
    embed: Embedding,
    path: str | os.PathLike[str],
    *,
    config: ModelConfig,
    size: tuple[int, int],
    batch_size: int = 16,
    machines: tuple[Machine, ...] = ("cpu", "accelerators"),
) -> Card:
    """Writes an embedding as compiled functions that need neither its code nor its weights.

    Args:
        embed: not frozen; with unit length and flip as it shall be used.
        path: of the file, ends in .exported; written under a temporary name, then renamed.
        config: of the network, for whoever loads the file.
        size: (height, width) in pixels of the images.
        batch_size: images that the programs take at once.
        machines: what it is for; the weights are in the file once for each.

    Returns:
        The Card that was written.

    Raises:
        InputError: a name, number or combination is not as it must be.
        OSError: the file could not be written.
    """
    path = Path(path)
    if not is_exported(path):
        raise InputError(f"{path}: an exported model ends in {SUFFIX}")
    if batch_size < 1 or not machines:
        raise InputError("expected a batch_size of 1 or more, and one of machines at least")
    content: dict[Machine, dict[str, bytes]] = {}
    for name in machines:
        program, weights = _program(embed, name, size, batch_size)
        features = program.out_avals[0].shape[-1]
        content[name] = {
            PROGRAM: bytes(program.serialize(vjp_order=1)),
            WEIGHTS: b"".join(np.asarray(one).tobytes() for one in weights),
        }
    network = encode(config, default_layout(config), {})
    digests: dict[str, str] = {name: digest_of(parts) for name, parts in content.items()}
    height, width = size
    card = Card(
        (height, width), batch_size, features, embed.cameras, network, jax.__version__, digests
    )
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        archive.writestr(CARD, json.dumps(card._asdict(), sort_keys=True))
        for name, parts in content.items():
            for part, one in parts.items():
                archive.writestr(f"{name}.{part}", one)
    return card


def _program(
    embed: Embedding, machine: Machine, size: tuple[int, int], batch: int
) -> tuple[jax.export.Exported, tuple[Array, ...]]:
    """The program for a kind of machine, and the weights that it takes before images."""
    if machine not in FORMS:
        raise InputError(f"machines: expected {' or '.join(FORMS)}, got {machine!r}")
    target, platforms = FORMS[machine]
    leaves, form = jax.tree.flatten(embed.frozen(target=target))

    def features(weights: tuple[Array, ...], images: Array, cameras: Array) -> Array:
        prepared = jax.tree.unflatten(form, weights)
        result: Array = prepared.seen_by(cameras)(images)
        return result

    images = jax.ShapeDtypeStruct((batch, *size, 3), jnp.float32)
    cameras = jax.ShapeDtypeStruct((batch,), jnp.int32)
    weights = tuple(jnp.asarray(leaf) for leaf in leaves)
    exported = jax.export.export(jax.jit(features), platforms=platforms)(weights, images, cameras)
    return exported, weights
