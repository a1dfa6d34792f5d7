import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from jaxreid.data.catalogue import Counts
from jaxreid.data.prepare import checks
from jaxreid.data.prepare.checks import TRAITS, examine
from jaxreid.data.prepare.filenames import ImageName
from jaxreid.data.prepare.folders import Folders, ImageFile
from jaxreid.errors import InputError


def _files(*pairs: tuple[int, int]) -> list[ImageFile]:
    return [
        ImageFile(Path(f"/x/{i}"), f"{i}.jpg", ImageName(identity, camera, -1, -1))
        for i, (identity, camera) in enumerate(pairs)
    ]


def _folders(train, query, gallery) -> Folders:
    return Folders(_files(*train), _files(*query), _files(*gallery), Path("/root-of-data"))


def test_splits_that_share_people_are_an_error() -> None:
    with pytest.raises(InputError, match=r"1 identities of /root-of-data .* training and query: 3"):
        checks.check_identities(_folders([(2, 0), (3, 0)], [(3, 0)], [(4, 1)]))
    with pytest.raises(InputError, match=r"training and gallery: 2, 3;"):
        checks.check_identities(_folders([(2, 0), (3, 0)], [(4, 0)], [(3, 1), (2, 0)]))


def test_junk_and_distractors_belong_to_the_gallery() -> None:
    checks.check_identities(_folders([(2, 0), (3, 0)], [(4, 0)], [(0, 1), (-1, 0), (4, 1)]))
    for reserved in (0, -1):
        with pytest.raises(InputError, match=r"1 training images .* identity 0 or -1: 1.jpg"):
            checks.check_identities(_folders([(2, 0), (reserved, 0)], [(4, 0)], [(4, 1)]))
        with pytest.raises(InputError, match="1 query images"):
            checks.check_identities(_folders([(2, 0), (3, 0)], [(reserved, 0)], [(4, 1)]))


def test_one_person_is_nothing_to_learn_from() -> None:
    with pytest.raises(InputError, match="one training identity"):
        checks.check_identities(_folders([(2, 0), (2, 1)], [(4, 0)], [(4, 1)]))


_FULL = Counts(3, 2, 1, 1, 3, 2, 2)


def _dataset(gallery: tuple[tuple[int, int], ...] = ((4, 1), (0, 0), (-1, 0))) -> Folders:
    return _folders([(2, 0), (2, 1), (3, 0)], [(4, 0)], gallery)


def test_full_counts_pass() -> None:
    assert checks.count_folders(_dataset()) == _FULL
    checks.check_counts(_dataset(), _FULL, title="Full", subset=False)


def test_fewer_images_are_an_error_unless_meant() -> None:
    fewer = _dataset(((4, 1), (-1, 0)))
    with pytest.raises(InputError) as error:
        checks.check_counts(fewer, _FULL, title="Full", subset=False)
    assert (
        "is not the full Full: gallery images: 2 instead of 3; gallery images without junk: "
        in (str(error.value))
    )
    assert "--subset" in str(error.value)
    checks.check_counts(fewer, _FULL, title="Full", subset=True)


@pytest.mark.parametrize("subset", [False, True])
def test_more_images_are_no_subset(subset: bool) -> None:
    more = _dataset(((4, 1), (0, 0), (-1, 0), (-1, 1)))
    with pytest.raises(InputError, match="gallery images: 4 instead of 3"):
        checks.check_counts(more, _FULL, title="Full", subset=subset)


def test_queries_nobody_can_answer_are_counted() -> None:
    query = _files((1, 0), (1, 1), (2, 0), (3, 0), (3, 1))
    gallery = _files((1, 0), (3, 2), (0, 1), (-1, 1))
    # Person 1 is in the gallery on camera 0 only, person 2 not at all.
    assert checks.unmatched_queries(query, gallery) == (2, 2)


def _written(folder: Path, contents: list[bytes]) -> list[ImageFile]:
    files = []
    for i, content in enumerate(contents):
        path = folder / f"{i}.jpg"
        path.write_bytes(content)
        files.append(ImageFile(path, path.name, ImageName(i + 1, 0, -1, -1)))
    return files


def _check(files: list[ImageFile], *, skip: bool = False):
    return checks.check_images(
        files, skip_corrupt=skip, done=0, total=len(files), progress=lambda *step: None
    )


def test_good_images_pass_with_the_checksum_of_their_bytes(tmp_path: Path, encoded) -> None:
    import zlib

    contents = [encoded(1), encoded(2, format="PNG")]
    good, bad = _check(_written(tmp_path, contents))
    assert [image.checksum for image in good] == [zlib.crc32(content) for content in contents]
    assert bad == []


def test_broken_images_are_named_ten_at_most(tmp_path: Path, encoded) -> None:
    files = _written(tmp_path, [encoded(0), *[b"no image"] * 12])
    with pytest.raises(InputError) as error:
        _check(files)
    message = str(error.value)
    assert message.startswith("12 images cannot be decoded: ")
    assert message.count(": not a JPEG, PNG, BMP or WebP image") == 10
    assert str(files[1].path) in message
    assert "--skip-corrupt" in message


def test_broken_images_can_be_left_out(tmp_path: Path, encoded) -> None:
    whole = encoded(0)
    cut = whole[: len(whole) * 9 // 10]
    contents = [whole, b"", b"no image", cut, encoded(0, format="GIF")]
    files = _written(tmp_path, contents)
    good, bad = _check(files, skip=True)
    assert [image.file for image in good] == files[:1]
    assert len(bad) == 4
    assert bad[0] == f"{files[1].path}: empty file"
    assert "truncated" in bad[2].lower()


def test_a_link_to_nowhere_is_named_and_can_be_left_out(tmp_path: Path, encoded) -> None:
    files = _written(tmp_path, [encoded(0), encoded(1)])
    files[1].path.unlink()
    files[1].path.symlink_to(tmp_path / "nowhere.jpg")
    fault = f"{files[1].path}: cannot be read (No such file or directory)"
    with pytest.raises(InputError) as error:
        _check(files)
    assert fault in str(error.value)
    good, bad = _check(files, skip=True)
    assert ([image.file for image in good], bad) == (files[:1], [fault])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_damage_raises_anything_else(
    tmp_path_factory: pytest.TempPathFactory,
    encoded,
    data: st.DataObject,
) -> None:
    """Whatever happens to the bytes, an image is either good or left out."""
    content = bytearray(encoded(0, format=data.draw(st.sampled_from(["JPEG", "PNG"]))))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)))
    files = _written(tmp_path_factory.mktemp("damage"), [bytes(content[:cut])])
    good, bad = _check(files, skip=True)
    assert len(good) + len(bad) == 1


def _saved(picture: Image.Image, format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format=format, **options)
    return buffer.getvalue()


def _exif(orientation: object) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_means_nothing_is_upright(orientation: int) -> None:
    data = _saved(Image.new("L", (2, 2)), "JPEG", exif=_exif(orientation))
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
