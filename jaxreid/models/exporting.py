"""Writing a model without its code: see `jaxreid.models.exported`."""

import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from jaxreid.checks import check_count, shown
from jaxreid.constants import LONGEST_STORED_SIDE
from jaxreid.errors import InputError
from jaxreid.models.config import ModelConfig
from jaxreid.models.embeddings import Embedding
from jaxreid.models.exported_file import WEIGHTS, Card, Machine, digest_of, is_exported
from jaxreid.models.folding import Target
from jaxreid.models.weights.files.formats import CARD, EXPORTED, PROGRAM
from jaxreid.models.weights.layouts import default_layout
from jaxreid.models.weights.recognition import encode
from jaxreid.models.weights.storage import write_by
from jaxreid.types import Array

__all__ = ["export_embedding"]

# A frozen network has one form for CPUs, and another that all accelerators share.
_FORMS: dict[Machine, tuple[Target, tuple[str, ...]]] = {
    "cpu": ("cpu", ("cpu",)),
    "accelerators": ("gpu", ("cuda", "rocm", "tpu")),
}


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
        embed: not frozen, of the stored statistics; with unit length and flip as it shall be used.
        path: of the file, ends in .exported; written under a temporary name, then renamed.
        config: of the network, for whoever loads the file.
        size: (height, width) in pixels of the images.
        batch_size: images that the programs take at once.
        machines: what it is for; the weights are in the file once for each.

    Returns:
        The Card that was written.

    Raises:
        InputError: a name, number or combination is not as it must be, there is no such folder,
            or the file may not be written there.
        OSError: the disk is full or broken.
    """
    path = Path(path)
    _check(embed, path)
    if not isinstance(size, tuple | list) or len(size) != 2:
        raise InputError(f"size must be (height, width), got {shown(size)}")
    height, width = (check_count("size", n, least=1, most=LONGEST_STORED_SIDE) for n in size)
    batch_size = check_count("batch_size", batch_size, least=1)
    if not machines:
        raise InputError("machines: expected one of them at least")
    content: dict[Machine, dict[str, bytes]] = {}
    for name in machines:
        program, weights = _program(embed, name, (height, width), batch_size)
        features = program.out_avals[0].shape[-1]
        content[name] = {
            PROGRAM: bytes(program.serialize(vjp_order=1)),
            WEIGHTS: b"".join(np.asarray(one).tobytes() for one in weights),
        }
    network = encode(config, default_layout(config), {})
    digests: dict[str, str] = {name: digest_of(parts) for name, parts in content.items()}
    card = Card(
        (height, width), batch_size, features, embed.cameras, network, jax.__version__, digests
    )
    write_by(path, lambda temporary: _write(temporary, card, content))
    return card


def _check(embed: Embedding, path: Path) -> None:
    """What can be exported, and where to: known before the programs are made, which takes long."""
    if not is_exported(path):
        raise InputError(f"{path}: an exported model ends in {EXPORTED}")
    if not path.parent.is_dir():
        raise InputError(f"{path}: there is no folder {path.parent}")
    if not isinstance(embed, Embedding):
        raise InputError(f"embed must be an embedding(model), got {shown(embed)}")
    if embed.batch_norm != "running":
        raise InputError(
            "embed takes the statistics of its batch, and the last block of images is filled up; "
            "expected one of batch_norm='running'"
        )


def _write(path: Path, card: Card, content: Mapping[Machine, Mapping[str, bytes]]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(CARD, json.dumps(card._asdict(), sort_keys=True))
        for name, parts in content.items():
            for part, one in parts.items():
                archive.writestr(f"{name}.{part}", one)


def _program(
    embed: Embedding, machine: Machine, size: tuple[int, int], batch: int
) -> tuple[jax.export.Exported, tuple[Array, ...]]:
    """The program for a kind of machine, and the weights that it takes before images."""
    if machine not in _FORMS:
        raise InputError(f"machines: expected {' or '.join(_FORMS)}, got {machine!r}")
    target, platforms = _FORMS[machine]
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
