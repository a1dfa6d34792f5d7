"""What a file name says: identity, camera, sequence and frame."""

import math
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from jaxreid.errors import InputError

__all__ = [
    "CUHK03_NP",
    "DUKEMTMC_REID",
    "MARKET1501",
    "MSMT17",
    "REID_FOLDER",
    "VERI776",
    "ImageName",
    "Numbering",
    "camera_words",
    "compile_pattern",
    "market1501_name",
    "read_name",
]

_IMAGE = r"\.(?i:jpe?g|jpe|jfif|png|bmp|webp)"

MARKET1501 = re.compile(
    r"(?P<identity>-1|\d+)_c(?P<camera>\d+)s(?P<sequence>\d+)_(?P<frame>\d+)_\d+" + _IMAGE
)
"""`0002_c1s1_000451_03.jpg`: identity, camera, sequence, frame, and the box of that frame."""

DUKEMTMC_REID = re.compile(r"(?P<identity>\d+)_c(?P<camera>\d+)_f(?P<frame>\d+)" + _IMAGE)
"""`0005_c2_f0046985.jpg`: identity, camera, frame."""

CUHK03_NP = re.compile(r"(?P<identity>\d+)_c(?P<camera>\d+)_\d+" + _IMAGE)
"""`0001_c1_1.png`: identity, camera, and a running number, which is no frame."""

MSMT17 = re.compile(r"(?:.*/)?(?P<identity>\d+)_\d+_(?P<camera>\d+)_\w+" + _IMAGE)
"""`0000/0000_000_01_0303morning_0008_0.jpg`: identity, running number, camera, session."""

VERI776 = re.compile(r"(?P<identity>\d+)_c(?P<camera>\d+)_(?P<frame>\d+)_\d+" + _IMAGE)
"""`0002_c002_00030600_0.jpg`: vehicle, camera, frame, and the box of that frame."""

REID_FOLDER = re.compile(
    r"(?:.*/)?(?P<identity>-1|\d+)_c(?P<camera>\d+)(?:s(?P<sequence>\d+))?"
    r"(?:_f?(?P<frame>\d+))?(?:_\w+)?" + _IMAGE
)
"""Market's naming, of which all after the camera may be missing; subfolders are allowed."""

_GROUPS = ("identity", "camera", "sequence", "frame")
# int64 is what the records hold.
_LARGEST = 2**63 - 1
_DIGITS = 40  # leading zeros and all: Python refuses to read thousands


class ImageName(NamedTuple):
    """The numbers in a file name.

    Attributes:
        identity: as in the name; 0 is a distractor, -1 junk.
        camera: counted from 0.
        sequence: -1 where the name has none.
        frame: -1 where the name has none.
    """

    identity: int
    camera: int
    sequence: int
    frame: int


def compile_pattern(pattern: str) -> re.Pattern[str]:
    r"""Compiles a user's regular expression for file names; InputError if it does not serve.

    It is matched against the whole path below the split's folder. It must have the named groups
    `identity` and `camera`, may have `sequence` and `frame`, all of them integers, but for cameras,
    which may be words; for instance `person(?P<identity>\d+)/cam(?P<camera>\d+)_.*\.jpg`.
    """
    try:
        compiled = re.compile(pattern)
    except (re.error, OverflowError) as error:
        raise InputError(f"--pattern {pattern!r} is no regular expression: {error}") from None
    except RecursionError:
        raise InputError("--pattern is no regular expression: it nests too deeply") from None
    groups = set(compiled.groupindex)
    if not {"identity", "camera"} <= groups or groups - set(_GROUPS):
        found = ", ".join(sorted(groups)) or "none"
        raise InputError(
            f"--pattern {pattern!r} has the named groups: {found}; expected (?P<identity>...) and "
            "(?P<camera>...), and at most (?P<sequence>...) and (?P<frame>...) beside them"
        )
    return compiled


class Numbering(NamedTuple):
    """What the numbers in names count from.

    Attributes:
        first_camera: the number of the first camera; it becomes camera 0.
        first_identity: the number of the first person; it becomes identity 1.
        cameras: camera in words -> camera from 0; None where cameras are numbers.
    """

    first_camera: int = 1
    first_identity: int = 1
    cameras: Mapping[str, int] | None = None


_FROM_ONE = Numbering()


def read_name(
    name: str, pattern: re.Pattern[str], numbering: Numbering = _FROM_ONE
) -> ImageName | str:
    """The numbers in a path below the split's folder, or why it cannot be read (after the name)."""
    match = pattern.fullmatch(name)
    # Bytes of a name that the file system's encoding lacks come as lone surrogates.
    if not name.isascii() and _has_surrogates(name):
        return "not valid UTF-8"
    if match is None:
        return f"no match of {pattern.pattern}; reid_folder reads other names with --pattern"
    values = {"identity": -1, "camera": -1, "sequence": -1, "frame": -1}
    for group, text in match.groupdict().items():
        if not text:
            if group in ("identity", "camera"):
                return f"the pattern finds no {group} in it"
            continue
        if group == "camera" and numbering.cameras is not None:
            values[group] = numbering.cameras[text] + numbering.first_camera
            continue
        if not _is_number(text):
            return f"{group} {text!r} is not a number"
        if len(text) > _DIGITS or abs(int(text)) > _LARGEST:
            return f"{group} {text[:_DIGITS]} does not fit into 64 bits"
        values[group] = int(text)
    return _counted(ImageName(**values), numbering)


def _counted(found: ImageName, numbering: Numbering) -> ImageName | str:
    camera = found.camera - numbering.first_camera
    if camera < 0:
        return (
            f"camera {found.camera} lies below the first one, {numbering.first_camera}; "
            f"reid_folder counts from it with --first-camera {found.camera}"
        )
    identity = found.identity
    if identity < -1:
        return f"identity {identity} lies below -1, which is junk"
    if identity >= numbering.first_identity:
        identity += 1 - numbering.first_identity
    elif identity > 0:
        return f"identity {identity} lies below the first one, {numbering.first_identity}"
    return found._replace(identity=identity, camera=camera)


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?[0-9]+", text) is not None


def camera_words(names: Iterable[str], pattern: re.Pattern[str]) -> dict[str, int] | None:
    """Numbers cameras that file names give in words, such as "entrance" or VIPeR's "a" and "b".

    From 0 in sorted order ("gate2" before "gate10"), over the names of all splits; None if all
    cameras are numbers already.
    """
    found = {match["camera"] for name in names if (match := pattern.fullmatch(name))}
    words = sorted((word for word in found if word), key=_natural)
    if all(_is_number(word) for word in words):
        return None
    return {word: number for number, word in enumerate(words)}


def _natural(text: str) -> tuple[list[tuple[float, str]], str]:
    parts = []
    for part in re.findall(r"[0-9]+|[^0-9]+", text):
        digits = part.lstrip("0")
        # Without leading zeros, the longer number is the larger one; words come after numbers.
        parts.append((len(digits), digits) if part[0] in "0123456789" else (math.inf, part))
    return parts, text


def _has_surrogates(name: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in name)


def market1501_name(image: ImageName, *, box: int) -> str:
    """Such as `0002_c1s1_000451_03.jpg`; an unknown sequence is written as 1, a frame as 0.

    `box`, the last number, tells images of one frame apart.
    """
    identity = "-1" if image.identity == -1 else f"{image.identity:04d}"
    sequence = 1 if image.sequence < 0 else image.sequence
    frame = max(image.frame, 0)
    return f"{identity}_c{image.camera + 1}s{sequence}_{frame:06d}_{box:02d}.jpg"
