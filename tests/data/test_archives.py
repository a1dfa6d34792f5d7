import contextlib
import io
import stat
import tarfile
import zipfile
from collections import namedtuple
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxreid.data import archives
from jaxreid.data.archives import extract_archive, is_archive
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
