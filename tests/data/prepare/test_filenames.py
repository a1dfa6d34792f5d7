import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxreid.data.prepare import filenames
from jaxreid.data.prepare.filenames import (
    ImageName,
    Numbering,
    camera_words,
    compile_pattern,
    market1501_name,
    read_name,
)
from jaxreid.errors import InputError


def parse_name(name: str, pattern: re.Pattern[str], first_camera: int = 1) -> ImageName | None:
    found = read_name(name, pattern, Numbering(first_camera))
    return found if isinstance(found, ImageName) else None


@pytest.mark.parametrize(
    ("grammar", "name", "expected"),
    [
        ("MARKET1501", "0002_c1s1_000451_03.jpg", (2, 0, 1, 451)),
        ("MARKET1501", "-1_c6s4_012345_00.jpg", (-1, 5, 4, 12345)),
        ("MARKET1501", "0000_c2s1_000001_11.jpg", (0, 1, 1, 1)),
        ("DUKEMTMC_REID", "0005_c2_f0046985.jpg", (5, 1, -1, 46985)),
        ("CUHK03_NP", "0001_c1_1.png", (1, 0, -1, -1)),
        ("MSMT17", "0000/0000_000_01_0303morning_0008_0.jpg", (0, 0, -1, -1)),
        ("MSMT17", "3059/3059_012_15_0113afternoon_1500_2.jpg", (3059, 14, -1, -1)),
        ("REID_FOLDER", "0002_c1s1_000451_03.jpg", (2, 0, 1, 451)),
        ("REID_FOLDER", "someone/17_c3.JPEG", (17, 2, -1, -1)),
        ("REID_FOLDER", "0005_c2_f0046985.png", (5, 1, -1, 46985)),
    ],
)
def test_names_of_each_dataset(grammar: str, name: str, expected: tuple[int, ...]) -> None:
    assert parse_name(name, getattr(filenames, grammar)) == ImageName(*expected)


@pytest.mark.parametrize(
    "name",
    [
        "0002_c0s1_000451_03.jpg",  # cameras count from 1
        "-2_c1s1_000451_03.jpg",
        "0002_c1_000451_03.jpg",
        "0002_c1s1_000451_03.jpg.bak",
        "x0002_c1s1_000451_03.jpg",
        "0002_c1s1_000451_03.gif",
        "99999999999999999999_c1s1_000451_03.jpg",  # beyond int64
        "",
    ],
)
def test_other_names_are_not_guessed_at(name: str) -> None:
    assert parse_name(name, filenames.MARKET1501) is None


_numbers = st.builds(
    ImageName,
    identity=st.integers(-1, 20_000),
    camera=st.integers(0, 99),
    sequence=st.integers(1, 99),
    frame=st.integers(0, 10**8),
)


@given(_numbers, st.integers(0, 999))
def test_market_names_say_what_was_written(image: ImageName, box: int) -> None:
    assert parse_name(market1501_name(image, box=box), filenames.MARKET1501) == image


@given(st.text(max_size=40))
def test_no_name_raises(name: str) -> None:
    for grammar in ("MARKET1501", "DUKEMTMC_REID", "CUHK03_NP", "MSMT17", "REID_FOLDER"):
        parse_name(name, getattr(filenames, grammar))


def test_unknown_numbers_get_defaults_in_market_names() -> None:
    assert market1501_name(ImageName(7, 1, -1, -1), box=3) == "0007_c2s1_000000_03.jpg"


def test_user_pattern_reads_subfolders_and_first_camera() -> None:
    pattern = compile_pattern(r"person(?P<identity>\d+)/cam(?P<camera>\d+)_.*\.jpg")
    name = "person12/cam0_entrance.jpg"
    assert parse_name(name, pattern, first_camera=0) == ImageName(12, 0, -1, -1)
    assert parse_name(name, pattern, first_camera=1) is None


def test_names_in_another_encoding_than_the_file_system_s() -> None:
    pattern = compile_pattern(r"(?P<identity>\d+)_(?P<camera>\d+)_.*")
    assert parse_name("4_1_é.jpg", pattern) == ImageName(4, 0, -1, -1)
    assert parse_name("4_1_" + os.fsdecode(b"\xe9.jpg"), pattern) is None


def test_user_pattern_with_words_for_numbers_does_not_parse() -> None:
    pattern = compile_pattern(r"(?P<identity>\w+)_(?P<camera>\w+)\.jpg")
    assert parse_name("alice_1.jpg", pattern) is None
    assert parse_name("4_1.jpg", pattern) == ImageName(4, 0, -1, -1)


