import dataclasses
from pathlib import Path

import numpy as np
import pytest

from jaxreid.data.read.index import SplitIndex, read_index, read_upright, write_index
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
