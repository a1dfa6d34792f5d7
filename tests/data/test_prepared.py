import dataclasses
import os
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from jaxreid.data.prepared import (
    SplitIndex,
    near_names,
    prepared_folder,
    read_index,
    read_upright,
    write_index,
)
from jaxreid.errors import InputError

_ROW = SplitIndex(**{f.name: np.array([3]) for f in dataclasses.fields(SplitIndex)})
_ROW = dataclasses.replace(_ROW, file_name=np.array(["a.jpg"]))


@pytest.mark.parametrize("upright", [True, False])
def test_how_images_lie_is_kept_beside_the_columns(upright: bool, tmp_path: Path) -> None:
    write_index(tmp_path, {"query": _ROW}, upright=upright)
    assert read_upright(tmp_path) is upright
    found = read_index(tmp_path)
    assert list(found) == ["query"]
    for name, column in vars(_ROW).items():
        np.testing.assert_array_equal(getattr(found["query"], name), column)


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("camera", np.array([1.0]), r"query/camera is float64 \[1\]"),
        ("camera", np.array([1, 2]), r"query/camera is int64 \[2\]"),
        ("identity", np.array(1), "damaged"),
        ("file_name", np.array([1]), r"query/file_name is int64 \[1\]"),
        ("label", np.array([None]), "damaged"),
    ],
)
def test_columns_of_other_types_and_lengths_are_named(
    column: str, values: np.ndarray, message: str, tmp_path: Path
) -> None:
    write_index(tmp_path, {"query": dataclasses.replace(_ROW, **{column: values})})
    with pytest.raises(InputError, match=message):
        read_index(tmp_path)


def test_what_is_no_npz_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no reid_index\.npz"):
        read_upright(tmp_path)
    np.save(tmp_path / "x.npy", np.zeros(3))
    (tmp_path / "x.npy").rename(tmp_path / "reid_index.npz")
    with pytest.raises(InputError, match=r"reid_index\.npz is damaged"):
        read_upright(tmp_path)


def _prepared(root: Path, *names: str) -> None:
    for name in names:
        folder = root / "reid_folder" / name / "1.0.0"
        folder.mkdir(parents=True)
        (folder / "reid_index.npz").touch()


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("market", "market1501"),
        ("Market-1501", "market1501"),
        ("duke", "dukemtmc_reid"),
        ("msmt", "msmt17"),
        ("cuhk03", "cuhk03_np/detected"),
        ("cuhk03_np/label", "cuhk03_np/labeled"),
        ("tiny", "synthetic_reid/tiny"),
        ("shop", "reid_folder/shop"),
        ("shopp", "reid_folder/shop"),
        ("reid_folder/shp", "reid_folder/shop"),
        ("xyz", None),
        ("", None),
    ],
)
def test_near_names(name: str, near: str | None, tmp_path: Path) -> None:
    _prepared(tmp_path, "shop", "airport")
    (tmp_path / "reid_folder" / "shopping").mkdir()  # nothing prepared in it
    found = near_names(name, tmp_path)
    assert (found[0] if found else None) == near
    assert "reid_folder/shopping" not in found


def test_a_wrong_name_suggests_what_works(tmp_path: Path, kind: Callable[[str, str], None]) -> None:
    with pytest.raises(InputError, match=r"'market' is not prepared .* did you mean mar") as error:
        prepared_folder("market", data_dir=tmp_path)
    assert "run:" not in str(error.value)
    kind("--dataset market", f"exit 2: {error.value}".replace(str(tmp_path), "DATA_DIR"))
    with pytest.raises(InputError, match=r"run: (.*) --manual-dir FOLDER_OR_ARCHIVE$") as error:
        prepared_folder("market1501", data_dir=tmp_path / "a folder")
    command = shlex.split(str(error.value).partition("run: ")[2])
    assert command[:6] == [
        *("jaxreid", "data", "prepare", "market1501", "--data-dir"),
        str(tmp_path / "a folder"),
    ]
    with pytest.raises(InputError, match=r"prepare synthetic_reid/default --data-dir [^ ]+$"):
        prepared_folder("synthetic_reid", data_dir=tmp_path)
    with pytest.raises(InputError, match=r"expected one of: .*did you mean cuhk03_np/labeled"):
        prepared_folder("cuhk03_np/labelled", data_dir=tmp_path)
    _prepared(tmp_path, "shop")
    with pytest.raises(InputError, match=r"reid_folder/sho is not .*you mean reid_folder/shop"):
        prepared_folder("reid_folder/sho", data_dir=tmp_path)


@pytest.mark.parametrize(
    "name",
    ["../x", "/etc", "a\0b", "x" * 300, "reid_folder/" + "y" * 300, "", os.fsdecode(b"\xff")],
)
def test_what_no_dataset_can_be_called(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not prepared") as error:
        prepared_folder(name, data_dir=tmp_path)
    assert len(str(error.value)) < 1000


def test_a_data_dir_that_cannot_be_looked_into_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path) -> object:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "market1501").mkdir()
    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(InputError, match=r"market1501 cannot be read \(Permission denied\)"):
        prepared_folder("market1501", data_dir=tmp_path)
