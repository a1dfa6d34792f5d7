import contextlib
import gzip
import io
import stat
import tarfile
import zipfile
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxreid.data.prepare import archives
from jaxreid.data.prepare.archives import extract_archive, is_archive
from jaxreid.errors import InputError


def _quiet(task: str, done: int, total: int) -> None:
    pass


def _zip(path: Path, members: dict[str, bytes], links: dict[str, str] | None = None) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
        for name, target in (links or {}).items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
            file.writestr(info, target)
    return path


def _tar(path: Path, members: dict[str, bytes], links: dict[str, str] | None = None) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as file:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            file.addfile(info)
    return path


def _make(kind: str, folder: Path, *args: dict) -> Path:
    folder.mkdir(exist_ok=True)
    return _zip(folder / "a.zip", *args) if kind == "zip" else _tar(folder / f"a.{kind}", *args)


def _files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def into(tmp_path: Path) -> Path:
    folder = tmp_path / "deep" / "into"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_files_come_out_as_they_went_in(kind: str, tmp_path: Path, into: Path) -> None:
    members = {"Market/query/a.jpg": b"a" * 100_000, "Market/./readme.txt": b"", "b": b"b"}
    seen: list[tuple[str, int, int]] = []
    extract_archive(
        _make(kind, tmp_path / "in", members), into, progress=lambda *step: seen.append(step)
    )
    assert _files(into) == {
        "Market/query/a.jpg": b"a" * 100_000,
        "Market/readme.txt": b"",
        "b": b"b",
    }
    assert seen == [("unpacking", i, 3) for i in (1, 2, 3)]


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize(
    "name", ["../evil", "/evil", "a/../../evil", "..", "..\\evil", "C:\\evil", "C:/evil"]
)
def test_members_outside_are_refused_and_nothing_is_written(
    kind: str, name: str, tmp_path: Path, into: Path
) -> None:
    archive = _make(kind, tmp_path / "in", {"good": b"1", name: b"2"})
    before = set(tmp_path.rglob("*"))
    with pytest.raises(InputError, match="outside the folder"):
        extract_archive(archive, into, progress=_quiet)
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize("target", ["/etc/passwd", "../../secret", "sub/../../secret"])
def test_links_that_leave_are_refused(kind: str, target: str, tmp_path: Path, into: Path) -> None:
    archive = _make(kind, tmp_path / "in", {"good": b"1"}, {"link": target})
    with pytest.raises(InputError, match="leaves the folder"):
        extract_archive(archive, into, progress=_quiet)
    assert not _files(into)


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_links_inside_become_copies(kind: str, tmp_path: Path, into: Path) -> None:
    links = {"d/one": "../real", "d/two": "one", "folder": "d"}
    extract_archive(_make(kind, tmp_path / "in", {"real": b"x"}, links), into, progress=_quiet)
    assert _files(into) == {"real": b"x", "d/one": b"x", "d/two": b"x"}
    assert not any(path.is_symlink() for path in into.rglob("*"))


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize(
    ("links", "message"),
    [({"a": "b", "b": "a"}, "leads to itself"), ({"a": "gone"}, "leads to no file")],
)
def test_links_to_nothing_are_refused(
    kind: str, links: dict[str, str], message: str, tmp_path: Path, into: Path
) -> None:
    archive = _make(kind, tmp_path / "in", {"real": b"x"}, links)
    with pytest.raises(InputError, match=message):
        extract_archive(archive, into, progress=_quiet)


def test_a_link_cannot_redirect_a_later_member(tmp_path: Path, into: Path) -> None:
    outside = tmp_path / "deep" / "outside"
    outside.mkdir()
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as file:
        link = tarfile.TarInfo("x")
        link.type, link.linkname = tarfile.SYMTYPE, "y"
        file.addfile(link)
        file.addfile(tarfile.TarInfo("x/evil"), io.BytesIO())
    with pytest.raises(InputError):
        extract_archive(path, into, progress=_quiet)
    assert not list(outside.iterdir())


