"""Unpacks zip and tar files that come from anywhere: nothing is written outside the folder.

CPython 3.11 has `tarfile.data_filter` from 3.11.4 on, and zipfile has nothing like it: both kinds
pass the same checks here.
"""

import errno
import os
import posixpath
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, NamedTuple, Self

from jaxreid.data.prepare.locking import LONGEST_NAME
from jaxreid.errors import InputError, is_of_the_disk

__all__ = ["Progress", "extract_archive", "is_archive"]

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many items are done, and how many there are."""

_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
_LONGEST_LINK = 4096
_ENCRYPTED, _STRONGLY = 0x1, 0x40
_SHOWN = 40
# Images hardly shrink; a hundred times is a bomb, if it is large enough to matter.
_LARGEST_RATIO, _HARMLESS = 100, 1 << 30


class _Member(NamedTuple):
    """A file or link inside an archive; `link` is its target inside the archive, or None."""

    name: str
    size: int
    link: str | None
    open: Callable[[], IO[bytes]]


class _Header(tarfile.TarInfo):
    """A member's header; tarfile takes a damaged one for the archive's end."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            # Nothing or zeros: that is the end.
            if not buf.strip(b"\0"):
                raise
            raise tarfile.ReadError(f"a member's header is damaged: {error}") from None


def _too_long(error: Exception) -> str:
    path = str(getattr(error, "filename", None) or "")
    name = max(path.split("/"), key=len)
    size = len(os.fsencode(name))
    if size <= LONGEST_NAME:
        return f"whose path is too long for this file system: {len(os.fsencode(path))} bytes"
    return (
        f"with a name of {size} bytes, {name[:_SHOWN]!r}...; this file system takes "
        f"{LONGEST_NAME} or fewer"
    )


def is_archive(path: Path) -> bool:
    """Whether a file is named like a zip or (compressed) tar file."""
    return path.is_file() and path.name.lower().endswith(_SUFFIXES)


def _inside(name: str, archive: Path) -> str:
    """Normalises a member's name; one that would leave the folder is an error."""
    path = posixpath.normpath(name.replace("\\", "/"))
    drive = len(path) > 1 and path[1] == ":"
    if path.startswith(("/", "../")) or path == ".." or drive or "\0" in path:
        raise InputError(
            f"{archive} has the member {name!r}, which lies outside the folder it would be "
            "extracted to; expected relative paths only. Nothing was extracted"
        )
    return path


def _link_target(name: str, target: str, archive: Path) -> str:
    joined = posixpath.join(posixpath.dirname(name), target.replace("\\", "/"))
    try:
        return _inside(joined, archive)
    except InputError:
        raise InputError(
            f"{archive} has the link {name!r} to {target!r}, which leaves the folder it would be "
            "extracted to. Nothing was extracted"
        ) from None


def _zip_members(archive: Path, file: zipfile.ZipFile) -> Iterator[_Member]:
    for info in file.infolist():
        if info.flag_bits & (_ENCRYPTED | _STRONGLY):
            raise InputError(f"{archive} is encrypted ({info.filename!r}); unpack it first")
        if info.is_dir():
            _inside(info.filename, archive)
            continue
        name = _inside(info.filename, archive)
        link = None
        if stat.S_ISLNK(info.external_attr >> 16):
            target = file.open(info).read(_LONGEST_LINK).decode("utf-8", "replace")
            link = _link_target(name, target, archive)
        yield _Member(name, info.file_size, link, lambda info=info: file.open(info))  # type: ignore[misc]


def _tar_members(archive: Path, file: tarfile.TarFile) -> Iterator[_Member]:
    def content(info: tarfile.TarInfo) -> IO[bytes]:
        stream = file.extractfile(info)
        assert stream is not None  # only called for regular files
        return stream

    for info in file:
        name = _inside(info.name, archive)
        link = None
        if info.isdir():
            continue
        if info.issym():
            link = _link_target(name, info.linkname, archive)
        elif info.islnk():
            # A hard link's target counts from the archive's root, a symbolic one's from the link.
            link = _link_target("", info.linkname, archive)
        elif not info.isfile():
            raise InputError(
                f"{archive} has the member {info.name!r}, a device or pipe; expected files, "
                "folders and links"
            )
        yield _Member(name, info.size, link, lambda info=info: content(info))  # type: ignore[misc]


