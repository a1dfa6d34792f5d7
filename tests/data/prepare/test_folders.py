import os
import re
from pathlib import Path

import pytest

from jaxreid.data.prepare.filenames import MARKET1501, MSMT17, REID_FOLDER, compile_pattern
from jaxreid.data.prepare.folders import scan_folders, scan_lists
from jaxreid.data.prepare.report import LeftOut
from jaxreid.errors import InputError


def test_images_come_sorted_and_other_files_are_counted(market_folder: Path) -> None:
    (market_folder / "query" / "._0001_c1s2_000001_00.jpg").write_bytes(b"macOS")
    found = scan_folders(market_folder, MARKET1501)
    assert [len(part) for part in (found.train, found.query, found.gallery)] == [36, 12, 36]
    assert found.ignored == 4
    names = [file.file_name for file in found.gallery]
    assert names == sorted(names)
    assert {file.name.identity for file in found.gallery} == {-1, 0, 1, 4, 5, 6}
    assert all(file.path.is_file() for file in found.train)


def test_names_that_do_not_parse_are_counted_and_ten_are_listed(market_folder: Path) -> None:
    for i in range(12):
        (market_folder / "query" / f"holiday{i:02d}.jpg").touch()
    with pytest.raises(InputError) as error:
        scan_folders(market_folder, MARKET1501)
    message = str(error.value)
    assert message.startswith(f"12 file names in {market_folder / 'query'} cannot be read: ")
    assert re.findall(r"'holiday(\d+).jpg'", message) == [f"{i:02d}" for i in range(10)]
    assert ", ..." in message


@pytest.mark.parametrize("folder", ["bounding_box_train", "query", "bounding_box_test"])
def test_a_folder_without_images_is_named(market_folder: Path, folder: str) -> None:
    for path in (market_folder / folder).glob("*.jpg"):
        path.unlink()
    with pytest.raises(InputError, match=rf"{folder} has no \.jpg, .*\.bmp or \.webp file"):
        scan_folders(market_folder, MARKET1501)


def test_subfolders_only_when_asked_for(market_folder: Path) -> None:
    (market_folder / "query" / "more").mkdir()
    (market_folder / "query" / "more" / "0001_c3.png").touch()
    assert len(scan_folders(market_folder, MARKET1501).query) == 12
    found = scan_folders(market_folder, REID_FOLDER, recursive=True).query
    assert len(found) == 13
    assert found[-1].file_name == "more/0001_c3.png"


def test_an_unreadable_subfolder_is_no_empty_one(
    market_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (market_folder / "query" / "more").mkdir()
    scandir = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("more"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    # Not with chmod: root, as in many containers, may read everything.
    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(InputError, match=r"more cannot be read \(Permission denied\)"):
        scan_folders(market_folder, REID_FOLDER, recursive=True)


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    """MSMT17 V1's layout with one image per list."""
    for part, side in (
        ("train", "train"),
        ("val", "train"),
        ("query", "test"),
        ("gallery", "test"),
    ):
        camera = {"train": 1, "val": 2, "query": 15, "gallery": 3}[part]
        name = f"0000/0000_000_{camera:02d}_0303morning_0008_0.jpg"
        (tmp_path / f"list_{part}.txt").write_text(f"{name} 0\n\n")
        (tmp_path / side / "0000").mkdir(parents=True, exist_ok=True)
        (tmp_path / side / name).touch()
    return tmp_path


def _scan(root: Path):
    return scan_lists(
        root, MSMT17, renumber=lambda side, number: number + (100 if side == "train" else 200)
    )


def test_lists_say_who_is_where(lists: Path) -> None:
    found = _scan(lists)
    assert [(f.name.identity, f.name.camera) for f in found.train] == [(100, 0), (100, 1)]
    assert [(f.name.identity, f.name.camera) for f in found.query] == [(200, 14)]
    assert [(f.name.identity, f.name.camera) for f in found.gallery] == [(200, 2)]


def test_second_version_has_other_folders(lists: Path) -> None:
    (lists / "train").rename(lists / "mask_train_v2")
    (lists / "test").rename(lists / "mask_test_v2")
    assert all(file.path.is_file() for file in _scan(lists).gallery)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0000/x.jpg", r"list_query.txt, line 1: .*; expected an image's path and its identity"),
        ("0000/x.jpg zero", "line 1"),
        ("../x.jpg 0", "leaves the image folder"),
        ("/etc/x.jpg 0", "leaves the image folder"),
        ("\n\n", "lists no images"),
        ("0000/holiday.jpg 0", "1 file name .* cannot be read: '0000/holiday.jpg'"),
        ("0000/0000_000_09_noon_1_0.jpg 0", "1 images listed in .* are not in"),
    ],
)
def test_bad_lines_are_named(lists: Path, text: str, message: str) -> None:
    (lists / "list_query.txt").write_text(text)
    with pytest.raises(InputError, match=message):
        _scan(lists)


