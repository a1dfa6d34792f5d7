"""Gives a prepared dataset back: as folders that other toolboxes read, and as one picture."""

import contextlib
import errno
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from jaxreid.data.decode import decode
from jaxreid.data.prepare.archives import Progress
from jaxreid.data.prepare.filenames import MARKET1501, ImageName, market1501_name, read_name
from jaxreid.data.prepare.locking import LONGEST_NAME, make_folder, unusable
from jaxreid.data.source import ReidSource, ReidSplit, open_split
from jaxreid.errors import InputError, reason_of
from jaxreid.files import replacing, staging

__all__ = ["LAYOUTS", "draw_contact_sheet", "export_dataset"]

LAYOUTS = ("market1501",)
"""Folder layouts that can be written."""

_SHOWN = 200
_FOLDERS = {"bounding_box_train": "train_all", "query": "query", "bounding_box_test": "gallery"}

# Of the picture, in pixels and colours.
_CELL = (96, 192)
_GAP, _HEAD, _SIDE = 4, 24, 48
_PAPER, _EMPTY, _INK = (250, 250, 250), (228, 228, 228), (40, 40, 40)


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


def draw_contact_sheet(source: ReidSource, *, identities: int = 12, out: Path) -> Path:
    """Draws one image of each of some identities under every camera.

    Args:
        source: the split to show.
        identities: at most this many rows: people whom most cameras see come first, then lower
            numbers; distractors and junk are left out.
        out: where to write the PNG.

    Returns:
        `out`.

    Raises:
        InputError: no identity to show, no rows asked for, or an image that cannot be decoded.
    """
    if identities < 1:
        raise InputError(f"identities must be 1 or more, got {identities}")
    out = Path(out)
    _check_out(out)
    first = _first_images(source)
    if not first:
        raise InputError("nothing to show: the split has no identity above 0")
    seen: dict[int, int] = {}
    for identity, _ in first:
        seen[identity] = seen.get(identity, 0) + 1
    rows = sorted(sorted(seen, key=lambda i: (-seen[i], i))[:identities])
    columns = sorted(set(np.asarray(source.cameras).tolist()))
    sheet = _blank(rows, columns)
    for r, identity in enumerate(rows):
        for c, camera in enumerate(columns):
            if (identity, camera) in first:
                picture = _decoded(source, first[identity, camera])
                corner = _corner(r, c)
                at = tuple(
                    a + (whole - part) // 2
                    for a, whole, part in zip(corner, _CELL, picture.size, strict=True)
                )
                sheet.paste(picture, (at[0], at[1]))
    return _write(sheet, out)


def _first_images(source: ReidSource) -> dict[tuple[int, int], int]:
    """(identity, camera) -> index of its first image."""
    first: dict[tuple[int, int], int] = {}
    pairs = zip(source.identities.tolist(), source.cameras.tolist(), strict=True)
    for index, (identity, camera) in enumerate(pairs):
        if identity > 0:
            first.setdefault((identity, camera), index)
    return first


def _corner(row: int, column: int) -> tuple[int, int]:
    return _SIDE + column * (_CELL[0] + _GAP), _HEAD + row * (_CELL[1] + _GAP)


def _blank(rows: list[int], columns: list[int]) -> Image.Image:
    """The sheet with its labels and an empty cell for every pair."""
    sheet = Image.new("RGB", _corner(len(rows), len(columns)), _PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for c, camera in enumerate(columns):
        x, _ = _corner(0, c)
        label = f"camera {camera + 1}"
        draw.text((x + _CELL[0] // 2, _HEAD // 2), label, _INK, font, anchor="mm")
    for r, identity in enumerate(rows):
        _, y = _corner(r, 0)
        draw.text((_SIDE // 2, y + _CELL[1] // 2), f"{identity:04d}", _INK, font, anchor="mm")
        for c in range(len(columns)):
            x, y = _corner(r, c)
            draw.rectangle((x, y, x + _CELL[0] - 1, y + _CELL[1] - 1), _EMPTY)
    return sheet


def _decoded(source: ReidSource, index: int) -> Image.Image:
    example, name = source[index], source.file_names[index]
    pixels = decode(example["image"], name=name, upright=example.get("upright", True))
    picture = Image.fromarray(pixels)
    share = min(_CELL[0] / picture.width, _CELL[1] / picture.height)
    size = max(1, round(picture.width * share)), max(1, round(picture.height * share))
    return picture.resize(size, Image.Resampling.LANCZOS)


def _write(sheet: Image.Image, out: Path) -> Path:
    """Writes beside the target and renames, so that no reader sees half a picture."""
    make_folder(out.parent, purpose=f"the picture {out.name}")
    try:
        with replacing(out) as temporary:
            sheet.save(temporary, format="PNG")
    except (IsADirectoryError, PermissionError, FileNotFoundError) as error:
        raise InputError(f"{out} cannot be written ({reason_of(error)})") from None
    except OSError as error:  # a full disk does not say where
        raise OSError(error.errno, error.strerror, str(out)) from error
    return out


def _check_out(out: Path) -> None:
    """A file of the same name is replaced; a device, such as /dev/null, must not be."""
    try:
        replaceable = out.is_file() or not os.path.lexists(out)
        no_name = "\0" in out.name or len(os.fsencode(out.name)) > LONGEST_NAME
    except (OSError, ValueError):
        replaceable, no_name = False, True
    if not replaceable or no_name:
        reason = "no file system takes its name" if no_name else "it exists and is no file"
        raise InputError(
            f"{str(out)[:LONGEST_NAME]} cannot be written ({reason}); expected a PNG file"
        )
