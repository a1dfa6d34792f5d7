import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from tensorflow_datasets.core.utils import gcs_utils

from jaxreid.data.prepare import prepare_dataset
from jaxreid.data.prepare.builders import SyntheticReid
from jaxreid.data.source import open_split
from jaxreid.data.synthetic import CONFIGS, plan, render
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


def test_occluded_duke_is_named_as_duke(market_folder: Path, tmp_path: Path) -> None:
    _without_junk(market_folder)
    _rename(market_folder, lambda name: f"{name[:7]}_f{name[10:16]}.jpg")
    report = prepare_dataset(
        "occluded_duke", manual_dir=market_folder, data_dir=tmp_path / "out", subset=True
    )
    assert "withdrawn" in report.notice
    assert report.splits["query"].images == 12


def test_veri776_has_folders_and_names_of_its_own(market_folder: Path, tmp_path: Path) -> None:
    _without_junk(market_folder)
    _rename(market_folder, lambda name: f"{name[:4]}_c00{name[6]}_{name[10:16]:>08}_0.jpg")
    for old, new in {
        "bounding_box_train": "train",
        "query": "query",
        "bounding_box_test": "test",
    }.items():
        (market_folder / old).rename(market_folder / f"image_{new}")
    report = prepare_dataset(
        "veri776", manual_dir=market_folder, data_dir=tmp_path / "out", subset=True
    )
    assert [report.splits[name].images for name in ("query", "gallery")] == [12, 24]
    example = open_split("veri776", "query", data_dir=tmp_path / "out")[0]
    assert example["file_name"] == "0001_c001_00000037_0.jpg"
    assert (example["identity"], example["camera"]) == (1, 0)
    assert (example["sequence"], example["frame"]) == (-1, 37)


def test_veri776_asks_for_all_of_it(market_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected VeRi\.zip"):
        prepare_dataset("veri776", manual_dir=market_folder, data_dir=tmp_path / "out")


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


def _msmt17(root: Path, encoded: Callable[..., bytes], *, version: int) -> Path:
    """Three training and two test people, numbered from 0 both, on two cameras."""
    sides = {"train": "train", "test": "test"}
    if version == 2:
        sides = {"train": "mask_train_v2", "test": "mask_test_v2"}
    seed = 0
    for part, side, people, camera, shots in (
        ("train", "train", 3, 1, (0, 1)),
        ("val", "train", 3, 2, (2,)),
        ("query", "test", 2, 15, (0,)),
        ("gallery", "test", 2, 4, (1, 2)),
    ):
        lines = []
        for person in range(people):
            folder = root / sides[side] / f"{person:04d}"
            folder.mkdir(parents=True, exist_ok=True)
            for shot in shots:
                seed += 1
                name = f"{person:04d}_{shot:03d}_{camera:02d}_0303morning_{seed:04d}_0.jpg"
                (folder / name).write_bytes(encoded(seed))
                lines.append(f"{person:04d}/{name} {person}\n")
        (root / f"list_{part}.txt").write_text("".join(reversed(lines)))
    return root


@pytest.mark.parametrize("version", [1, 2])
def test_both_msmt17(version: int, tmp_path: Path, encoded: Callable[..., bytes]) -> None:
    _msmt17(tmp_path / "data" / f"MSMT17_V{version}", encoded, version=version)
    out = tmp_path / "out"
    report = prepare_dataset("msmt17", manual_dir=tmp_path / "data", data_dir=out, subset=True)
    assert report.splits["query"].images == 2
    assert report.splits["gallery"].images == 4
    train = open_split("msmt17", "train_all", data_dir=out)
    assert len(train) == 9
    # Lists count people from 0 on both sides; 0 means distractor elsewhere.
    assert set(train.identities) == {1, 2, 3}
    assert set(train.labels) == {0, 1, 2}
    query = open_split("msmt17", "query", data_dir=out)
    np.testing.assert_array_equal(query.identities, [1042, 1043])
    np.testing.assert_array_equal(query.cameras, [14, 14])
    assert query.file_names[0].startswith("0000/0000_000_15_0303morning_")


def test_the_tar_of_msmt17_does_as_well(tmp_path: Path, encoded: Callable[..., bytes]) -> None:
    root = _msmt17(tmp_path / "MSMT17_V1", encoded, version=1)
    archive = tmp_path / "MSMT17_V1.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
        file.add(root, root.name)
    for name, given in (("a", root), ("b", archive)):
        prepare_dataset("msmt17", manual_dir=given, data_dir=tmp_path / name, subset=True)
    a, b = (open_split("msmt17", "gallery", data_dir=tmp_path / name) for name in "ab")
    assert [a[i] for i in range(len(a))] == [b[i] for i in range(len(b))]


def test_counts_of_msmt17_are_checked(tmp_path: Path, encoded: Callable[..., bytes]) -> None:
    root = _msmt17(tmp_path / "MSMT17_V1", encoded, version=1)
    with pytest.raises(InputError, match="query identities: 2 instead of 3,060"):
        prepare_dataset("msmt17", manual_dir=root, data_dir=tmp_path / "out")


def test_tiny_synthetic_reid_is_what_its_plan_says(tmp_path: Path) -> None:
    steps: set[str] = set()
    report = prepare_dataset(
        "synthetic_reid/tiny",
        data_dir=tmp_path,
        workers=1,
        progress=lambda step, done, total: steps.add(step),
    )
    assert "drawing" in steps
    assert report.source == ""
    config = CONFIGS["tiny"]
    planned = {
        "train_all": [item for item in plan(config) if item.split == "train"],
        "query": [item for item in plan(config) if item.split == "query"],
        "gallery": [item for item in plan(config) if item.split == "gallery"],
    }
    for split, items in planned.items():
        source = open_split("synthetic_reid/tiny", split, data_dir=tmp_path)
        by_name = {item.file_name: item for item in items}
        assert sorted(source.file_names) == sorted(by_name)
        for i, name in enumerate(source.file_names):
            assert source.identities[i] == by_name[name].identity
            assert source.cameras[i] == by_name[name].camera
        first = by_name[source.file_names[0]]
        assert source[0]["image"] == render(config, first)
        assert source[0]["frame"] == first.frame
    assert report.unmatched_query_images == 0
    assert report.splits["validation_query"].identities == 1
    assert np.unique(
        open_split("synthetic_reid/tiny", "train", data_dir=tmp_path).labels
    ).tolist() == (list(range(config.train_identities - 1)))


def test_what_is_not_prepared_is_looked_for_on_this_machine_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setattr(gcs_utils, "gcs_dataset_info_files", pytest.fail)
    assert not SyntheticReid(data_dir=tmp_path / "out", config="tiny").info.splits
    assert not list(temporary.iterdir())
