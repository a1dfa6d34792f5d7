"""Pixels are PIL's, whatever path computes them, and bad bytes are named."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

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


def by_definition(image: np.ndarray, size: tuple[int, int], filter: str) -> np.ndarray:
    """Separable interpolation of the pixels beside (r + 1/2) h/H - 1/2, whatever h/H is.

    Keys, IEEE TASSP 1981, https://doi.org/10.1109/TASSP.1981.1163711, with OpenCV's a = -3/4.
    """
    out = image.astype(np.float64)
    for axis, wanted in enumerate(size):
        had = out.shape[axis]
        at = (np.arange(wanted) + 0.5) * had / wanted - 0.5
        first, total = np.floor(at).astype(int), 0.0
        for tap in (0, 1) if filter == "opencv-bilinear" else (-1, 0, 1, 2):
            far = np.abs(at - (first + tap))
            if filter == "opencv-bilinear":
                weight = 1 - far
            else:
                near, a = far <= 1, -0.75
                inner = (a + 2) * far**3 - (a + 3) * far**2 + 1
                weight = np.where(near, inner, a * (far**3 - 5 * far**2 + 8 * far - 4))
            shape = [-1 if one == axis else 1 for one in range(3)]
            rows = np.take(out, np.clip(first + tap, 0, had - 1), axis)
            total = total + weight.reshape(shape) * rows
        out = total
    return np.clip(out, 0, 255)


@pytest.mark.parametrize("filter", ["opencv-bilinear", "opencv-bicubic"])
@pytest.mark.parametrize("size", [(64, 32), (256, 128), (100, 77), (40, 20)])
def test_opencvs_kernels_are_their_definition(size: tuple[int, int], filter: str) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 128, 64, 3)).astype(np.uint8)
    ours = resize_batch(images, size, filter=filter)
    assert ours.dtype == np.uint8
    for one, image in zip(ours, images, strict=True):
        # OpenCV's weights have 11 bits: an error of 2 * 255 / 2^12 beside that of rounding.
        assert np.abs(one - by_definition(image, size, filter)).max() < 0.5 + 0.5


def test_opencv_skips_pixels_where_pil_averages() -> None:
    stripes = np.zeros((1, 8, 8, 3), np.uint8)
    stripes[:, :, ::4] = 255
    # Columns 1 and 2, 5 and 6: the stripes lie between them.
    assert resize_batch(stripes, (8, 2), filter="opencv-bilinear").max() == 0
    assert resize_batch(stripes, (8, 2), filter="bilinear").min() > 0


@pytest.mark.parametrize(
    ("size", "kernel", "mean"),
    [((64, 32), "bilinear", 15.2), ((256, 128), "bilinear", 0.3), ((256, 128), "bicubic", 4.4)],
)
def test_kernels_differ_by_what_the_page_of_models_says(size, kernel, mean) -> None:
    image = np.random.default_rng(0).integers(0, 256, (1, 128, 64, 3), dtype=np.uint8)
    ours, pils = (
        resize_batch(image, size, filter=name).astype(int) for name in (f"opencv-{kernel}", kernel)
    )
    assert np.abs(ours - pils).mean() == pytest.approx(mean, abs=0.1)


@pytest.mark.torch
@pytest.mark.parametrize("filter", ["opencv-bilinear", "opencv-bicubic"])
def test_opencvs_geometry_is_that_of_torch_without_antialiasing(filter: str) -> None:
    import torch

    image = np.random.default_rng(0).integers(0, 256, (128, 64, 3)).astype(np.uint8)
    pixels = torch.tensor(image).permute(2, 0, 1)[None].float()
    theirs = torch.nn.functional.interpolate(
        pixels, size=(100, 77), mode=filter.removeprefix("opencv-"), align_corners=False
    )
    expected = theirs[0].permute(1, 2, 0).clip(0, 255).numpy()
    ours = resize_batch(image[None], (100, 77), filter=filter)[0]
    assert np.abs(ours - expected).max() < 1


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


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_camera_that_was_turned_is_turned_back(orientation: int, format: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    encoded = saved(noise("RGB"), format, exif=exif)
    with Image.open(io.BytesIO(encoded)) as picture:
        upright = np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
        stored = np.asarray(picture.convert("RGB"))
    assert upright.shape == ((24, 16, 3) if orientation < 5 else (16, 24, 3))
    np.testing.assert_array_equal(decode(encoded, name="x"), upright)
    np.testing.assert_array_equal(decode(encoded, name="x", upright=False), stored)
    batches = [
        decode_batch([encoded], (24, 16), filter="bicubic", names=["x"], upright=turn)
        for turn in (True, False)
    ]
    assert np.array_equal(*batches) == (orientation == 1)


def test_an_orientation_in_xmp_counts_as_for_pillow() -> None:
    xmp = b"<x:xmpmeta><rdf:Description tiff:Orientation='6'/></x:xmpmeta>".replace(b"'", b'"')
    encoded = saved(noise("RGB"), "JPEG", xmp=xmp)
    with Image.open(io.BytesIO(encoded)) as picture:
        upright = np.asarray(ImageOps.exif_transpose(picture))
    assert upright.shape == (16, 24, 3)
    np.testing.assert_array_equal(decode(encoded, name="x"), upright)


@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM"])
def test_damaged_exif_turns_nothing(exif: bytes) -> None:
    encoded = saved(noise("RGB"), "JPEG", exif=exif)
    assert decode(encoded, name="x").shape == (24, 16, 3)


def test_sixteen_bits_become_their_upper_eight() -> None:
    """A ramp over all 65,536 values: 256 of each result."""
    ramp = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    pixels = decode(saved(Image.fromarray(ramp), "PNG"), name="x")
    np.testing.assert_array_equal(pixels, np.repeat((ramp // 256)[..., None], 3, axis=2))


def test_sixteen_bits_of_colour_become_their_upper_eight() -> None:
    import cv2

    ramp = np.arange(3 * 24 * 16, dtype=np.uint16).reshape(24, 16, 3) * 56
    encoded = cv2.imencode(".png", ramp[..., ::-1])[1].tobytes()
    np.testing.assert_array_equal(decode(encoded, name="x"), ramp // 256)


@pytest.mark.parametrize("mode", ["I", "F"])
def test_values_without_a_range_are_refused(mode: str) -> None:
    encoded = saved(noise("L").convert(mode), "TIFF")
    with pytest.raises(InputError, match=f"x: not an image .*mode {mode}. have no known range"):
        decode(encoded, name="x")


def test_transparency_is_left_out_and_the_colours_stay() -> None:
    colours = np.asarray(noise("RGBA"))
    for format in ("PNG", "WEBP"):
        encoded = saved(noise("RGBA"), format, lossless=True, exact=True)
        np.testing.assert_array_equal(decode(encoded, name="x"), colours[..., :3])


@pytest.mark.parametrize("format", ["BMP", "WEBP"])
def test_bmp_and_webp_are_read(format: str) -> None:
    encoded = saved(noise("RGB"), format, lossless=True)
    np.testing.assert_array_equal(decode(encoded, name="x"), np.asarray(noise("RGB")))


def test_what_is_too_large_is_named_and_not_made() -> None:
    encoded = bytearray(saved(noise("RGB"), "JPEG"))
    start = encoded.index(b"\xff\xc0") + 5
    encoded[start : start + 4] = b"\xff\xdc\xff\xdc"  # 65,500 x 65,500 pixels
    with pytest.raises(InputError, match="x: not an image that can be decoded"):
        decode(bytes(encoded), name="x")


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
    with pytest.raises(InputError, match="opencv-bilinear, got 'area'"):
        resize_batch(images, (16, 8), filter="area")
    with pytest.raises(InputError, match="1 pixel or more, got 0x8"):
        resize_batch(images, (0, 8), filter="bicubic")
    with pytest.raises(InputError, match="empty"):
        decode(b"", name="empty")
    assert decode_batch([], (16, 8), filter="bicubic", names=[]).shape == (0, 16, 8, 3)
