"""Text from outside, made fit for a page, a figure and a table: nothing in it acts."""

import unicodedata

__all__ = ["csv_cell", "label_of", "printable"]

_REPLACED = "\N{REPLACEMENT CHARACTER}"
# Letters that turn the direction of what follows them: a name could hide its end behind them.
_TURNING = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_LONGEST = 120
# What spreadsheets take for the beginning of a formula, full-width forms included:
# https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA = "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"


def printable(text: str, *, lines: bool = False) -> str:
    """Replaces letters that no file of a report may hold.

    Args:
        text: from a user or a file, maybe with what stands for bytes that are no UTF-8.
        lines: whether line breaks stay; else they become spaces.

    Returns:
        Text that encodes as UTF-8, is allowed in XML, and reads in its own order.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_letter(letter, lines) for letter in text)


def _letter(letter: str, lines: bool) -> str:
    category = unicodedata.category(letter)
    if letter in "\n\t" or category in ("Zl", "Zp"):
        return letter if lines and letter in "\n\t" else " "
    if category in ("Cc", "Cs") or letter in _TURNING or letter in "\ufffe\uffff":
        return _REPLACED
    return letter


def label_of(text: str) -> str:
    """A name on one line that is not longer than a page is wide.

    Args:
        text: from a user or a file.

    Returns:
        The text, printable; its beginning and an ellipsis where it is too long; maybe "".
    """
    label = printable(text).strip()
    return label if len(label) <= _LONGEST else label[: _LONGEST - 1] + "…"


def csv_cell(text: str) -> str:
    """A cell of text that no spreadsheet computes.

    Args:
        text: for a cell.

    Returns:
        The text; behind an apostrophe where it would begin a formula.
    """
    return f"'{text}" if text.lstrip(" ")[:1] in tuple(_FORMULA) else text
