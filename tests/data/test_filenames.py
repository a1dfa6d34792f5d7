import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxreid.data import filenames
from jaxreid.data.filenames import ImageName, compile_pattern, market1501_name, parse_name
from jaxreid.errors import InputError


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
        (r"(\d+)_c(\d+)", "has the named groups: none"),
        (r"(?P<identity>\d+)", "expected (?P<identity>...) and (?P<camera>...)"),
        (r"(?P<identity>\d+)(?P<camera>\d)(?P<colour>\d)", "camera, colour, identity"),
    ],
)
def test_bad_patterns_are_explained(pattern: str, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        compile_pattern(pattern)
