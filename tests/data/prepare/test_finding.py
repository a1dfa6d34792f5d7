import os
import socket
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from jaxreid.data.prepare.finding import (
    LISTS_LAYOUT,
    MARKET_LAYOUT,
    Layout,
    find_root,
    walk,
)
from jaxreid.errors import InputError


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


def _market(folder: Path) -> Path:
    for name in ("bounding_box_train", "query", "bounding_box_test"):
        (folder / name).mkdir(parents=True)
    return folder


def _find(given: Path, scratch: Path, layout: Layout = MARKET_LAYOUT) -> Path:
    return find_root(
        given, layout, expected="the thing", scratch=scratch, progress=lambda *step: None
    )


@pytest.mark.parametrize("above", [".", "data", "data/x", "data/x/y"])
def test_the_folder_or_one_up_to_three_levels_up(above: str, tmp_path: Path, scratch: Path) -> None:
    given = tmp_path / "given"
    root = _market(given / above)
    assert _find(given, scratch) == root


def test_case_does_not_count(tmp_path: Path, scratch: Path) -> None:
    for name in ("list_train.txt", "list_val.txt", "list_query.txt", "LIST_gallery.txt"):
        (tmp_path / name).touch()
    (tmp_path / "mask_train_V2").mkdir()
    (tmp_path / "mask_test_v2").mkdir()
    assert _find(tmp_path, scratch, LISTS_LAYOUT) == tmp_path


def test_a_layout_may_ask_for_the_folder_s_name(tmp_path: Path, scratch: Path) -> None:
    _market(tmp_path / "given" / "detected")
    labeled = _market(tmp_path / "given" / "labeled")
    given = tmp_path / "given"
    assert _find(given, scratch, MARKET_LAYOUT._replace(name="labeled")) == labeled
    with pytest.raises(InputError, match="holds 2 datasets"):
        _find(given, scratch)


def test_missing_folder_is_named_with_what_should_be_in_it(tmp_path: Path, scratch: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere does not exist; expected the thing"):
        _find(tmp_path / "nowhere", scratch)


def test_empty_folder(tmp_path: Path, scratch: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match=r"empty is empty; expected the thing"):
        _find(empty, scratch)


def test_other_contents_are_listed(tmp_path: Path, scratch: Path) -> None:
    given = tmp_path / "given"
    (given / "query").mkdir(parents=True)
    with pytest.raises(InputError, match=r"given has query; expected the thing"):
        _find(given, scratch)


def test_a_file_that_is_no_archive(tmp_path: Path, scratch: Path) -> None:
    (tmp_path / "a.txt").touch()
    with pytest.raises(InputError, match=r"a.txt is a file, not a folder or archive"):
        _find(tmp_path / "a.txt", scratch)


@pytest.mark.parametrize("by_name", [True, False])
def test_archives_are_unpacked_into_scratch(by_name: bool, tmp_path: Path, scratch: Path) -> None:
    given = tmp_path / "given"
    given.mkdir()
    with zipfile.ZipFile(given / "m.zip", "w") as file:
        for name in ("bounding_box_train", "query", "bounding_box_test"):
            file.writestr(f"Market/{name}/x.jpg", b"")
        file.writestr("__MACOSX/Market/query/._x.jpg", b"")
    assert _find(given / "m.zip" if by_name else given, scratch) == scratch / "Market"


def test_an_archive_of_something_else(tmp_path: Path, scratch: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m.zip", "w") as file:
        file.writestr("holiday/x.jpg", b"")
    with pytest.raises(InputError, match=r"m.zip, unpacked, has holiday; expected the thing"):
        _find(tmp_path / "m.zip", scratch)


def test_several_archives_are_not_guessed_among(tmp_path: Path, scratch: Path) -> None:
    given = tmp_path / "given"
    given.mkdir()
    (given / "a.zip").touch()
    (given / "b.tar").touch()
    with pytest.raises(InputError, match=r"2 archives \(a.zip, b.tar\); name one"):
        _find(given, scratch)


def test_a_link_to_the_dataset_is_no_second_one(tmp_path: Path, scratch: Path) -> None:
    market = _market(tmp_path / "given" / "market")
    (tmp_path / "given" / "latest").symlink_to(market)
    root = find_root(
        tmp_path / "given",
        MARKET_LAYOUT,
        expected="x",
        scratch=scratch,
        progress=lambda *step: None,
    )
    assert root.samefile(market)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("/dev/null", "/dev/null is a file, not a folder or archive; expected a folder"),
        ("x" * 300, r"cannot be a path \(File name too long\)"),
        ("gone", "gone does not exist"),
    ],
)
def test_what_is_no_folder_is_named(
    given: str, message: str, tmp_path: Path, scratch: Path
) -> None:
    with pytest.raises(InputError, match=message):
        find_root(
            tmp_path / given,
            MARKET_LAYOUT,
            expected="a folder",
            scratch=scratch,
            progress=lambda *step: None,
        )


def test_a_folder_that_nobody_may_read_is_named(
    tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> object:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(InputError, match=r"cannot be read \(Permission denied\); expected a"):
        find_root(
            tmp_path, MARKET_LAYOUT, expected="x", scratch=scratch, progress=lambda *step: None
        )


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


def test_a_walk_through_what_is_no_folder_is_refused(query: Path) -> None:
    with pytest.raises(InputError, match=r"0001_c1.jpg cannot be read \(Not a directory\)"):
        walk(query / "0001_c1.jpg", recursive=True)
    with pytest.raises(InputError, match=r"gone cannot be read \(No such file"):
        walk(query / "gone", recursive=True)
