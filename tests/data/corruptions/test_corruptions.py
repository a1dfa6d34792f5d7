import colorsys
import io

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from jaxreid.data.corruptions import CORRUPTIONS, SEVERITIES, Corrupted, corrupt
from jaxreid.data.corruptions.blur import disk_kernel, length, motion_kernel
from jaxreid.data.corruptions.weather import plasma
from jaxreid.data.decode import as_png, decode_batch
from jaxreid.data.source import InMemorySplit
from jaxreid.errors import InputError


@pytest.fixture(scope="module")
def image():
    """A smooth coloured scene with an edge, uint8 [96,48,3]."""
    rows, columns = np.mgrid[:96, :48]
    planes = [(rows * 2) % 256, 60 + columns * 3, np.where(columns > 24, 180, 40)]
    return np.stack(planes, -1).astype(np.uint8)


def grey(value, shape=(96, 48, 3)):
    return np.full(shape, value, np.uint8)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_every_kind_is_repeatable_and_grows_with_severity(name, image):
    seen = [corrupt(image, name, severity, seed=(3,)) for severity in SEVERITIES]
    for severity, one in zip(SEVERITIES, seen, strict=True):
        assert one.dtype == np.uint8
        assert one.shape == image.shape
        np.testing.assert_array_equal(one, corrupt(image, name, severity, seed=(3,)))
    change = [np.abs(one.astype(int) - image).mean() for one in seen]
    assert change[0] > 0
    assert change[4] > change[0]


RANDOM = sorted(
    set(CORRUPTIONS)
    - {"gaussian_blur", "defocus_blur", "zoom_blur", "brightness", "contrast", "saturate"}
    - {"pixelate", "jpeg_compression"}
)


@pytest.mark.parametrize("name", RANDOM)
def test_what_is_random_depends_on_the_seed(name, image):
    one, other = (corrupt(image, name, 3, seed=(seed,)) for seed in (0, 1))
    assert (one != other).any()


@pytest.mark.parametrize(
    ("name", "variance"),
    [
        ("gaussian_noise", lambda x: 0.08**2),
        ("shot_noise", lambda x: x / 60),
        ("speckle_noise", lambda x: (0.15 * x) ** 2),
    ],
)
def test_noise_has_the_variance_of_its_definition(name, variance):
    noisy = corrupt(grey(128, (200, 200, 3)), name, 1, seed=(0,)) / 255
    x = 128 / 255
    assert noisy.mean() == pytest.approx(x, abs=2e-3)
    # Rounding to 255 levels adds 1 / (12 * 255^2).
    assert noisy.var() == pytest.approx(variance(x) + 1 / (12 * 255**2), rel=0.03)


def test_impulses_are_as_many_as_said_and_half_of_them_white():
    noisy = corrupt(grey(128, (200, 200, 3)), "impulse_noise", 5, seed=(0,))
    assert (noisy == 255).mean() == pytest.approx(0.27 / 2, abs=5e-3)
    assert (noisy == 0).mean() == pytest.approx(0.27 / 2, abs=5e-3)
    assert set(np.unique(noisy)) == {0, 128, 255}


def test_gaussian_blur_is_a_gaussian(image):
    sigma = length(image, 3)
    expected = ndimage.gaussian_filter(image / 255, (sigma, sigma, 0), mode="reflect", truncate=4)
    np.testing.assert_allclose(
        corrupt(image, "gaussian_blur", 3, seed=()) / 255, expected, atol=1.5 / 255
    )