def _resolve(member: _Member, members: dict[str, _Member], archive: Path) -> _Member | None:
    """The file a chain of links ends at; None for a link to a folder, which is left out."""
    seen = {member.name}
    while member.link is not None:
        if member.link not in members:
            if any(name.startswith(member.link + "/") for name in members):
                return None
            raise InputError(f"{archive}: the link {member.name!r} leads to no file in the archive")
        member = members[member.link]
        if member.name in seen:
            raise InputError(f"{archive}: the link {member.name!r} leads to itself")
        seen.add(member.name)
    return member


def _write_members(
    archive: Path, found: Iterator[_Member], into: Path, progress: Progress
) -> list[str]:
    """Writes the files, and names the links that are none."""
    left_out = []
    # All names are checked before the first byte is written.
    members = {member.name: member for member in found}
    if any(member.size < 0 for member in members.values()):
        raise ValueError("a member of negative size")
    needed = sum(member.size for member in members.values())
    own = archive.stat().st_size
    if needed > max(_HARMLESS, _LARGEST_RATIO * own):
        largest = max(members.values(), key=lambda member: member.size)
        raise InputError(
            f"{archive} has {own:,} bytes and claims to hold {needed:,} ({largest.name!r} alone "
            f"{largest.size:,}); expected images, which hardly shrink: it is damaged or a trap. "
            "Nothing was extracted"
        )
    free = shutil.disk_usage(into).free
    if needed > free:
        raise InputError(
            f"{archive} needs {needed / 1e9:.1f} GB unpacked, and {into} has {free / 1e9:.1f} GB "
            "free; expected room for both the images and the prepared dataset"
        )
    for done, member in enumerate(members.values(), start=1):
        source = _resolve(member, members, archive)
        if source is not None:
            # Links become copies of what they lead to: no link is ever created, so none can be
            # followed out of the folder.
            path = into / member.name
            path.parent.mkdir(parents=True, exist_ok=True)
            with source.open() as reader, path.open("xb") as writer:
                shutil.copyfileobj(reader, writer, 1 << 20)
        else:
            left_out.append(member.name)
        progress("unpacking", done, len(members))
    return left_out


def extract_archive(archive: Path, into: Path, *, progress: Progress) -> list[str]:
    """Extracts a zip or tar file, and trusts nothing in it; names the links that are left out.

    Members with absolute paths or `..`, links that leave the folder, devices and encrypted members
    are refused before anything is written. Links to files become copies; links to folders are left
    out. `into` is an empty folder. What cannot be read, is not safe, or does not fit on the disk is
    an InputError.
    """
    try:
        with ExitStack() as stack:
            if archive.name.lower().endswith(".zip"):
                zipped = stack.enter_context(zipfile.ZipFile(archive))
                found = _zip_members(archive, zipped)
            else:
                tarred = stack.enter_context(tarfile.open(archive, tarinfo=_Header))
                found = _tar_members(archive, tarred)
            return _write_members(archive, found, into, progress)
    except InputError:
        raise
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise InputError(f"{archive} holds both a file and a folder {error.filename!r}") from None
    # zipfile, tarfile and the decompressors raise many kinds on damaged bytes: their own, and
    # EOFError, NotImplementedError, struct.error, ValueError, OverflowError, RuntimeError...
    except Exception as error:
        number = error.errno if isinstance(error, OSError) else None
        if number == errno.ENAMETOOLONG:
            raise InputError(f"{archive} has a member {_too_long(error)}") from None
        if isinstance(error, OSError) and (is_of_the_disk(error) or number == errno.EROFS):
            raise  # the archive may be fine
        reason = f"{type(error).__name__}: {error}"
        if number == errno.EINVAL:  # tarfile went there
            reason = "a member claims to end beyond every file's end"
        raise InputError(
            f"{archive} cannot be read as an archive ({reason}); expected a complete zip or tar "
            "file: download it again"
        ) from None
