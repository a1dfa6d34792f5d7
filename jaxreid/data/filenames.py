"""What a file name says: identity, camera, sequence and frame."""

import re
from typing import NamedTuple

from jaxreid.errors import InputError

__all__ = [
    "CUHK03_NP",
    "DUKEMTMC_REID",
    "MARKET1501",
    "MSMT17",
    "REID_FOLDER",
    "ImageName",
    "compile_pattern",
    "market1501_name",
    "parse_name",
]

_IMAGE = r"\.(?i:jpe?g|png)"

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

REID_FOLDER = re.compile(
    r"(?:.*/)?(?P<identity>-1|\d+)_c(?P<camera>\d+)(?:s(?P<sequence>\d+))?"
    r"(?:_f?(?P<frame>\d+))?(?:_\w+)?" + _IMAGE
)
"""Market's naming, of which all after the camera may be missing; subfolders are allowed."""

_GROUPS = ("identity", "camera", "sequence", "frame")
# int64 is what the records hold.
_LARGEST = 2**63 - 1


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
    r"""Compiles a user's regular expression for file names.

    Args:
        pattern: matched against the whole path below the split's folder; must have the named
            groups `identity` and `camera`, may have `sequence` and `frame`, all of them integers;
            for instance `person(?P<identity>\d+)/cam(?P<camera>\d+)_.*\.jpg`.

    Returns:
        The compiled expression.

    Raises:
        InputError: it does not compile, or a group is missing or unknown.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise InputError(f"--pattern {pattern!r} is no regular expression: {error}") from None
    groups = set(compiled.groupindex)
    if not {"identity", "camera"} <= groups or groups - set(_GROUPS):
        found = ", ".join(sorted(groups)) or "none"
        raise InputError(
            f"--pattern {pattern!r} has the named groups: {found}; expected (?P<identity>...) and "
            "(?P<camera>...), and at most (?P<sequence>...) and (?P<frame>...) beside them"
        )
    return compiled


def parse_name(name: str, pattern: re.Pattern[str], *, first_camera: int = 1) -> ImageName | None:
    """Reads a file name.

    Args:
        name: path below the split's folder, with `/` between its parts.
        pattern: one of this module's grammars, or `compile_pattern`'s.
        first_camera: the number of the first camera in names; it becomes camera 0.

    Returns:
        The numbers, or None if the name does not match the whole pattern or is no valid Unicode,
        a number is no integer or too large for 64 bits, the identity is below -1, or the camera
        is below the first one.
    """
    match = pattern.fullmatch(name)
    # Bytes of a name that the file system's encoding lacks come as lone surrogates.
    if match is None or (not name.isascii() and _has_surrogates(name)):
        return None
    values = {"identity": -1, "camera": -1, "sequence": -1, "frame": -1}
    for group, text in match.groupdict().items():
        if text is None:
            continue
        if re.fullmatch(r"-?[0-9]+", text) is None or abs(int(text)) > _LARGEST:
            return None
        values[group] = int(text)
    if match["identity"] is None or match["camera"] is None:
        return None
    values["camera"] -= first_camera
    if values["identity"] < -1 or values["camera"] < 0:
        return None
    return ImageName(**values)


def _has_surrogates(name: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in name)


def market1501_name(image: ImageName, *, box: int) -> str:
    """Writes numbers as Market-1501 names its files.

    Args:
        image: the numbers; sequence -1 is written as 1 and frame -1 as 0.
        box: the last number of the name, which tells images of one frame apart.

    Returns:
        A name such as `0002_c1s1_000451_03.jpg`.
    """
    identity = "-1" if image.identity == -1 else f"{image.identity:04d}"
    sequence = 1 if image.sequence < 0 else image.sequence
    frame = max(image.frame, 0)
    return f"{identity}_c{image.camera + 1}s{sequence}_{frame:06d}_{box:02d}.jpg"