def test_kernels_keep_the_light_and_have_their_extent():
    disk = disk_kernel(5.0)
    assert disk.sum() == pytest.approx(1)
    # A full disk of radius r: every inner weight is 1 / (pi r^2).
    assert disk[5, 5] == pytest.approx(1 / (np.pi * 25), rel=0.01)
    np.testing.assert_allclose(disk, disk.T)
    line = motion_kernel(9.0, 0.0)
    assert line.sum() == pytest.approx(1)
    assert line[line.shape[0] // 2].sum() == pytest.approx(1)
    upright = motion_kernel(9.0, np.pi / 2)
    np.testing.assert_allclose(upright, line.T, atol=1e-12)


def test_contrast_and_brightness_are_their_formulas(image):
    x = image / 255
    mean = x.mean((0, 1))
    expected = (x - mean) * 0.2 + mean
    np.testing.assert_allclose(corrupt(image, "contrast", 3, seed=()) / 255, expected, atol=0.003)
    lighter = corrupt(image, "brightness", 2, seed=())
    for row, column in ((3, 4), (50, 40), (90, 10)):
        hue, saturation, value = colorsys.rgb_to_hsv(*x[row, column])
        wanted = colorsys.hsv_to_rgb(hue, saturation, min(value + 0.2, 1))
        np.testing.assert_allclose(lighter[row, column] / 255, wanted, atol=0.003)


@pytest.mark.parametrize(("severity", "factor", "offset"), [(1, 0.3, 0), (4, 5, 0.1)])
def test_saturation_is_that_of_hsv(image, severity, factor, offset):
    changed = corrupt(image, "saturate", severity, seed=())
    for row, column in ((3, 4), (50, 40), (90, 10)):
        hue, saturation, value = colorsys.rgb_to_hsv(*(image[row, column] / 255))
        wanted = colorsys.hsv_to_rgb(hue, min(saturation * factor + offset, 1), value)
        np.testing.assert_allclose(changed[row, column] / 255, wanted, atol=0.003)
    np.testing.assert_array_equal(corrupt(grey(90), "saturate", severity, seed=()), grey(90))


def test_jpeg_and_pixelate_are_pils(image):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=15)
    expected = np.asarray(Image.open(buffer).convert("RGB"))
    np.testing.assert_array_equal(corrupt(image, "jpeg_compression", 3, seed=()), expected)
    blocks = corrupt(image, "pixelate", 2, seed=())
    mean = image.reshape(48, 2, 24, 2, 3).mean((1, 3))
    np.testing.assert_allclose(blocks[::2, ::2], mean, atol=1)
    np.testing.assert_array_equal(blocks[::2], blocks[1::2])


def test_fog_keeps_within_the_image_s_brightest_and_covers_it_unevenly():
    foggy = corrupt(grey(200), "fog", 3, seed=(0,)) / 255
    x = 200 / 255
    # (x + c cloud) x / (x + c) with a cloud from 0 to 1.
    assert foggy.max() == pytest.approx(x, abs=0.003)
    assert foggy.min() == pytest.approx(x * x / (x + 2.5), abs=0.003)
    cloud = plasma((96, 48), 1.7, np.random.default_rng(0))
    assert (cloud.min(), cloud.max()) == (0, 1)


def test_spatter_covers_the_same_share_of_every_image(image):
    for one in (image, grey(120)):
        struck = (corrupt(one, "spatter", 1, seed=(0,)) != one).any(-1).mean()
        assert struck == pytest.approx(0.25, abs=0.02)


def test_a_split_is_corrupted_image_by_image_at_the_size_that_networks_see(image):
    images = np.stack([image, image, image[::-1]])
    split = InMemorySplit(images, [1, 2, 3], [0, 0, 1])
    seen = Corrupted(split, "gaussian_noise", 2, size=(64, 32))
    assert len(seen) == 3
    assert list(seen.identities) == [1, 2, 3]
    assert seen.file_names == split.file_names

    def pixels(index):
        (name,) = [seen.file_names[index]]
        return decode_batch([seen[index]["image"]], (64, 32), filter="bilinear", names=[name])[0]

    clean = decode_batch([as_png(image)], (64, 32), filter="bilinear", names=["image"])[0]
    assert pixels(0).shape == (64, 32, 3)
    assert (pixels(0).astype(int) - clean).std() == pytest.approx(0.12 * 255, rel=0.1)
    np.testing.assert_array_equal(pixels(0), pixels(0))
    # The same image under another name has other noise.
    assert (pixels(0) != pixels(1)).any()


@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 5, 3), (256, 128, 3)])
def test_any_size_of_image_will_do(shape):
    for name in CORRUPTIONS:
        assert corrupt(grey(7, shape), name, 5, seed=(0,)).shape == shape


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((grey(1), "haze", 1), "unknown corruption 'haze'; there are gaussian_noise"),
        ((grey(1), "fog", 6), "severity must be 1 to 5, got 6"),
        ((grey(1) / 255, "fog", 1), r"expected an image uint8 \[H,W,3\], got float64"),
        ((grey(1)[..., 0], "fog", 1), r"expected an image uint8 \[H,W,3\]"),
    ],
)
def test_what_cannot_be_corrupted_is_said(arguments, message):
    with pytest.raises(InputError, match=message):
        corrupt(*arguments, seed=())
