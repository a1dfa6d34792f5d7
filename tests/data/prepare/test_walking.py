import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from jaxreid.data.prepare.walking import LeftOut, add_left_out, shown, walk
from jaxreid.errors import InputError


@pytest.fixture
def query(tmp_path: Path) -> Path:
    folder = tmp_path / "set" / "query"
    folder.mkdir(parents=True)
    (folder / "0001_c1.jpg").touch()
    return folder


def _counts(folder: Path, *, recursive: bool = True) -> dict[str, tuple[int, str]]:
    left = walk(folder, recursive=recursive).left_out
    return {kind: (entries.count, entries.example) for kind, entries in left.items()}


def test_linked_and_nested_folders_are_read(
    query: Path, tmp_path: Path, kind: Callable[[str, str], None]
) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "deeper").mkdir(parents=True)
    (elsewhere / "0002_c1.jpg").touch()
    (elsewhere / "deeper" / "0003_c1.png").touch()
    (query / "sub").mkdir()
    (query / "sub" / "0004_c1.JPG").touch()
    (query / "linked").symlink_to(elsewhere)
    (query / "0005_c1.jpg").symlink_to(elsewhere / "0002_c1.jpg")
    found = walk(query, recursive=True)
    assert found.names == [
        "0001_c1.jpg",
        "0005_c1.jpg",
        "linked/0002_c1.jpg",
        "linked/deeper/0003_c1.png",
        "sub/0004_c1.JPG",
    ]
    assert found.left_out == {}
    flat = walk(query, recursive=False)
    assert flat.names == ["0001_c1.jpg", "0005_c1.jpg"]
    left = flat.left_out["images in subfolders, which this layout does not have"]
    assert (left.count, left.example) == (3, "query/sub/0004_c1.JPG")
    kind("a linked or nested folder inside a split", "read, or counted in the summary")


def test_no_folder_is_read_twice_and_no_loop_is_entered(query: Path) -> None:
    (query / "b").mkdir()
    (query / "b" / "0002_c1.jpg").touch()
    (query / "a").symlink_to("b")  # read under its own name, which comes later
    (query / "c").symlink_to("b")
    (query / "b" / "loop").symlink_to("..")
    (query / "b" / "up").symlink_to(query.parent)
    found = walk(query, recursive=True)
    assert found.names == ["0001_c1.jpg", "b/0002_c1.jpg"]
    assert _counts(query) == {
        "links to folders that are read already, or lie above": (4, "query/a")
    }


def test_the_folder_itself_may_be_a_link(query: Path, tmp_path: Path) -> None:
    link = tmp_path / "bounding_box_test"
    link.symlink_to(query)
    (query / "loop").symlink_to(link)
    assert walk(link, recursive=True).names == ["0001_c1.jpg"]


def test_what_is_left_out_is_counted_by_kind(
    query: Path, kind: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("Thumbs.db", "notes.txt", ".0001_c1.jpg", "a.gif", "b.tif", "c.TIF", "d.heic"):
        (query / name).touch()
    (query / ".git").mkdir()
    (query / ".git" / "0001_c1.jpg").touch()
    (query / "__MACOSX").mkdir()
    (query / "gone").symlink_to("nowhere")
    (query / "self").symlink_to("self")
    (query / "0002_c1.jpg").mkdir()
    os.mkfifo(query / "0003_c1.jpg")
    monkeypatch.chdir(query)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("0004_c1.png")
        assert walk(query, recursive=True).names == ["0001_c1.jpg"]
        assert _counts(query) == {
            ".gif images, a format that is not read": (1, "query/a.gif"),
            ".heic images, a format that is not read": (1, "query/d.heic"),
            ".tif images, a format that is not read": (2, "query/b.tif"),
            "files that are no images": (2, "query/Thumbs.db"),
            "hidden files": (1, "query/.0001_c1.jpg"),
            "hidden folders": (2, "query/.git"),
            "links that lead nowhere": (2, "query/gone"),
            "pipes, sockets and devices": (2, "query/0003_c1.jpg"),
        }
    kind("image formats that are not read", "counted by kind, named in the summary")


def test_an_image_s_link_to_nowhere_is_no_less_than_an_image(query: Path) -> None:
    (query / "0002_c1.jpg").symlink_to("nowhere")
    assert walk(query, recursive=False).names == ["0001_c1.jpg", "0002_c1.jpg"]


def test_what_is_no_folder_is_named(query: Path) -> None:
    with pytest.raises(InputError, match=r"0001_c1.jpg cannot be read \(Not a directory\)"):
        walk(query / "0001_c1.jpg", recursive=True)
    with pytest.raises(InputError, match=r"gone cannot be read \(No such file"):
        walk(query / "gone", recursive=True)


def test_counts_add_up_and_the_first_example_stays() -> None:
    total = {"x": LeftOut(1, "a")}
    add_left_out(total, {"x": LeftOut(2, "b"), "y": LeftOut(3, "c")})
    assert total == {"x": LeftOut(3, "a"), "y": LeftOut(3, "c")}


def test_any_name_can_be_shown() -> None:
    name = "é\x1b[31m\n" + os.fsdecode(b"\xff")
    assert shown(name) == r"é\x1b[31m\n\udcff"
    shown(name).encode()
