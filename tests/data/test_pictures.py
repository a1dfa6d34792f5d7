import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from jaxreid.data.pictures import TRAITS, examine, orientation_of, turned


def _saved(picture: Image.Image, format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format=format, **options)
    return buffer.getvalue()


def _exif(orientation: object) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turning_is_that_of_pillow(orientation: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 3, 3)).astype(np.uint8)
    with Image.open(
        io.BytesIO(_saved(Image.fromarray(pixels), exif=_exif(orientation)))
    ) as picture:
        assert orientation_of(picture) == orientation
        expected = np.asarray(ImageOps.exif_transpose(picture))
    np.testing.assert_array_equal(turned(pixels, orientation), expected)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_means_nothing_is_upright(orientation: int) -> None:
    data = _saved(Image.new("L", (2, 2)), "JPEG", exif=_exif(orientation))
    with Image.open(io.BytesIO(data)) as picture:
        assert orientation_of(picture) == 1
    assert examine(data) == ("", [])


def _ramp(top: int) -> Image.Image:
    return Image.fromarray(np.linspace(0, top, 64).astype(np.uint16).reshape(8, 8))


def _moving(format: str) -> bytes:
    frames = [Image.new("RGB", (4, 4), (100 * i, 0, 0)) for i in range(3)]
    return _saved(frames[0], format, save_all=True, append_images=frames[1:])


@pytest.mark.parametrize(
    ("data", "traits"),
    [
        (_saved(Image.new("RGB", (4, 4))), []),
        (_saved(Image.new("L", (4, 4)), "BMP"), []),
        (_saved(Image.new("1", (4, 4))), []),
        (_saved(Image.new("CMYK", (4, 4)), "JPEG"), []),
        (_saved(Image.new("RGB", (4, 4)), "JPEG", exif=_exif(6)), ["rotated"]),
        (_saved(Image.new("RGB", (4, 4)), "WEBP", exif=_exif(3)), ["rotated"]),
        (_saved(_ramp(65535)), ["deep"]),
        (_saved(_ramp(4095)), ["deep", "dark"]),
        (_saved(_ramp(4096)), ["deep"]),
        (_saved(_ramp(0)), ["deep"]),
        (_saved(Image.new("RGBA", (4, 4), (1, 2, 3, 255))), []),
        (_saved(Image.new("RGBA", (4, 4), (1, 2, 3, 254))), ["alpha"]),
        (_saved(Image.new("LA", (4, 4), (1, 0))), ["alpha"]),
        (_saved(Image.new("P", (4, 4)), transparency=0), ["alpha"]),
        (_saved(Image.new("RGBA", (4, 4), (1, 2, 3, 4)), "WEBP"), ["alpha"]),
        (_moving("PNG"), ["moving"]),
        (_moving("WEBP"), ["moving"]),
    ],
)
def test_what_there_is_to_tell(data: bytes, traits: list[str]) -> None:
    assert examine(data) == ("", traits)
    assert set(traits) <= set(TRAITS)


def test_other_formats_are_not_read() -> None:
    for format in ("GIF", "TIFF", "PPM", "ICO"):
        assert examine(_saved(Image.new("RGB", (16, 16)), format))[0] == (
            "not a JPEG, PNG, BMP or WebP image"
        )
    assert examine(b"")[0] == "empty file"
