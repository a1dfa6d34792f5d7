import concurrent.futures
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from jaxreid.data.decode import decode
from jaxreid.data.loader import evaluation_batches
from jaxreid.data.prepare import prepare_dataset
from jaxreid.data.prepared import default_data_dir, prepared_folder
from jaxreid.data.source import (
    InMemorySplit,
    ReidSource,
    ReidSplit,
    available_splits,
    open_split,
)
from jaxreid.errors import InputError


@pytest.fixture
def out(market_folder: Path, tmp_path: Path) -> Path:
    prepare_dataset("market1501", manual_dir=market_folder, data_dir=tmp_path / "out", subset=True)
    return tmp_path / "out"


def test_columns_need_no_image(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(self: object, index: int) -> None:
        raise AssertionError("read an image")

    monkeypatch.setattr(ReidSplit, "__getitem__", forbidden)
    train = open_split("market1501", "train", data_dir=out)
    assert isinstance(train, ReidSource)
    for column in (train.identities, train.labels, train.cameras):
        assert column.shape == (30,)
        assert column.dtype == np.int64
    assert len(train) == len(train.file_names) == 30
    np.testing.assert_array_equal(np.unique(train.labels), np.arange(5))


def test_train_all_is_the_three_parts_of_training_with_labels_for_all(out: Path) -> None:
    whole = open_split("market1501", "train_all", data_dir=out)
    parts = [
        open_split("market1501", split, data_dir=out)
        for split in ("train", "validation_query", "validation_gallery")
    ]
    assert whole.file_names == sum((part.file_names for part in parts), ())
    np.testing.assert_array_equal(np.unique(whole.labels), np.arange(6))
    ranks = np.searchsorted(np.unique(whole.identities), whole.identities)
    np.testing.assert_array_equal(whole.labels, ranks)
    assert whole[35]["image"] == parts[2][2]["image"]
    assert whole[35]["label"] == whole.labels[35]


def test_workers_and_threads_read_the_same(out: Path) -> None:
    source = open_split("market1501", "gallery", data_dir=out)
    expected = [source[i] for i in range(len(source))]
    copy = pickle.loads(pickle.dumps(source))
    assert [copy[i] for i in range(len(copy))] == expected
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert list(pool.map(copy.__getitem__, range(len(copy)))) == expected


def test_the_loader_sees_what_lies_on_disk(out: Path) -> None:
    source = open_split("market1501", "gallery", data_dir=out)
    in_memory = InMemorySplit(
        [source[i]["image"] for i in range(len(source))],
        source.identities.tolist(),
        source.cameras.tolist(),
        labels=source.labels.tolist(),
    )
    disk, memory = (evaluation_batches(split, 8, size=(32, 16)) for split in (source, in_memory))
    for a, b in zip(disk, memory, strict=True):
        for ours, theirs in zip(a, b, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_checksums_are_those_of_the_bytes(out: Path) -> None:
    import zlib

    source = open_split("market1501", "query", data_dir=out)
    assert [zlib.crc32(source[i]["image"]) for i in range(12)] == source.checksums.tolist()


def test_indices_beyond_the_end_are_errors(out: Path) -> None:
    source = open_split("market1501", "query", data_dir=out)
    for index in (12, -13):
        with pytest.raises((IndexError, ValueError)):
            source[index]


def test_what_is_not_prepared_says_how_to(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run: jaxreid data prepare cuhk03_np/detected --data-dir"):
        open_split("cuhk03_np", "train", data_dir=tmp_path)
    with pytest.raises(InputError, match="is not prepared"):
        prepared_folder("nothing", data_dir=tmp_path)


def test_unknown_split_lists_the_known(out: Path) -> None:
    with pytest.raises(InputError, match="no split 'test'; expected one of: train, train_all, que"):
        open_split("market1501", "test", data_dir=out)
    assert available_splits("market1501", data_dir=out) == (
        "train",
        "train_all",
        "query",
        "gallery",
        "validation_query",
        "validation_gallery",
    )


def test_the_newest_version_counts(out: Path) -> None:
    folder = out / "market1501"
    assert prepared_folder("market1501", data_dir=out) == folder / "1.0.0"
    (folder / "9.0.0").mkdir()  # without an index it is no dataset
    assert prepared_folder("market1501", data_dir=out) == folder / "1.0.0"
    (folder / "1.0.0").rename(folder / "2.0.0")
    (folder / "10.0.0").mkdir()
    (folder / "10.0.0" / "reid_index.npz").touch()
    assert prepared_folder("market1501", data_dir=out) == folder / "10.0.0"


def test_damaged_index_is_named(out: Path) -> None:
    path = out / "market1501" / "1.0.0" / "reid_index.npz"
    whole = path.read_bytes()
    for damaged in (b"", b"nonsense", whole[:-40], whole[: len(whole) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"reid_index\.npz is damaged"):
            open_split("market1501", "train", data_dir=out)


def test_index_and_records_must_agree(out: Path) -> None:
    folder = out / "market1501" / "1.0.0"
    query, gallery = (
        folder / f"market1501-{split}.array_record-00000-of-00001" for split in ("query", "gallery")
    )
    gallery.replace(query)
    with pytest.raises(InputError, match="has 36 records of split query and 12 in its index"):
        open_split("market1501", "query", data_dir=out)


def test_the_default_folder_is_tfds_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFDS_DATA_DIR", "/somewhere")
    assert default_data_dir() == Path("/somewhere")
    monkeypatch.delenv("TFDS_DATA_DIR")
    assert default_data_dir() == Path.home() / "tensorflow_datasets"


def test_lists_make_a_source_too() -> None:
    source = InMemorySplit([b"a", b"b", b"c"], [7, 3, 7], [0, 1, 2])
    assert isinstance(source, ReidSource)
    assert source.labels.tolist() == [1, 0, 1]
    assert source[1] == {
        "image": b"b",
        "identity": 3,
        "label": 0,
        "camera": 1,
        "sequence": -1,
        "frame": -1,
        "file_name": "0000001.jpg",
    }
    with pytest.raises(InputError, match=r"cameras has shape \(2,\); expected \(3,\)"):
        InMemorySplit([b"a", b"b", b"c"], [7, 3, 7], [0, 1])


def _gallery(out: Path) -> Path:
    return out / "market1501" / "1.0.0" / "market1501-gallery.array_record-00000-of-00001"


def _zeros(data: bytes) -> bytes:
    return data[:5000] + bytes(4000) + data[9000:]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[: len(data) // 2],
        lambda data: data[:-1],
        lambda data: bytes(len(data)),
        lambda data: np.random.default_rng(0).bytes(len(data)),
        _zeros,
        lambda data: data[:3000] + bytes([data[3000] ^ 1]) + data[3001:],
    ],
    ids=["empty", "half", "cut", "zeroed", "random", "zeros inside", "one bit"],
)
def test_damaged_records_are_named(
    damage: Callable[[bytes], bytes], out: Path, kind: Callable[[str, str], None]
) -> None:
    path = _gallery(out)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=r"1\.0\.0, split gallery.* again with --force") as error:
        list(open_split("market1501", "gallery", data_dir=out))
    kind("a damaged array_record", f"exit 2: {error.value}".replace(str(out), "DATA_DIR"))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_damaged_records_are_named_by_threads_and_workers_too(workers: int, out: Path) -> None:
    path = _gallery(out)
    path.write_bytes(_zeros(path.read_bytes()))
    source = open_split("market1501", "gallery", data_dir=out)
    with (
        pytest.raises(InputError, match=r"split gallery, record .*cannot be read"),
        evaluation_batches(source, 8, size=(32, 16), workers=workers) as batches,
    ):
        list(batches)


@pytest.mark.parametrize("gone", [True, False])
def test_data_that_were_replaced_meanwhile_are_not_taken_for_the_old(
    gone: bool, out: Path, market_folder: Path, encoded: Callable[..., bytes]
) -> None:
    """Files are opened when they are first read: after `data prepare --force`, the new ones."""
    source = open_split("market1501", "gallery", data_dir=out)
    begun = open_split("market1501", "gallery", data_dir=out)
    first = begun[0]
    if gone:
        _gallery(out).unlink()
    else:
        for i, path in enumerate(sorted((market_folder / "bounding_box_test").glob("*.jpg"))):
            path.write_bytes(encoded(1000 + i))
        prepare_dataset(
            "market1501", manual_dir=market_folder, data_dir=out, subset=True, force=True
        )
    expected = "cannot be read" if gone else "does not hold the image .* prepared anew meanwhile"
    with pytest.raises(InputError, match=expected):
        source[0]
    assert begun[0] == first  # what is open stays readable
    assert [begun[i]["image"] for i in range(36)]


def test_a_split_can_be_walked_to_its_end(out: Path) -> None:
    assert len(list(open_split("market1501", "query", data_dir=out))) == 12


def test_pixels_are_kept_as_they_are():
    pixels = np.random.default_rng(0).integers(0, 256, (2, 6, 4, 3), np.uint8)
    source = InMemorySplit(pixels, [1, 2], [0, 0])
    for number, expected in enumerate(pixels):
        np.testing.assert_array_equal(decode(source[number]["image"], name="one"), expected)
    with pytest.raises(InputError, match=r"must be uint8 \[H,W,3\], got \[6, 4, 3\] float64"):
        InMemorySplit(pixels / 255, [1, 2], [0, 0])
