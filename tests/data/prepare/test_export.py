import io
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxreid.data.prepare import prepare_dataset
from jaxreid.data.prepare.export import draw_contact_sheet, export_dataset
from jaxreid.data.prepare.filenames import MARKET1501, read_name
from jaxreid.data.source import InMemorySplit, ReidSource, open_split
from jaxreid.errors import InputError

_SPLITS = ("train", "train_all", "validation_query", "validation_gallery", "query", "gallery")


def _contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.jpg")}


def _same(a: tuple[str, Path], b: tuple[str, Path]) -> None:
    for split in _SPLITS:
        x, y = (open_split(name, split, data_dir=out) for name, out in (a, b))
        np.testing.assert_array_equal(x.identities, y.identities)
        np.testing.assert_array_equal(x.labels, y.labels)
        np.testing.assert_array_equal(x.cameras, y.cameras)
        assert [x[i]["image"] for i in range(len(x))] == [y[i]["image"] for i in range(len(y))]


@pytest.mark.parametrize("name", ["market1501", "reid_folder/again"])
def test_there_and_back_again(name: str, market_folder: Path, tmp_path: Path) -> None:
    out, written = tmp_path / "out", tmp_path / "written"
    prepare_dataset("reid_folder/first", manual_dir=market_folder, data_dir=out)
    assert export_dataset("reid_folder/first", written, data_dir=out) == written
    assert _contents(written) == _contents(market_folder)
    options = {"subset": True} if name == "market1501" else {}
    prepare_dataset(name, manual_dir=written, data_dir=out, **options)
    _same(("reid_folder/first", out), (name, out))


def test_generated_images_survive_the_round_trip(tiny_data: Path, tmp_path: Path) -> None:
    out, written = tmp_path / "out", tmp_path / "written"
    export_dataset("synthetic_reid/tiny", written, data_dir=tiny_data)
    prepare_dataset("market1501", manual_dir=written, data_dir=out, subset=True)
    _same(("synthetic_reid/tiny", tiny_data), ("market1501", out))


def test_other_names_become_market_s_without_collisions(
    market_folder: Path, tmp_path: Path, encoded: Callable[..., bytes]
) -> None:
    """Same person, camera and frame in two folders, one image a PNG, one already so named."""
    query = market_folder / "query"
    for i, name in enumerate(("a/0001_c1.jpg", "b/0001_c1.png", "0001_c1s1_000000_00.jpg")):
        (query / name).parent.mkdir(exist_ok=True)
        (query / name).write_bytes(encoded(500 + i, format="PNG" if "png" in name else "JPEG"))
    out = tmp_path / "out"
    prepare_dataset("reid_folder", manual_dir=market_folder, data_dir=out)
    export_dataset("reid_folder", tmp_path / "written", data_dir=out)
    written = {
        path.name: path.read_bytes()
        for path in (tmp_path / "written" / "query").glob("0001_c1s1_000000_*")
    }
    assert written == {
        "0001_c1s1_000000_00.jpg": encoded(502),
        "0001_c1s1_000000_01.jpg": encoded(500),
        "0001_c1s1_000000_02.jpg": encoded(501, format="PNG"),
    }
    source = open_split("reid_folder", "query", data_dir=out)
    names = [read_name(p.name, MARKET1501) for p in (tmp_path / "written" / "query").iterdir()]
    assert sorted((n.identity, n.camera) for n in names if n) == sorted(
        zip(source.identities.tolist(), source.cameras.tolist(), strict=True)
    )