def test_optional_group_that_did_not_match_counts_as_missing() -> None:
    pattern = compile_pattern(r"(?P<identity>\d+)(?:_c(?P<camera>\d+))?(?P<frame>f\d+)?\.jpg")
    assert parse_name("4.jpg", pattern) is None


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (r"(?P<identity>\d+", "no regular expression"),
        ("a{1,99999999999}", "no regular expression: the repetition number is too large"),
        ("(" * 5000, "no regular expression: it nests too deeply"),
        (r"(\d+)_c(\d+)", "has the named groups: none"),
        (r"(?P<identity>\d+)", "expected (?P<identity>...) and (?P<camera>...)"),
        (r"(?P<identity>\d+)(?P<camera>\d)(?P<colour>\d)", "camera, colour, identity"),
    ],
)
def test_bad_patterns_are_explained(pattern: str, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        compile_pattern(pattern)


@pytest.mark.parametrize(
    ("name", "numbering", "reason"),
    [
        ("holiday.jpg", Numbering(), r"no match of .*reid_folder reads other names with --pattern"),
        ("1_c0.jpg", Numbering(), "camera 0 lies below the first one, 1; .* --first-camera 0"),
        ("3_c1.jpg", Numbering(first_identity=5), "identity 3 lies below the first one, 5"),
        (f"{10**19}_c1.jpg", Numbering(), "identity 10000000000000000000 does not fit into 64"),
        (f"1_c{'9' * 200}.jpg", Numbering(), r"camera 9{40} does not fit into 64 bits"),
    ],
)
def test_why_a_name_cannot_be_read(name: str, numbering: Numbering, reason: str) -> None:
    found = read_name(name, filenames.REID_FOLDER, numbering)
    assert isinstance(found, str)
    assert re.fullmatch(rf"{reason}.*", found)


def test_why_a_user_s_name_cannot_be_read() -> None:
    pattern = compile_pattern(r"(?P<identity>-?\w+)_(?P<camera>\w*)\.jpg")
    for name, reason in (
        ("anna_1.jpg", "identity 'anna' is not a number"),
        ("1_.jpg", "the pattern finds no camera in it"),
        ("1_hall.jpg", "camera 'hall' is not a number"),
        ("-2_1.jpg", "identity -2 lies below -1, which is junk"),
        (os.fsdecode(b"1_\xff.jpg"), "not valid UTF-8"),
    ):
        assert read_name(name, pattern, Numbering()) == reason


@pytest.mark.parametrize(
    ("first", "numbers"),
    [
        (0, {"-1": -1, "0000": 1, "0001": 2, "0007": 8}),
        (1, {"-1": -1, "0000": 0, "0001": 1, "0007": 7}),
        (5, {"-1": -1, "0000": 0, "0005": 1, "0007": 3}),
    ],
)
def test_people_may_be_counted_from_any_number(first: int, numbers: dict[str, int]) -> None:
    numbering = Numbering(first_identity=first)
    for text, identity in numbers.items():
        found = read_name(f"{text}_c2.jpg", filenames.REID_FOLDER, numbering)
        assert found == ImageName(identity, 1, -1, -1)


def test_cameras_in_words_are_numbered_in_sorted_order() -> None:
    pattern = compile_pattern(r"(?P<identity>\d+)_(?P<camera>\w+)\.\w+")
    words = camera_words(["2_hall.jpg", "1_entrance.jpg", "1_hall.bmp", "no"], pattern)
    assert words == {"entrance": 0, "hall": 1}
    found = read_name("2_hall.jpg", pattern, Numbering(cameras=words))
    assert found == ImageName(2, 1, -1, -1)
    gates = camera_words(["1_gate10.jpg", "1_gate9.jpg", "1_3.jpg"], pattern)
    assert gates == {"3": 0, "gate9": 1, "gate10": 2}
    assert camera_words(["1_3.jpg", "1_04.jpg"], pattern) is None


@pytest.mark.parametrize("suffix", ["jpg", "JPEG", "jpe", "jfif", "png", "bmp", "BMP", "webp"])
def test_every_format_that_is_read_is_named_so(suffix: str) -> None:
    for grammar, stem in (
        ("MARKET1501", "0002_c1s1_000451_03"),
        ("CUHK03_NP", "0001_c1_1"),
        ("REID_FOLDER", "0001_c1"),
    ):
        assert parse_name(f"{stem}.{suffix}", getattr(filenames, grammar)) is not None
