"""Pixels are PIL's, whatever path computes them, and bad bytes are named."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from jaxreid.data.decode import decode, decode_batch, resize_batch
from jaxreid.data.synthetic import CONFIGS, plan, render
from jaxreid.errors import InputError

PIL = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


def by_pil(images: np.ndarray, size: tuple[int, int], filter: str) -> np.ndarray:
    return np.stack(
        [np.asarray(Image.fromarray(i).resize((size[1], size[0]), PIL[filter])) for i in images]
    )


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**31),
    count=st.integers(1, 3),
    size=st.tuples(st.integers(4, 40), st.integers(4, 40)),
    filter=st.sampled_from(sorted(PIL)),
    binary=st.booleans(),
)
def test_doubling_is_that_of_pil_to_the_last_bit(
    seed: int, count: int, size: tuple[int, int], filter: str, binary: bool
) -> None:
    rng = np.random.default_rng(seed)
    # Only 0 and 255: overshoot and clipping everywhere.
    high = 2 if binary else 256
    images = rng.integers(0, high, (count, *size, 3)).astype(np.uint8) * (255 if binary else 1)
    double = (2 * size[0], 2 * size[1])
    ours = resize_batch(images, double, filter=filter)
    np.testing.assert_array_equal(ours, by_pil(images, double, filter))


@pytest.mark.parametrize("filter", sorted(PIL))
@pytest.mark.parametrize("size", [(64, 32), (256, 128), (100, 70), (128, 64), (1, 1)])
def test_any_size_is_that_of_pil(size: tuple[int, int], filter: str) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 128, 64, 3)).astype(np.uint8)
    ours = resize_batch(images, size, filter=filter)
    np.testing.assert_array_equal(ours, by_pil(images, size, filter))


def test_jpegs_decode_to_the_pixels_of_pil() -> None:
    config = CONFIGS["tiny"]
    jpegs = [render(config, item) for item in plan(config)[:8]]
    ours = decode_batch(jpegs, (128, 64), filter="bicubic", names=[str(i) for i in range(8)])
    theirs = np.stack([np.asarray(Image.open(io.BytesIO(j)).convert("RGB")) for j in jpegs])
    np.testing.assert_array_equal(ours, by_pil(theirs, (128, 64), "bicubic"))


def saved(picture: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format=format, **options)
    return buffer.getvalue()


def noise(mode: str) -> Image.Image:
    channels = {"L": (), "RGB": (3,), "RGBA": (4,)}[mode]
    values = np.random.default_rng(1).integers(0, 256, (24, 16, *channels)).astype(np.uint8)
    return Image.fromarray(values)


@pytest.mark.parametrize(
    ("mode", "format", "options"),
    [
        ("RGB", "PNG", {}),
        ("RGBA", "PNG", {}),
        ("L", "PNG", {}),
        ("L", "JPEG", {}),
        ("RGB", "JPEG", {"progressive": True}),
        ("RGB", "JPEG", {"subsampling": 0}),
        ("RGB", "JPEG", {"exif": Image.Exif()}),
    ],
)
def test_other_kinds_of_images(mode: str, format: str, options: dict[str, object]) -> None:
    encoded = saved(noise(mode), format, **options)
    with Image.open(io.BytesIO(encoded)) as picture:
        expected = np.asarray(picture.convert("RGB"))
    np.testing.assert_array_equal(decode(encoded, name="x"), expected)


def test_a_camera_that_was_turned_is_left_as_it_is() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode(saved(noise("RGB"), "JPEG", exif=exif), name="x").shape == (24, 16, 3)


def test_sizes_may_differ_within_a_batch() -> None:
    images = [noise("RGB"), noise("RGB").resize((10, 30))]
    batch = decode_batch(
        [saved(i, "PNG") for i in images], (48, 32), filter="bilinear", names=["a", "b"]
    )
    for row, image in zip(batch, images, strict=True):
        resized = image.resize((32, 48), Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(row, np.asarray(resized))


@pytest.mark.parametrize("share", [0.02, 0.3, 0.97])
@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_a_truncated_image_is_named(share: float, format: str) -> None:
    whole = saved(noise("RGB"), format)
    with pytest.raises(InputError, match=r"0002_c1\.jpg: not an image that can be decoded"):
        decode(whole[: int(share * len(whole))], name="0002_c1.jpg")


def test_bad_arguments() -> None:
    images = np.zeros((1, 8, 4, 3), np.uint8)
    with pytest.raises(InputError, match="bicubic, bilinear, got 'area'"):
        resize_batch(images, (16, 8), filter="area")
    with pytest.raises(InputError, match="1 pixel or more, got 0x8"):
        resize_batch(images, (0, 8), filter="bicubic")
    with pytest.raises(InputError, match="empty"):
        decode(b"", name="empty")
    assert decode_batch([], (16, 8), filter="bicubic", names=[]).shape == (0, 16, 8, 3)
