"""Budgets as text: what is read, what is refused, what is written."""

import numpy as np
import pytest

from jaxreid.budgets import budget_text, exact, read_budget
from jaxreid.errors import InputError


@pytest.mark.parametrize(
    ("value", "levels"),
    [
        ("5", 5),
        (5, 5),
        (np.float32(2.5), 2.5),
        ("5/255", 5),
        (" 8 / 255 ", 8),
        ("0.5/255", 0.5),
        ("1/51", 5),
        ("0.5/1", 127.5),
        ("0", 0),
        ("1", 1),
        (0.0, 0),
        ("1e-7/255", 1e-7),
        ("255", 255),
    ],
)
def test_linf_budgets_are_in_levels(value, levels):
    assert read_budget(value) == levels


def test_every_whole_number_of_levels_is_exact():
    assert [read_budget(f"{n}/255") for n in range(256)] == list(range(256))


@pytest.mark.parametrize(("value", "length"), [("0.5", 0.5), ("1/2", 0.5), (0.02, 0.02), (3, 3)])
def test_l2_budgets_are_lengths(value, length):
    assert read_budget(value, "l2") == length


@pytest.mark.parametrize("value", ["0.0196", 0.0196, 5 / 255, np.float64(0.5), "0.999", "1e-9"])
def test_a_budget_below_one_level_needs_a_word(value):
    with pytest.raises(InputError, match="less than one grey level"):
        read_budget(value)


def test_the_message_has_both_readings(kind):
    with pytest.raises(InputError) as refused:
        read_budget("0.0196")
    assert "for the fraction 0.0196 of the pixel range write 5/255" in str(refused.value)
    assert "for this little 0.0196/255" in str(refused.value)
    for fraction, levels in (
        (5 / 255, "5"),
        (0.03, "7.65"),
        (0.031, "8"),
        (0.02, "5"),
        (0.0004, "0.102"),
        (0.5, "127.5"),
    ):
        with pytest.raises(InputError, match=f"step_size .* write {levels}/255"):
            read_budget(fraction, name="step_size")
    kind("--eps 0.0196, eps=5/255 in Python, goat.eps = 0.0196", f"exit 2: {refused.value}")


@pytest.mark.parametrize(
    "value", ["", "five", "5/", "/255", "1/2/3", "nan", "inf", "-1", "5/0", "5/nan", True, None, []]
)
def test_what_is_no_budget_is_refused(value):
    for norm in ("linf", "l2"):
        with pytest.raises(InputError, match="eps must be"):
            read_budget(value, norm)


def test_what_is_written():
    assert [budget_text(eps, "linf") for eps in (5.0, 0.5, 0, 1.0000001)] == [
        "5",
        "0.5/255",
        "0",
        "1.0000001",
    ]
    assert budget_text(0.5, "l2") == "0.5"
    assert [exact(x) for x in (1e22, -0.0, 0.1, 1 / 3)] == ["1e+22", "0", "0.1", repr(1 / 3)]
