"""A model without its code: compiled functions in a file, for CPUs and for accelerators."""

import os
from dataclasses import dataclass, field, replace
from pathlib import Path

import jax
import jax.export
import jax.numpy as jnp
from jax import lax

from jaxreid.errors import InputError
from jaxreid.models.cameras import camera_numbers, cameras_of_batch
from jaxreid.models.config import ModelConfig
from jaxreid.models.exported_file import Card, Machine, is_exported, opened, read_program
from jaxreid.models.pixels import float_images
from jaxreid.models.weights.recognition import config_of
from jaxreid.pytrees import pytree_dataclass
from jaxreid.types import Array, ArrayLike

__all__ = ["ExportedEmbedding", "check_exported", "is_exported", "load_exported"]


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
    black. It goes through `jax.jit`, `grad` and `vjp`, but not through `jax.vmap` (nor `jacrev`,
    which uses that), `jvp` or a second `grad`. Where the network tells cameras apart, it is told
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
        pixels = float_images(images).astype(jnp.float32)
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
        filled = jnp.pad(pixels, ((0, fill), (0, 0), (0, 0), (0, 0)))
        rows = (
            filled.reshape(blocks, card.batch, *card.size, 3),
            jnp.pad(numbers, (0, fill)).reshape(blocks, card.batch),
        )
        try:
            found = lax.map(lambda row: self.file.program.call(self.weights, *row), rows)
        except NotImplementedError as error:  # JAX's, who has no such rule for compiled programs
            raise InputError(
                f"an exported model takes all images at once, as [B,{card.size[0]},{card.size[1]},"
                "3], and does not go through jax.vmap"
            ) from error
        return found.reshape(-1, card.features)[:count]


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
    with opened(path) as (archive, card):
        if machine not in card.programs:
            has = ", ".join(card.programs)
            raise InputError(f"{path} was exported for {has}; this machine is of {machine}")
        program, weights = read_program(path, archive, card, machine)
    return ExportedEmbedding(weights, _File(program, card, config_of(card.network)))


def check_exported(path: str | os.PathLike[str]) -> tuple[Card, ModelConfig]:
    """Reads all that is in an exported file, for other kinds of machines, too.

    Args:
        path: as `export_embedding` wrote it.

    Returns:
        Its Card and the configuration of the network.

    Raises:
        InputError: as `load_exported`, for whatever part of the file; it is named.
    """
    path = Path(path)
    with opened(path) as (archive, card):
        for machine in card.programs:
            read_program(path, archive, card, machine)
        return card, config_of(card.network)
