from collections.abc import Callable
from pathlib import Path

import pytest
import tensorflow_datasets as tfds

from jaxreid.data.prepare import prepare_dataset
from jaxreid.data.source import open_split
from jaxreid.errors import InputError


def _rename(root: Path, new_name: Callable[[str], str]) -> None:
    for path in sorted(root.rglob("*.jpg")):
        target = path.parent / new_name(path.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)


def _without_junk(root: Path) -> Path:
    for path in [*root.rglob("-1_*.jpg"), *root.rglob("0000_*.jpg")]:
        path.unlink()
    return root


def test_dukemtmc_reid(market_folder: Path, tmp_path: Path) -> None:
    _without_junk(market_folder)
    _rename(market_folder, lambda name: f"{name[:7]}_f{name[10:16]}.jpg")
    report = prepare_dataset(
        "dukemtmc_reid", manual_dir=market_folder, data_dir=tmp_path / "out", subset=True
    )
    assert "withdrawn" in report.notice
    example = open_split("dukemtmc_reid", "query", data_dir=tmp_path / "out")[0]
    assert example["file_name"] == "0001_c1_f000037.jpg"
    assert (example["identity"], example["camera"]) == (1, 0)
    assert (example["sequence"], example["frame"]) == (-1, 37)


@pytest.mark.parametrize("config", ["detected", "labeled"])
def test_cuhk03_np_has_two_configs_in_one_folder(
    config: str, market_folder: Path, tmp_path: Path, encoded: Callable[..., bytes]
) -> None:
    _without_junk(market_folder)
    _rename(market_folder, lambda name: f"{name[:7]}_{int(name[10:16])}.png")
    for path in market_folder.rglob("*_c3_*.png"):
        path.unlink()
    for path in market_folder.rglob("*.png"):
        path.write_bytes(encoded(0, format="PNG"))
    root = tmp_path / "cuhk03-np"
    root.mkdir()
    market_folder.rename(root / config)
    out = tmp_path / "out"
    name = f"cuhk03_np/{config}"
    report = prepare_dataset(name, manual_dir=root, data_dir=out, subset=True)
    assert report.name == name
    assert report.splits["query"].images == 8
    example = open_split(name, "query", data_dir=out)[0]
    assert example == open_split("cuhk03_np", "query", data_dir=out, config=config)[0]
    assert example["image"] == encoded(0, format="PNG")
    assert example["file_name"] == "0001_c1_37.png"
    assert (example["sequence"], example["frame"]) == (-1, -1)
    other = "labeled" if config == "detected" else "detected"
    with pytest.raises(InputError, match=r"expected cuhk03-np\.zip"):
        prepare_dataset(f"cuhk03_np/{other}", manual_dir=root, data_dir=out, subset=True)


def test_cuhk03_np_has_no_third_camera(market_folder: Path, tmp_path: Path) -> None:
    _without_junk(market_folder)
    _rename(market_folder, lambda name: f"{name[:7]}_{int(name[10:16])}.jpg")
    folder = market_folder.rename(tmp_path / "labeled")
    with pytest.raises(InputError, match="cameras: 3 instead of 2"):
        prepare_dataset("cuhk03_np/labeled", manual_dir=folder, data_dir=tmp_path, subset=True)


def test_own_images_in_market_s_naming(market_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for name in ("reid_folder/shop", "reid_folder"):
        report = prepare_dataset(name, manual_dir=market_folder, data_dir=out)
        assert report.splits["gallery"].junk == 6
        assert len(open_split(name, "query", data_dir=out)) == 12
    assert report.name == "reid_folder/default"
    by_tfds = tfds.data_source("reid_folder/shop", split="query", data_dir=out, download=False)
    assert len(by_tfds) == 12


def test_own_images_under_other_names(market_folder: Path, tmp_path: Path) -> None:
    _without_junk(market_folder)
    _rename(market_folder, lambda name: f"p{name[:4]}/cam{int(name[6]) - 1}-{name[10:16]}.jpg")
    options = {
        "pattern": r"p(?P<identity>\d+)/cam(?P<camera>\d)-(?P<frame>\d+)\.jpg",
        "first_camera": 0,
        "data_dir": tmp_path / "out",
        "manual_dir": market_folder,
    }
    prepare_dataset("reid_folder/shop", **options)
    example = open_split("reid_folder/shop", "query", data_dir=tmp_path / "out")[0]
    assert example["file_name"] == "p0001/cam0-000037.jpg"
    assert (example["identity"], example["camera"], example["frame"]) == (1, 0, 37)
    with pytest.raises(InputError, match="first_camera was 0 and is 1"):
        prepare_dataset("reid_folder/shop", **{**options, "first_camera": 1})


def test_a_pattern_without_groups_is_refused_before_anything(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has the named groups: none"):
        prepare_dataset("reid_folder", manual_dir=tmp_path, data_dir=tmp_path, pattern=r"\d+")