def test_each_reason_is_given_with_its_names(market_folder: Path) -> None:
    query = market_folder / "query"
    for name in ("a.jpg", "b.jpg", "0001_c0.jpg", os.fsdecode(b"0001_c1_\xff.jpg")):
        (query / name).touch()
    with pytest.raises(InputError) as error:
        scan_folders(market_folder, REID_FOLDER, recursive=True)
    message = str(error.value)
    assert message.startswith(f"4 file names in {query} cannot be read: ")
    for part in (
        "'0001_c0.jpg': camera 0 lies below the first one, 1; reid_folder counts from it with "
        "--first-camera 0",
        r"'0001_c1_\udcff.jpg': not valid UTF-8",
        "'a.jpg', 'b.jpg': no match of ",
        "reid_folder reads other names with --pattern",
    ):
        assert part in message
    message.encode()


def test_cameras_in_words_have_the_same_number_in_all_folders(tmp_path: Path) -> None:
    pattern = compile_pattern(r"(?P<identity>\d+)_(?P<camera>[a-z]+)_\d+\.jpg")
    for folder, cameras in (
        ("bounding_box_train", ("hall", "exit")),
        ("query", ("entrance",)),
        ("bounding_box_test", ("hall",)),
    ):
        (tmp_path / folder).mkdir()
        for camera in cameras:
            (tmp_path / folder / f"0001_{camera}_1.jpg").touch()
    found = scan_folders(tmp_path, pattern)
    assert found.cameras == {"entrance": 0, "exit": 1, "hall": 2}
    assert [file.name.camera for file in found.train] == [1, 2]
    assert [file.name.camera for file in (*found.query, *found.gallery)] == [0, 2]
    with pytest.raises(InputError, match=r"--first-camera 0 .* are words: entrance, exit, hall"):
        scan_folders(tmp_path, pattern, first_camera=0)


def test_numbered_cameras_are_not_mapped(market_folder: Path) -> None:
    found = scan_folders(market_folder, MARKET1501)
    assert found.cameras is None
    assert {file.name.camera for file in found.train} == {0, 1, 2}


def test_a_folder_of_other_formats_says_so(market_folder: Path) -> None:
    for path in (market_folder / "query").glob("*.jpg"):
        path.rename(path.with_suffix(".tiff"))
    with pytest.raises(InputError, match=r"it has 12 \.tiff images, a format that is not read \(q"):
        scan_folders(market_folder, MARKET1501)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"0000/0000_000_09_\xff_1_0.jpg 0\n", r"'0000/0000_000_09_\\udcff_1_0.jpg': not valid UT"),
        (b"\xff\xfe0\x000\x00", "line 1"),
        (b"a.jpg \xd9\xa3\n", "line 1"),
        (b"a.jpg " + b"9" * 5000, "line 1: .*expected an image's path and its identity"),
        (b"\0/0000_000_09_noon_1_0.jpg 0", "1 images listed in .* are not in"),
        (b"0000/" + b"x" * 300 + b"/0000_000_09_noon_1_0.jpg 0", "1 images listed .* are not in"),
        (
            b"0000/0000_000_15_0303morning_0008_0.jpg 0\n0000/0000_000_15_0303morning_0008_0.jpg 1",
            "line 2: .* has identity 1, and 0 in a line before",
        ),
    ],
)
def test_lists_of_odd_bytes_are_named(lists: Path, text: bytes, message: str) -> None:
    (lists / "list_query.txt").write_bytes(text)
    with pytest.raises(InputError, match=message):
        _scan(lists)


def test_a_byte_order_mark_is_no_part_of_a_name(lists: Path) -> None:
    text = (lists / "list_query.txt").read_bytes()
    (lists / "list_query.txt").write_bytes(b"\xef\xbb\xbf" + text)
    assert len(_scan(lists).query) == 1


def test_an_image_of_two_people_in_two_lists_is_named(lists: Path) -> None:
    name = (lists / "list_train.txt").read_text().split()[0]
    with (lists / "list_val.txt").open("a") as file:
        file.write(f"{name} 7\n")
    with pytest.raises(InputError, match=r"has identity 7 in list_val.txt, and 0 in list_train"):
        _scan(lists)


def test_a_list_that_is_no_file_does_not_hang(lists: Path) -> None:
    (lists / "list_query.txt").unlink()
    os.mkfifo(lists / "list_query.txt")
    with pytest.raises(InputError, match=r"list_query.txt is not a file"):
        _scan(lists)


def test_images_that_no_list_names_are_counted(lists: Path) -> None:
    (lists / "test" / "0007").mkdir()
    for name in ("0007_000_09_noon_1_0.jpg", "0007_001_09_noon_1_0.jpg", "x.gif"):
        (lists / "test" / "0007" / name).touch()
    assert _scan(lists).left_out == {
        "images that no list names": LeftOut(2, "test/0007/0007_000_09_noon_1_0.jpg"),
        ".gif images, a format that is not read": LeftOut(1, "test/0007/x.gif"),
    }