def test_hard_links_count_from_the_root(tmp_path: Path, into: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as file:
        info = tarfile.TarInfo("d/real")
        info.size = 1
        file.addfile(info, io.BytesIO(b"x"))
        link = tarfile.TarInfo("d/again")
        link.type, link.linkname = tarfile.LNKTYPE, "d/real"
        file.addfile(link)
    extract_archive(path, into, progress=_quiet)
    assert _files(into) == {"d/real": b"x", "d/again": b"x"}


def test_devices_are_refused(tmp_path: Path, into: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as file:
        fifo = tarfile.TarInfo("pipe")
        fifo.type = tarfile.FIFOTYPE
        file.addfile(fifo)
    with pytest.raises(InputError, match="device or pipe"):
        extract_archive(path, into, progress=_quiet)


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
@pytest.mark.parametrize("keep", [0, 0.31, 0.71])
def test_truncated_archives_are_named(kind: str, keep: float, tmp_path: Path, into: Path) -> None:
    content = {f"{i}.jpg": bytes(range(256)) * 40 for i in range(5)}
    archive = _make(kind, tmp_path / "in", content)
    archive.write_bytes(archive.read_bytes()[: int(keep * archive.stat().st_size)])
    with pytest.raises(InputError, match=r"a\.(zip|tar).* cannot be read as an archive"):
        extract_archive(archive, into, progress=_quiet)


def test_a_flipped_byte_in_a_zip_is_noticed(tmp_path: Path, into: Path) -> None:
    archive = _zip(tmp_path / "a.zip", {"x.jpg": b"\0" * 1000})
    data = bytearray(archive.read_bytes())
    data[500] ^= 1
    archive.write_bytes(data)
    with pytest.raises(InputError, match="cannot be read"):
        extract_archive(archive, into, progress=_quiet)


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
@pytest.mark.parametrize("damage", ["flipped", "zeroed", "cut"])
def test_members_behind_a_damaged_header_are_not_lost_in_silence(
    suffix: str, damage: str, tmp_path: Path, into: Path
) -> None:
    whole = _tar(tmp_path / "a.tar", {f"{i}.jpg": b"x" * 512 for i in range(6)}).read_bytes()
    # Blocks of 512 bytes: a header and a content for each member.
    at = 2 * 2 * 512
    spoilt = {
        "flipped": whole[:at] + b"?" + whole[at + 1 :],
        "zeroed": whole[: at + 100] + bytes(100) + whole[at + 200 :],
        "cut": whole[: at + 300],
    }[damage]
    path = tmp_path / f"b{suffix}"
    path.write_bytes(gzip.compress(spoilt) if suffix == ".tar.gz" else spoilt)
    with pytest.raises(InputError, match="a member's header is damaged"):
        extract_archive(path, into, progress=_quiet)


def test_encrypted_zip_is_explained(tmp_path: Path, into: Path) -> None:
    archive = _zip(tmp_path / "a.zip", {"x": b"1"})
    data = bytearray(archive.read_bytes())
    central = data.rindex(b"PK\x01\x02")
    data[central + 8] |= 1  # the flag of the central directory
    archive.write_bytes(data)
    with pytest.raises(InputError, match="encrypted"):
        extract_archive(archive, into, progress=_quiet)


def test_an_archive_larger_than_the_disk_is_refused(
    tmp_path: Path, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", ["total", "used", "free"])(10, 9, 1)
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(InputError, match="GB free"):
        extract_archive(_zip(tmp_path / "a.zip", {"x": b"12"}), into, progress=_quiet)
    assert not _files(into)


@given(st.binary(max_size=200), st.sampled_from(["zip", "tar", "tar.gz"]))
def test_any_bytes_are_an_input_error_or_empty(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, kind: str
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    archive = folder / f"a.{kind}"
    archive.write_bytes(data)
    (folder / "into").mkdir()
    with contextlib.suppress(InputError):
        extract_archive(archive, folder / "into", progress=_quiet)
    assert not _files(folder / "into")


def test_archives_are_told_by_their_name(tmp_path: Path) -> None:
    for name, expected in [("A.ZIP", True), ("a.tar.gz", True), ("a.jpg", False)]:
        (tmp_path / name).touch()
        assert is_archive(tmp_path / name) is expected
    assert not is_archive(tmp_path / "missing.zip")


def test_a_member_that_claims_too_much_is_refused(
    tmp_path: Path, into: Path, kind: Callable[[str, str], None]
) -> None:
    """10^15 bytes: beyond what the file has, or as holes (GNU's sparse files)."""
    path = tmp_path / "a.tar"
    for sparse in (False, True):
        info = tarfile.TarInfo("0001_c1s1_000001_00.jpg")
        if sparse:
            info.pax_headers = {
                "GNU.sparse.size": str(10**15),
                "GNU.sparse.map": "0,0",
                "GNU.sparse.numblocks": "1",
                "GNU.sparse.name": info.name,
            }
        else:
            info.size = 10**15
        # The header alone: tarfile itself adds no member without its content.
        path.write_bytes(info.tobuf(format=tarfile.PAX_FORMAT) + bytes(2 * tarfile.BLOCKSIZE))
        expected = "claims to hold 1,000,000,000,000,000 " if sparse else "claims to end beyond"
        with pytest.raises(InputError, match=expected) as error:
            extract_archive(path, into, progress=_quiet)
        assert not _files(into)
    kind("a tar member of 10^15 bytes", f"exit 2: {error.value}".replace(str(path), "a.tar"))


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_a_bomb_is_refused_before_it_bursts(
    kind: str, tmp_path: Path, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "_HARMLESS", 1 << 20)
    path = tmp_path / f"a.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("x.jpg", bytes(3 << 20))
    else:
        _tar(path, {"x.jpg": bytes(3 << 20)})
    with pytest.raises(InputError, match=r"claims to hold 3,145,728 \('x.jpg' alone 3,145,728\)"):
        extract_archive(path, into, progress=_quiet)
    assert not _files(into)
    monkeypatch.setattr(archives, "_HARMLESS", 4 << 20)
    extract_archive(path, into, progress=_quiet)


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_name_that_no_file_system_takes_is_named(kind: str, tmp_path: Path, into: Path) -> None:
    archive = _make(kind, tmp_path / "in", {f"q/{'x' * 300}.jpg": b"1"})
    with pytest.raises(InputError, match=r"a name of 304 bytes, 'x{40}'\.\.\.; this file system"):
        extract_archive(archive, into, progress=_quiet)


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_path_that_no_file_system_takes_is_told(kind: str, tmp_path: Path, into: Path) -> None:
    archive = _make(kind, tmp_path / "in", {f"{'a/' * 3000}x.jpg": b"1"})
    with pytest.raises(InputError, match=r"whose path is too long for this file system: \d{4}"):
        extract_archive(archive, into, progress=_quiet)


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_full_disk_is_no_fault_of_the_archive(
    kind: str, tmp_path: Path, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = _make(kind, tmp_path / "in", {"x.jpg": b"1"})

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archives.shutil, "copyfileobj", full)
    with pytest.raises(OSError, match="No space left"):
        extract_archive(archive, into, progress=_quiet)


def test_an_archive_that_nobody_may_read_is_named(
    tmp_path: Path, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = _zip(tmp_path / "a.zip", {"x": b"1"})

    def refuse(*args: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(archives.zipfile, "ZipFile", refuse)
    with pytest.raises(InputError, match=r"a.zip cannot be read as an archive \(PermissionError"):
        extract_archive(archive, into, progress=_quiet)


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (8, 0x41, "encrypted"),  # flags of the central directory: strong encryption
        (10, 99, "cannot be read"),  # a method that Python does not have
    ],
)
def test_zips_of_other_kinds_are_explained(
    at: int, value: int, message: str, tmp_path: Path, into: Path
) -> None:
    archive = _zip(tmp_path / "a.zip", {"x": b"1"})
    data = bytearray(archive.read_bytes())
    data[data.rindex(b"PK\x01\x02") + at] = value
    archive.write_bytes(data)
    with pytest.raises(InputError, match=message):
        extract_archive(archive, into, progress=_quiet)


def test_a_part_of_a_zip_is_explained(tmp_path: Path, into: Path) -> None:
    archive = _zip(tmp_path / "a.zip", {"x": b"1"})
    data = bytearray(archive.read_bytes())
    end = data.rindex(b"PK\x05\x06")
    data[end + 4 : end + 8] = b"\1\0\1\0"  # this is part 2, and the directory starts there
    archive.write_bytes(b"PK\x07\x08" + data[4:])
    with pytest.raises(InputError, match="cannot be read as an archive"):
        extract_archive(archive, into, progress=_quiet)


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_no_damage_to_an_archive_raises_anything_else(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("damage")
    kind = data.draw(st.sampled_from(["zip", "tar", "tar.gz"]))
    archive = _make(kind, folder, {f"{i}.jpg": bytes(range(64)) for i in range(2)})
    content = bytearray(archive.read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    archive.write_bytes(content)
    (folder / "into").mkdir()
    with contextlib.suppress(InputError):
        extract_archive(archive, folder / "into", progress=_quiet)
