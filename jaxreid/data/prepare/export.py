"""Writes a prepared dataset back to folders that other toolboxes read."""

import contextlib
import errno
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from jaxreid.data.prepare.archives import Progress
from jaxreid.data.prepare.filenames import MARKET1501, ImageName, market1501_name, read_name
from jaxreid.data.prepare.locking import LONGEST_NAME, make_folder, unusable
from jaxreid.data.read.source import ReidSplit, open_split
from jaxreid.errors import InputError, reason_of
from jaxreid.files import staging

__all__ = ["LAYOUTS", "export_dataset"]

LAYOUTS = ("market1501",)
"""Folder layouts that can be written."""

_SHOWN = 200
_FOLDERS = {"bounding_box_train": "train_all", "query": "query", "bounding_box_test": "gallery"}


def _market_names(source: ReidSplit) -> list[str]:
    """Market names of a split: the images' own where they are such, new ones elsewhere."""
    images = [
        ImageName(int(identity), int(camera), int(sequence), int(frame))
        for identity, camera, sequence, frame in zip(
            source.identities, source.cameras, source.sequences, source.frames, strict=True
        )
    ]
    names: list[str | None] = [
        name if name.endswith(".jpg") and read_name(name, MARKET1501) == image else None
        for name, image in zip(source.file_names, images, strict=True)
    ]
    taken = {name for name in names if name is not None}
    boxes: dict[ImageName, int] = {}
    # By file name, so that names do not depend on which people validation holds out.
    for i in np.argsort(np.array(source.file_names, dtype=np.str_), kind="stable"):
        while names[i] is None:
            box = boxes.get(images[i], 0)
            boxes[images[i]] = box + 1
            candidate = market1501_name(images[i], box=box)
            if candidate not in taken:
                names[i] = candidate
                taken.add(candidate)
    return [name for name in names if name is not None]


def _write_folder(source: ReidSplit, folder: Path, *, report: Callable[[int, int], None]) -> None:
    folder.mkdir()
    for i, name in enumerate(_market_names(source)):
        image = source[i]["image"]
        try:
            (folder / name).write_bytes(image)
        except OSError as error:  # a full disk does not say where
            raise OSError(error.errno, error.strerror, str(folder / name)) from error
        report(i + 1, len(source))


def export_dataset(
    name: str,
    destination: str | os.PathLike[str],
    *,
    layout: str = "market1501",
    data_dir: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Path:
    """Writes a prepared dataset as `bounding_box_train`, `query` and `bounding_box_test`.

    Files hold the original bytes. Names in Market-1501's grammar are kept; others become
    `0002_c1s1_000451_03.jpg` from identity, camera, sequence (1 if unknown) and frame (0 if
    unknown). All end in `.jpg`, PNG, BMP and WebP bytes too: that is what other toolboxes look
    for, and image readers go by the content.

    Args:
        name: a prepared dataset, as in `jaxreid.data.open_split`.
        destination: a folder that does not exist yet, or an empty one.
        layout: one of `LAYOUTS`.
        data_dir: where prepared datasets are; TFDS's default by default.
        progress: called with what is being done, images done, images in all.

    Returns:
        The destination.

    Raises:
        InputError: the dataset is not prepared, the layout is unknown, or the destination holds
            something already.
    """
    if layout not in LAYOUTS:
        raise InputError(f"unknown layout {layout!r}; expected one of: {', '.join(LAYOUTS)}")
    target = Path(destination).expanduser().absolute()
    _check_target(target)
    sources = {
        folder: open_split(name, split, data_dir=data_dir) for folder, split in _FOLDERS.items()
    }
    purpose = f"the export {target.name}"
    make_folder(target.parent, purpose=purpose)
    with contextlib.ExitStack() as stack:
        try:
            staged = stack.enter_context(staging(target)) / target.name
            staged.mkdir()
        except OSError as error:
            raise unusable(target.parent, purpose, error) from None
        for folder, source in sources.items():
            _write_folder(
                source,
                staged / folder,
                report=lambda done, total, folder=folder: (  # type: ignore[misc]
                    progress(f"writing {folder}", done, total) if progress else None
                ),
            )
        # An empty folder gives way to the renamed one; anything else is refused.
        staged.rename(target)
    return target


def _check_target(target: Path) -> None:
    try:
        if "\0" in target.name:
            raise ValueError("a null byte")
        taken = os.path.lexists(target) and (not target.is_dir() or any(target.iterdir()))
        if len(os.fsencode(target.name)) > LONGEST_NAME:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{str(target)[:_SHOWN]!r} cannot be written to ({reason_of(error)}); expected a new "
            "folder"
        ) from None
    if taken:
        raise InputError(f"{target} exists and is not an empty folder; expected a new one")
