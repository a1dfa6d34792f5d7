"""The sheet has a row per identity, a column per camera, and the right image in each cell."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxreid.data.prepare.contact_sheet import draw_contact_sheet
from jaxreid.data.read.source import InMemorySplit, ReidSource
from jaxreid.errors import InputError


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


def test_bad_input(tmp_path: Path) -> None:
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
