import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from jaxreid.data.prepare import prepare_dataset
from jaxreid.data.source import open_split
from jaxreid.errors import InputError


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
def test_both_versions(version: int, tmp_path: Path, encoded: Callable[..., bytes]) -> None:
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


def test_the_original_tar_does_as_well(tmp_path: Path, encoded: Callable[..., bytes]) -> None:
    root = _msmt17(tmp_path / "MSMT17_V1", encoded, version=1)
    archive = tmp_path / "MSMT17_V1.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
        file.add(root, root.name)
    for name, given in (("a", root), ("b", archive)):
        prepare_dataset("msmt17", manual_dir=given, data_dir=tmp_path / name, subset=True)
    a, b = (open_split("msmt17", "gallery", data_dir=tmp_path / name) for name in "ab")
    assert [a[i] for i in range(len(a))] == [b[i] for i in range(len(b))]


def test_counts_are_checked(tmp_path: Path, encoded: Callable[..., bytes]) -> None:
    root = _msmt17(tmp_path / "MSMT17_V1", encoded, version=1)
    with pytest.raises(InputError, match="query identities: 2 instead of 3,060"):
        prepare_dataset("msmt17", manual_dir=root, data_dir=tmp_path / "out")
