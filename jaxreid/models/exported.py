"""A model without its code: compiled functions in a file, for CPUs and for accelerators.

The file is a ZIP archive, not compressed, of card.json and, for each kind of machine, of a
StableHLO program with its derivative, as `jax.export` writes them, and of the weights that are its
first inputs. It is read without running any Python from it.
"""

import hashlib
import json
import math
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxreid.errors import InputError, reason_of
from jaxreid.models.cameras import camera_numbers, cameras_of_batch
from jaxreid.models.config import ModelConfig
from jaxreid.models.folding import Target
from jaxreid.models.weights.recognition import config_of
from jaxreid.pytrees import pytree_dataclass
from jaxreid.types import Array, ArrayLike

__all__ = ["Card", "ExportedEmbedding", "Machine", "is_exported", "load_exported"]

Machine = Literal["cpu", "accelerators"]

SUFFIX = ".exported"
CARD, FORMAT = "card.json", 1
PROGRAM, WEIGHTS = "program", "weights"
# A frozen network has one form for CPUs, and another that all accelerators share.
FORMS: dict[Machine, tuple[Target, tuple[str, ...]]] = {
    "cpu": ("cpu", ("cpu",)),
    "accelerators": ("gpu", ("cuda", "rocm", "tpu")),
}
_LARGEST_CARD = 1 << 20


class Card(NamedTuple):
    """What the file says beside its programs.

    Attributes:
        size: (height, width) in pixels of the images.
        batch: images that a program takes at once.
        features: numbers of a feature, D.
        cameras: how many cameras the programs tell apart; 0 where they take none.
        network: the configuration, as the header of a file of weights holds it.
        jax: version that wrote the file.
        programs: machine -> SHA-256 of its program and weights.
        format: of the file.
    """

    size: tuple[int, int]
    batch: int
    features: int
    cameras: int
    network: str
    jax: str
    programs: dict[str, str]
    format: int = FORMAT


@dataclass(frozen=True, eq=False)
class _File:
    """What was read, compared by identity: programs are long."""

    program: jax.export.Exported
    card: Card
    config: ModelConfig


