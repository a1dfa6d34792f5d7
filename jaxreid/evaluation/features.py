"""Features of a split, from all devices of all processes, and how its images are read."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxreid.cameras import refuse_unknown_cameras, wanted_cameras
from jaxreid.constants import Filter
from jaxreid.data.loader import BatchIterator, evaluation_batches
from jaxreid.data.source import ReidSource
from jaxreid.errors import InputError
from jaxreid.evaluation.embeds import Shots, as_pytree, features_of_shots
from jaxreid.sharding import gathered, over_rows, replicated, row_mesh, whole_batch
from jaxreid.types import Array, Embed, Embedded

__all__ = [
    "Clean",
    "LoaderSettings",
    "Subset",
    "extract",
    "have_unit_length",
    "refuse_indistinct",
    "refuse_nonfinite",
    "rows_of",
]


class LoaderSettings(NamedTuple):
    """How images are read, and where they are worked on; only size and filter change a result.

    Attributes:
        size: (height, width) in pixels to which images are resized.
        batch_size: images at a time over all devices of all processes.
        filter: kernel that resizes them.
        workers: processes that decode; 0 decodes in threads of this one.
        devices: of this process; None for all of them.
    """

    size: tuple[int, int]
    batch_size: int = 64
    filter: Filter = "bilinear"
    workers: int = 0
    devices: Sequence[jax.Device] | None = None

    def batches(self, source: ReidSource, total: int) -> BatchIterator:
        """Every image of a split once and in order, of each batch the part of this process.

        Args:
            source: the split.
            total: images in a batch of all processes, see `jaxreid.sharding.whole_batch`.

        Returns:
            A BatchIterator over one pass.

        Raises:
            InputError: the settings are wrong, or an image cannot be decoded.
        """
        return evaluation_batches(
            source,
            total,
            size=self.size,
            filter=self.filter,
            shard=(jax.process_index(), jax.process_count()),
            workers=self.workers,
        )


class Clean(NamedTuple):
    """Features of a test before any attack, for one distance.

    Attributes:
        embed: what is attacked; for cosine, features of unit length.
        query: features of the whole query set.
        gallery: features of the whole gallery.
    """

    embed: Embed
    query: Embedded
    gallery: Embedded


class Subset:
    """Some images of a split, in the order given: a ReidSource itself.

    Args:
        source: the split, N images.
        indices: [n] integer positions in it.
    """

    def __init__(self, source: ReidSource, indices: np.ndarray) -> None:
        self._source, self._indices = source, np.asarray(indices, np.int64)
        self.identities = np.asarray(source.identities)[self._indices]
        self.labels = np.asarray(source.labels)[self._indices]
        self.cameras = np.asarray(source.cameras)[self._indices]
        names = source.file_names
        self.file_names: Sequence[str] = tuple(names[i] for i in self._indices.tolist())

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        return self._source[int(self._indices[index])]


def extract(
    embed: Embed,
    source: ReidSource,
    *,
    size: tuple[int, int],
    batch_size: int = 64,
    filter: Filter = "bilinear",
    workers: int = 0,
    cache: np.ndarray | None = None,
    devices: Sequence[jax.Device] | None = None,
    first: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Embedded:
    """Features of every image of a split, ``f_i = embed(x_i)``, in the order of the split.

    One program serves all batches: the last one is padded. Neither the batch size nor the number
    of devices or processes changes a feature (up to rounding). With several processes, each of
    them must call this with the same arguments, and each gets the whole. An embedding that must be
    told cameras (`jaxreid.models.Embedding.seen_by`) is told those of the split.

    Args:
        embed: images [B,H,W,3] float32 in [0, 1] -> features [B,D]; row i depends on image i only.
            A pytree (`jaxreid.models.embedding`) is compiled once for all its weights.
        source: the split, N images.
        size: (height, width) in pixels to which images are resized.
        batch_size: images at a time over all devices of all processes; rounded up to a multiple
            of their number.
        filter: kernel that resizes them.
        workers: processes that decode; 0 decodes in threads of this one.
        cache: uint8 [N,height,width,3] from `decode_all`, in place of decoding.
        devices: of this process; all of them by default.
        first: number of the first image, from which on an embedding that draws at random (as
            `through` makes them) tells images apart.
        progress: called with (images done, all of them) after each batch.

    Returns:
        Embedded: features [N,D] float32 (NumPy), identities and cameras [N].

    Raises:
        InputError: an empty split, an image that cannot be decoded, a camera that the network does
            not have, or features that are no finite [B,D] array.
    """
    if len(source) == 0:
        raise InputError("the split is empty; expected at least one image")
    refuse_unknown_cameras(wanted_cameras(embed), source.cameras, "the split")
    mesh = row_mesh(devices)
    run, shared = over_rows(features_of_shots, mesh), replicated(as_pytree(embed), mesh)
    total = whole_batch(batch_size, len(source), mesh)
    batches = evaluation_batches(
        source,
        total,
        size=size,
        filter=filter,
        shard=(jax.process_index(), jax.process_count()),
        workers=workers,
        cache=cache,
    )
    parts: list[np.ndarray | Array] = []
    with batches:
        for number, batch in enumerate(batches, 1):
            numbers = first + np.maximum(batch.indices, 0)
            parts.append(run(shared, Shots(batch.images, batch.cameras, numbers)))
            if len(parts) > 1:
                # One batch behind: the devices have work while the host decodes.
                parts[-2] = np.asarray(parts[-2])
            if progress is not None:
                progress(min(number * total, len(source)), len(source))
    features = gathered(parts, len(source))
    refuse_nonfinite(features, source)
    return Embedded(features, np.asarray(source.identities), np.asarray(source.cameras))


def have_unit_length(features: np.ndarray) -> bool:
    """Whether features are normalised, by cosine distance or by the model itself."""
    lengths = np.linalg.norm(np.asarray(features, np.float32), axis=1)
    return bool(np.any(lengths > 0) and np.all((np.abs(lengths - 1) < 1e-2) | (lengths == 0)))


def refuse_nonfinite(features: np.ndarray, source: ReidSource) -> None:
    """Raises InputError, naming an image, where one of the features [N,D] is not finite."""
    wrong = ~np.isfinite(features).all(axis=1)
    if wrong.any():
        raise InputError(
            f"the embedding gives NaN or infinity for {int(wrong.sum())} of {len(wrong)} images, "
            f"the first of them {source.file_names[int(wrong.argmax())]}"
        )


def refuse_indistinct(features: np.ndarray) -> None:
    """Raises InputError where all gallery features [N,D] are equal: nothing to rank by."""
    if len(features) > 1 and not np.any(features != features[0]):
        raise InputError(
            f"the embedding gives all {len(features):,} gallery images the same feature, so there "
            "is nothing to rank by: has it been trained, and did the training collapse?"
        )


def rows_of(embedded: Embedded, rows: np.ndarray) -> Embedded:
    """Some rows of a set: [n] positions or a boolean [N]."""
    return Embedded(*(np.asarray(part)[rows] for part in embedded))
