"""One picture of a dataset: rows are identities, columns are cameras."""

import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from jaxreid.data.prepare.locking import LONGEST_NAME, make_folder
from jaxreid.data.read.decode import decode
from jaxreid.data.read.source import ReidSource
from jaxreid.errors import InputError, reason_of
from jaxreid.files import replacing

__all__ = ["draw_contact_sheet"]

_CELL = (96, 192)
_GAP, _HEAD, _SIDE = 4, 24, 48
_PAPER, _EMPTY, _INK = (250, 250, 250), (228, 228, 228), (40, 40, 40)


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