@pytree_dataclass
@dataclass(frozen=True, eq=False, repr=False)
class ExportedEmbedding:
    """The features that an exported file computes: a pure function of images.

    Batches of any number go through the program in blocks of its own, the last filled up with
    black. It has first derivatives, no others. Where the network tells cameras apart, it is told
    them by `seen_by`, as an `Embedding`.

    Attributes:
        weights: the first inputs of the program; leaves of the pytree.
        file: program for this machine, Card, configuration of the network; static.
        seen: int32 [B], the cameras of the images; [] for one of all; None where nobody told.

    Args:
        images: [B,H,W,3] floating point in [0, 1], of the exported size.

    Returns:
        Features [B,D] float32.
    """

    weights: tuple[Array, ...]
    file: _File = field(metadata={"static": True})
    seen: Array | None = None

    @property
    def card(self) -> Card:
        """What the file says beside its programs."""
        return self.file.card

    @property
    def config(self) -> ModelConfig:
        """The network, with its pipeline."""
        return self.file.config

    @property
    def wanted_cameras(self) -> int:
        """Cameras that it must be told apart before it is called; 0 once it has been told."""
        return self.card.cameras if self.seen is None else 0

    def seen_by(self, cameras: str | int | ArrayLike) -> "ExportedEmbedding":
        """The same function of images that these cameras took: see `Embedding.seen_by`.

        Args:
            cameras: integers [B] from 0, or one of all images; "mean" or "none".

        Returns:
            An ExportedEmbedding; this one where the feature does not depend on the camera.

        Raises:
            InputError: cameras are something else, or the network does not have them.
        """
        if not self.card.cameras:
            return self
        return replace(self, seen=camera_numbers(cameras, self.card.cameras))

    def __call__(self, images: Array) -> Array:
        """Images [B,H,W,3] in [0, 1] -> features [B,D] float32."""
        card, count = self.card, len(images)
        if images.shape[1:] != (*card.size, 3):
            raise InputError(
                f"images have shape {images.shape}; this model was exported for [B,"
                f"{card.size[0]},{card.size[1]},3]"
            )
        # Where there are none, what the program is given for them does nothing.
        seen = self.seen if card.cameras else jnp.int32(0)
        numbers = cameras_of_batch(seen, card.cameras, count)
        blocks = -(-count // card.batch)
        fill = blocks * card.batch - count
        pixels = jnp.pad(images.astype(jnp.float32), ((0, fill), (0, 0), (0, 0), (0, 0)))
        rows = (
            pixels.reshape(blocks, card.batch, *card.size, 3),
            jnp.pad(numbers, (0, fill)).reshape(blocks, card.batch),
        )
        found = lax.map(lambda row: self.file.program.call(self.weights, *row), rows)
        return found.reshape(-1, card.features)[:count]


def digest_of(parts: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256()
    for part in (PROGRAM, WEIGHTS):
        digest.update(parts[part])
    return digest.hexdigest()


def is_exported(path: Path) -> bool:
    """Whether a file is called as exported models are."""
    return path.suffix == SUFFIX


def load_exported(path: str | os.PathLike[str]) -> ExportedEmbedding:
    """Reads an exported model, for the default device of this machine.

    Args:
        path: as `export_embedding` wrote it.

    Returns:
        An ExportedEmbedding.

    Raises:
        InputError: the file is none, is damaged, was written by a newer JAX, or is not for this
            kind of machine.
    """
    path = Path(path)
    machine: Machine = "cpu" if jax.default_backend() == "cpu" else "accelerators"
    try:
        with zipfile.ZipFile(path) as archive:
            # What is not compressed is no longer than the file.
            if any(part.compress_type != zipfile.ZIP_STORED for part in archive.infolist()):
                raise InputError(f"{path} is no exported model: parts of it are compressed")
            card = _card(path, archive)
            if machine not in card.programs:
                has = ", ".join(card.programs)
                raise InputError(f"{path} was exported for {has}; this machine is of {machine}")
            content = {part: archive.read(f"{machine}.{part}") for part in (PROGRAM, WEIGHTS)}
    except (OSError, zipfile.BadZipFile, KeyError, EOFError, NotImplementedError) as error:
        raise InputError(f"{path} is no exported model: {reason_of(error)}") from None
    if digest_of(content) != card.programs[machine]:
        raise InputError(f"{path}: its program for {machine} is damaged; take another copy")
    try:
        program = jax.export.deserialize(bytearray(content[PROGRAM]))
        weights = _split(content[WEIGHTS], program.in_avals[:-2])
    except Exception as error:  # flatbuffers' and XLA's: whatever another version makes them raise
        raise InputError(
            f"{path} was exported by jax {card.jax} and cannot be read by jax {jax.__version__}: "
            f"{reason_of(error)}"
        ) from None
    given, result = program.in_avals[-2:], program.out_avals
    shapes = [(card.batch, *card.size, 3), (card.batch,), (card.batch, card.features)]
    if len(program.in_avals) < 2 or [one.shape for one in (*given, *result)] != shapes:
        raise InputError(f"{path}: its program does not compute what {CARD} says")
    return ExportedEmbedding(weights, _File(program, card, config_of(card.network)))


def _split(content: bytes, shapes: Sequence[jax.core.AbstractValue]) -> tuple[Array, ...]:
    """Arrays that lie behind one another."""
    found, begin = [], 0
    for aval in shapes:
        one = cast(jax.core.ShapedArray, aval)
        values = np.frombuffer(content, one.dtype, math.prod(one.shape), offset=begin)
        found.append(jnp.asarray(values.reshape(one.shape)))
        begin += values.nbytes
    if begin != len(content):
        raise ValueError(f"{len(content)} bytes of weights, the program takes {begin}")
    return tuple(found)


def _card(path: Path, archive: zipfile.ZipFile) -> Card:
    """The card of a file that anybody may have written."""
    if archive.getinfo(CARD).file_size > _LARGEST_CARD:
        raise InputError(f"{path}: {CARD} is larger than that of any model")
    try:
        fields: dict[str, Any] = json.loads(archive.read(CARD))
        if fields.get("format") != FORMAT:
            raise InputError(
                f"{path} has format {fields.get('format')!r}; this release reads {FORMAT}"
            )
        card = Card(**{**fields, "size": tuple(fields["size"])})
        numbers = (*card.size, card.batch, card.features)
        if len(card.size) != 2 or any(type(n) is not int or n < 1 for n in numbers):
            raise ValueError(f"sizes {numbers}")
        if type(card.cameras) is not int or card.cameras < 0 or not isinstance(card.programs, dict):
            raise ValueError("cameras or programs")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InputError(f"{path}: {CARD} does not describe a model: {error}") from None
    return card
