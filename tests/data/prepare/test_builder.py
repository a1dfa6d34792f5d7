"""The builders as TFDS sees them."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

import jaxreid.data.prepare.builders  # noqa: F401
from jaxreid.data import DATASETS
from jaxreid.data.source import open_split
from jaxreid.errors import InputError


@pytest.fixture
def builder(market_folder: Path, tmp_path: Path) -> tfds.core.DatasetBuilder:
    builder = tfds.builder("market1501", data_dir=tmp_path / "out", subset=True)
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(manual_dir=market_folder)
    )
    return builder


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_tfds_knows_the_names(name: str, tmp_path: Path) -> None:
    builder = tfds.builder(name, data_dir=tmp_path)
    assert builder.info.features.keys() == {
        "image",
        "identity",
        "label",
        "label_all",
        "camera",
        "sequence",
        "frame",
        "file_name",
    }
    assert DATASETS[name].title in builder.info.description
    assert DATASETS[name].notice in builder.info.description


def test_tfds_reads_what_jaxreid_wrote(builder: tfds.core.DatasetBuilder, tmp_path: Path) -> None:
    assert builder.is_prepared()
    for split in ("train", "train_all", "query", "gallery", "validation_query"):
        ours = open_split("market1501", split, data_dir=tmp_path / "out")
        theirs = builder.as_data_source(split, decoders={"image": tfds.decode.SkipDecoding()})
        assert len(ours) == len(theirs) > 0
        for i in range(len(ours)):
            example = dict(theirs[i])
            label_all = example.pop("label_all")
            if split == "train_all":
                example["label"] = label_all
            assert {**example, "file_name": example["file_name"].decode()} == ours[i]


def test_tfds_decodes_the_images(builder: tfds.core.DatasetBuilder) -> None:
    image = builder.as_data_source("query")[0]["image"]
    assert image.shape == (16, 8, 3)
    assert image.dtype == np.uint8


def test_a_prepared_dataset_opens_by_name_and_by_folder(
    builder: tfds.core.DatasetBuilder, tmp_path: Path
) -> None:
    again = tfds.builder("market1501", data_dir=tmp_path / "out")
    assert again.info.splits["gallery"].num_examples == 36
    assert len(tfds.builder_from_directory(builder.data_dir).as_data_source("query")) == 12
    assert len(tfds.data_source("market1501", split="query", data_dir=tmp_path / "out")) == 12
    assert len(pickle.loads(pickle.dumps(again)).as_data_source("query")) == 12


def test_the_folder_tfds_would_look_in_by_default(market_folder: Path, tmp_path: Path) -> None:
    builder = tfds.builder("market1501", data_dir=tmp_path / "out", subset=True)
    with pytest.raises(InputError, match=r"downloads/manual does not exist; expected Market-1501"):
        builder.download_and_prepare()
    manual = tmp_path / "out" / "downloads" / "manual"
    manual.mkdir(parents=True)
    market_folder.rename(manual / market_folder.name)
    builder.download_and_prepare()
    assert builder.info.splits["query"].num_examples == 12


def test_what_is_prepared_may_be_read_only(
    builder: tfds.core.DatasetBuilder, tmp_path: Path
) -> None:
    lock = tmp_path / "out" / "market1501" / ".prepare.lock"
    lock.unlink()
    builder.download_and_prepare()
    assert not lock.exists()


def test_tfds_own_overwriting_keeps_the_old_until_the_new_is_done(
    builder: tfds.core.DatasetBuilder, market_folder: Path, tmp_path: Path
) -> None:
    again = tfds.builder("market1501", data_dir=tmp_path / "out", subset=True)
    overwrite = tfds.download.DownloadConfig(
        manual_dir=tmp_path / "nowhere", download_mode=tfds.GenerateMode.REUSE_CACHE_IF_EXISTS
    )
    with pytest.raises(InputError, match="nowhere does not exist"):
        again.download_and_prepare(download_config=overwrite)
    assert len(open_split("market1501", "query", data_dir=tmp_path / "out")) == 12


def test_no_validation_split_when_nobody_is_seen_twice(market_folder: Path, tmp_path: Path) -> None:
    for camera in (2, 3):
        for path in (market_folder / "bounding_box_train").glob(f"*_c{camera}s*.jpg"):
            path.unlink()
    builder = tfds.builder("market1501", data_dir=tmp_path / "out", subset=True)
    config = tfds.download.DownloadConfig(manual_dir=market_folder)
    builder.download_and_prepare(download_config=config)
    assert set(builder.info.splits) == {"train", "query", "gallery"}
    assert len(builder.as_data_source("train_all")) == 12
    with pytest.raises(InputError, match=r"no split 'validation_query'; expected one of: train, "):
        open_split("market1501", "validation_query", data_dir=tmp_path / "out")


def test_records_are_split_over_shards(
    market_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jaxreid.data.prepare.builder._RECORDS_PER_SHARD", 7)
    builder = tfds.builder("market1501", data_dir=tmp_path / "out", subset=True)
    config = tfds.download.DownloadConfig(manual_dir=market_folder)
    builder.download_and_prepare(download_config=config)
    assert builder.info.splits["gallery"].num_shards == 6
    source = open_split("market1501", "gallery", data_dir=tmp_path / "out")
    for i in range(36):
        path = market_folder / "bounding_box_test" / source.file_names[i]
        assert source[i]["image"] == path.read_bytes()
    sorted((tmp_path / "out").rglob("*-gallery.array_record-00003-*"))[0].unlink()
    with pytest.raises(InputError, match="5 of 6 record files of split gallery"):
        open_split("market1501", "gallery", data_dir=tmp_path / "out")
