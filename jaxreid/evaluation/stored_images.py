"""Adversarial images on disk, checked against their manifest as they are read."""

import hashlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from jaxreid.budgets import exact
from jaxreid.data.batches import Images
from jaxreid.data.source import ReidSource
from jaxreid.errors import InputError, reason_of
from jaxreid.evaluation.features import LoaderSettings
from jaxreid.evaluation.grid import canonical
from jaxreid.evaluation.retrieval import RetrievalTest
from jaxreid.records import Condition
from jaxreid.records.parsing import read_versioned, typed

__all__ = [
    "MANIFEST",
    "MANIFEST_SCHEMA",
    "WITHOUT_GRADIENT",
    "Manifest",
    "StoredImages",
    "png_names",
    "read_manifest",
]

MANIFEST = "manifest.json"
MANIFEST_SCHEMA = 1
# Counts of steps in an entry of `Manifest.files`.
WITHOUT_GRADIENT = ("nonfinite_gradient", "zero_gradient")
# Images compared at a time: 256 of 256x128 are 50 MB as int16.
_COMPARED = 256


class Manifest(NamedTuple):
    """What was written, and how it was made.

    Attributes:
        condition: the attack; eight_bit is True.
        model: as in Provenance, with its "sha256": whom the images were made to fool.
        dataset: as in Provenance.
        settings: as in Provenance, with "size" [height, width] and "limit".
        files: file name -> "source" (name in the split), "sha256", "largest_change" (in 1/255),
            "push" (names of the pushing guides), "pull" (the identity pulled towards, the names of
            the images that pull, or None), and where it happened "nonfinite_gradient" and
            "zero_gradient" (steps at which the gradient held NaN or infinity, and at which it was
            zero).
    """

    condition: Condition
    model: dict[str, Any]
    dataset: dict[str, Any]
    settings: dict[str, Any]
    files: dict[str, dict[str, Any]]


def png_names(names: Sequence[str]) -> list[str]:
    """Names of images, paths below a split's folder, with the suffix .png.

    Where two would become one, the later keeps its own suffix before it.
    """
    taken: dict[str, None] = {}
    for name in names:
        short = str(PurePosixPath(name).with_suffix(".png"))
        while short in taken:
            short = f"{short.removesuffix('.png')}{PurePosixPath(name).suffix}.png"
        taken[short] = None
    return list(taken)


def read_manifest(folder: Path) -> Manifest:
    """Reads what `write_images` wrote; the images are not looked at yet.

    Args:
        folder: with manifest.json.

    Returns:
        The manifest.

    Raises:
        InputError: there is no manifest, it is damaged, or of another schema.
    """
    path = folder / MANIFEST
    try:
        fields = read_versioned(path, MANIFEST_SCHEMA, instead="write the images again")
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({reason_of(error)}); expected a folder of `jaxreid attack`"
        ) from None
    try:
        condition = canonical(typed(Condition, fields["condition"], "condition"))
        if condition.attack == "clean" or condition.is_ensemble or not condition.eight_bit:
            raise InputError("its condition is no attack that was written to images")
        parts = {name: fields[name] for name in ("model", "dataset", "settings", "files")}
        wrong = [name for name, part in parts.items() if not isinstance(part, dict)]
        if wrong or not all(map(_is_entry, parts["files"].values())):
            raise InputError("a part of it has another form")
        return Manifest(condition, **parts)
    except (TypeError, KeyError, InputError) as error:
        raise InputError(f"{path} is damaged: {error}") from None


def _is_entry(entry: object) -> bool:
    """Whether a file's part of a manifest has what reading the file needs."""
    needed = ("source", "sha256")
    return isinstance(entry, dict) and all(isinstance(entry.get(name), str) for name in needed)


class StoredImages:
    """A split with stored adversarial images in place of those that were attacked.

    A ReidSource; every image is checked against the manifest as it is read.

    Args:
        folder: of the manifest.
        manifest: from `read_manifest`.
        source: the split the images were made from.

    Raises:
        InputError: the manifest names an image that the split lacks, or a file is missing.

    Attributes:
        condition: what was done to the images.
    """

    def __init__(self, folder: Path, manifest: Manifest, source: ReidSource) -> None:
        self._folder, self._source = folder, source
        self.condition = manifest.condition
        self.identities, self.labels = source.identities, source.labels
        self.cameras, self.file_names = source.cameras, source.file_names
        positions = {name: i for i, name in enumerate(source.file_names)}
        expected = png_names(source.file_names)
        self._files: dict[int, tuple[str, str]] = {}
        self._without_gradient: dict[int, list[bool]] = {}
        for name, entry in manifest.files.items():
            position = positions.get(entry["source"], -1)
            # The split's own names: a manifest cannot point out of its folder.
            if position < 0 or expected[position] != name:
                raise InputError(f"{folder / MANIFEST} names {name!r}, which the split lacks")
            if not (folder / name).is_file():
                raise InputError(f"{folder / name} is missing; write the images again")
            self._files[position] = (name, entry["sha256"])
            flags = [bool(entry.get(kind)) for kind in WITHOUT_GRADIENT]
            self._without_gradient[position] = flags

    def largest_change(
        self, test: RetrievalTest, condition: Condition, positions: np.ndarray
    ) -> float:
        """Compares the stored images with the clean ones.

        Args:
            test: the retrieval test they are used in.
            condition: what the manifest says was done.
            positions: [T] positions in the split of the images that the test attacks.

        Returns:
            The largest change of a pixel, in 1/255.

        Raises:
            InputError: other images are stored, or one is changed by more than the budget.
        """
        if not np.array_equal(positions, sorted(self._files)):
            raise InputError(
                f"{self._folder} holds {len(self._files)} images, and others than the "
                f"{len(positions)} that this test attacks; it needs the same splits and --limit"
            )
        loader, largest = test.loader, 0
        for first in range(0, len(positions), _COMPARED):
            part = positions[first : first + _COMPARED]
            stored, clean = (
                Images(source, loader.size, loader.filter, None)(part).astype(np.int16)
                for source in (self, self._source)
            )
            largest = max(largest, int(np.abs(stored - clean).max()))
        if condition.norm == "linf" and largest > condition.eps:
            raise InputError(
                f"{self._folder} holds an image that is changed by {largest}/255, beyond the "
                f"eps = {exact(condition.eps)} of its manifest"
            )
        return float(largest)

    def without_gradient(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which images had no gradient to follow when they were made, by the manifest.

        Args:
            positions: [T] in the split.

        Returns:
            Boolean [T], whether it held NaN or infinity at some step; and whether it was zero.
        """
        flags = [self._without_gradient[position] for position in positions.tolist()]
        nonfinite, zero = np.array(flags, bool).reshape(-1, 2).T
        return nonfinite, zero

    def pictures(self, loader: LoaderSettings, positions: np.ndarray) -> dict[int, np.ndarray]:
        """Decodes some of the images.

        Args:
            loader: their size.
            positions: [n] in the split.

        Returns:
            Position -> float32 [H,W,3] in [0, 1].
        """
        pixels = Images(self, loader.size, loader.filter, None)(np.asarray(positions))
        return dict(zip(positions.tolist(), pixels.astype(np.float32) / 255, strict=True))

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> dict[str, Any]:
        example = dict(self._source[index])
        if (stored := self._files.get(int(index))) is not None:
            name, expected = stored
            content = (self._folder / name).read_bytes()
            if hashlib.sha256(content).hexdigest() != expected:
                raise InputError(
                    f"{self._folder / name} is not the file that was written: its "
                    "SHA-256 differs from the manifest's"
                )
            example["image"] = content
        return example
