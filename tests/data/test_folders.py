import os
import re
from pathlib import Path

import pytest

from jaxreid.data.filenames import MARKET1501, MSMT17, REID_FOLDER
from jaxreid.data.folders import scan_folders, scan_lists
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