def test_nothing_is_overwritten_and_nothing_half_written(
    market_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    prepare_dataset("reid_folder", manual_dir=market_folder, data_dir=out)
    with pytest.raises(InputError, match="is not an empty folder"):
        export_dataset("reid_folder", market_folder, data_dir=out)
    target = tmp_path / "exports" / "x"

    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(OSError, match="No space left"):
            export_dataset("reid_folder", target, data_dir=out)
    assert not list(target.parent.iterdir())
    target.mkdir()
    export_dataset("reid_folder", target, data_dir=out)
    assert len(_contents(target)) == 84


def test_unknown_layout_and_dataset(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown layout 'voc'; expected one of: market1501"):
        export_dataset("market1501", tmp_path / "x", layout="voc")
    with pytest.raises(InputError, match="is not prepared"):
        export_dataset("market1501", tmp_path / "x", data_dir=tmp_path)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("target", ["/dev/null", "/dev/null/x", "/proc/x", "x" * 300, "a\0b"])
def test_destinations_that_cannot_be_are_named(
    target: str, tiny_data: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="expected a"):
        export_dataset("synthetic_reid/tiny", tmp_path / target, data_dir=tiny_data)


def test_a_link_to_nowhere_is_not_replaced(tiny_data: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(InputError, match="exists and is not an empty folder"):
        export_dataset("synthetic_reid/tiny", tmp_path / "link", data_dir=tiny_data)


_KILLED = """
    import os, signal, sys
    from jaxreid.data.prepare.export import export_dataset

    def progress(step, done, total):
        if step == "writing query" and done == 3:
            os.kill(os.getpid(), signal.SIGKILL)

    export_dataset("reid_folder", sys.argv[1], data_dir=sys.argv[2], progress=progress)
"""


def test_what_a_killed_export_left_is_cleared_by_the_next(
    market_folder: Path, tmp_path: Path, kind: Callable[[str, str], None]
) -> None:
    out, target = tmp_path / "out", tmp_path / "exports" / "x"
    prepare_dataset("reid_folder", manual_dir=market_folder, data_dir=out)
    words = [sys.executable, "-c", textwrap.dedent(_KILLED), str(target), str(out)]
    assert subprocess.run(words, check=False).returncode == -signal.SIGKILL
    left = [path.name for path in target.parent.iterdir()]
    assert [name.startswith(".x.") for name in left] == [True]
    export_dataset("reid_folder", target, data_dir=out)
    assert [path.name for path in target.parent.iterdir()] == ["x"]
    assert _contents(target) == _contents(market_folder)
    assert target.stat().st_mode == (target / "query").stat().st_mode
    kind("data export, killed", "nothing passes for exported; the next one clears what is left")


def encoded(colour: tuple[int, int, int], size: tuple[int, int] = (32, 64)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, format="PNG")
    return buffer.getvalue()


def listed(rows: list[tuple[int, int, bytes]]) -> InMemorySplit:
    names = [f"{i}.png" for i in range(len(rows))]
    identities, cameras, images = zip(*rows, strict=True)
    return InMemorySplit(images, identities, cameras, file_names=names)


def test_cells(tmp_path: Path) -> None:
    red, green, blue, grey = (200, 0, 0), (0, 180, 0), (0, 0, 190), (9, 9, 9)
    source = listed(
        [
            (7, 0, encoded(red)),
            (7, 2, encoded(green, (64, 64))),
            (3, 2, encoded(blue)),
            (3, 2, encoded(grey)),
            (0, 1, encoded(grey)),
            (-1, 1, encoded(grey)),
        ]
    )
    assert isinstance(source, ReidSource)
    out = draw_contact_sheet(source, out=tmp_path / "new" / "sheet.png")
    sheet = np.asarray(Image.open(out))
    assert sheet.shape == (24 + 2 * 196, 48 + 3 * 100, 3)

    def centre(row: int, column: int) -> tuple[int, ...]:
        return tuple(sheet[24 + row * 196 + 96, 48 + column * 100 + 48].tolist())

    empty = (228, 228, 228)
    assert [centre(0, c) for c in range(3)] == [empty, empty, blue]
    assert [centre(1, c) for c in range(3)] == [red, empty, green]
    # A square picture keeps its shape: paper above and below it.
    assert tuple(sheet[24 + 196 + 10, 48 + 200 + 48].tolist()) == empty
    assert sorted(p.name for p in out.parent.iterdir()) == ["sheet.png"]


def test_people_whom_most_cameras_see_come_first(tmp_path: Path) -> None:
    rows = [(1, 0, encoded((1, 1, 1))), (2, 0, encoded((2, 2, 2))), (2, 1, encoded((3, 3, 3)))]
    out = draw_contact_sheet(listed(rows), identities=1, out=tmp_path / "sheet.png")
    sheet = np.asarray(Image.open(out))
    assert sheet.shape[0] == 24 + 196
    assert sheet[24 + 96, 48 + 48].tolist() == [2, 2, 2]


def test_what_cannot_be_shown(tmp_path: Path) -> None:
    out = tmp_path / "sheet.png"
    with pytest.raises(InputError, match="no identity above 0"):
        draw_contact_sheet(listed([(0, 0, b"")]), out=out)
    with pytest.raises(InputError, match=r"0\.png: not an image"):
        draw_contact_sheet(listed([(1, 0, b"not a picture")]), out=out)
    with pytest.raises(InputError, match="1 or more, got 0"):
        draw_contact_sheet(listed([(1, 0, encoded((1, 1, 1)))]), identities=0, out=out)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "out", ["/dev/null", "/dev/null/x.png", "/proc/x.png", "x" * 300, "a\0b", "."]
)
def test_a_picture_that_cannot_be_written_is_named(out: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot (be written|hold the picture)"):
        draw_contact_sheet(listed([(1, 0, encoded((1, 2, 3)))]), out=tmp_path / out)
    assert Path("/dev/null").is_char_device()


def test_pictures_are_shown_as_they_are_read(tmp_path: Path) -> None:
    class AsStored(InMemorySplit):
        def __getitem__(self, index: int) -> dict[str, object]:
            return {**super().__getitem__(index), "upright": False}

    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.new("RGB", (192, 96), (200, 0, 0)).save(buffer, "PNG", exif=exif)
    red = {}
    for cls in (InMemorySplit, AsStored):
        source = cls([buffer.getvalue()], [1], [0])
        path = draw_contact_sheet(source, out=tmp_path / "sheet.png")
        with Image.open(path) as sheet:
            red[cls] = (np.asarray(sheet) == (200, 0, 0)).all(axis=2).sum()
    assert red == {InMemorySplit: 96 * 192, AsStored: 96 * 48}
