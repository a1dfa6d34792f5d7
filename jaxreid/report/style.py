"""How attacks, runs and text look on page and figures, in colour and in grey prints.

Names come from users and files: nothing in them may act on a page, in a figure or in a table.
"""

import unicodedata
from typing import Literal, NamedTuple

from jaxreid.constants import ATTACK_TITLES, ENSEMBLES, LEARNED, Knowledge
from jaxreid.records import Condition
from jaxreid.report.canvas import INK

__all__ = [
    "METRICS",
    "PROTOCOLS",
    "RUN_DASHES",
    "AttackStyle",
    "Dashes",
    "attack_style",
    "is_published",
    "label_of",
    "percent",
    "printable",
    "protocol_title",
    "style_of",
]

# Okabe and Ito's palette, which people with any common colour blindness can tell apart.
_GREY, _SKY, _BLUE, _GREEN = "#7f858c", "#56b4e9", "#0072b2", "#009e73"
_ORANGE, _RED, _PINK = "#e69f00", "#d55e00", "#cc79a7"
# Of Paul Tol, as dark as nearly black: ink itself is for the worst case alone.
_INDIGO = "#332288"

PROTOCOLS = {"market1501": "Market-1501", "torchreid": "torchreid"}
"""Protocol in the records -> how a report names it; see `protocol_title`."""

METRICS = {"mean_average_precision": "mAP", "rank1": "rank-1"}
"""Field of a score -> how a report names it."""

Dashes = Literal["solid"] | tuple[float, tuple[float, ...]]
"""A line style in matplotlib's notation."""

RUN_DASHES: tuple[Dashes, ...] = ("solid", (0, (5, 2)), (0, (1, 1.4)), (0, (6, 2, 1, 2)))
"""Line styles of runs that share axes, in matplotlib's notation."""

_REPLACED = "\N{REPLACEMENT CHARACTER}"
# Controls of text direction, behind which a name could hide its end.
_BIDIRECTIONAL = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_LONGEST = 120


class AttackStyle(NamedTuple):
    """How an attack looks.

    Attributes:
        title: full name.
        short: name in legends and column heads.
        colour: of lines and filled marks.
        marker: in matplotlib's notation.
        hollow: whether its marks are empty, which tells variants of one colour apart.
        bold: whether its lines are broader than others: what is left in the worst case.
    """

    title: str
    short: str
    colour: str
    marker: str
    hollow: bool
    bold: bool = False


_TITLES = {"clean": "Clean images", **ATTACK_TITLES, **LEARNED}
# Short name, colour, marker, whether hollow.
_STYLES = {
    "clean": ("clean", _GREY, "o", True),
    "noise": ("noise", _GREY, "x", False),
    "fgsm": ("FGSM", _SKY, "v", False),
    "fgsm_multi": ("FGSM, multi", _SKY, "v", True),
    "ifgsm": ("IFGSM", _BLUE, "s", False),
    "ifgsm_multi": ("IFGSM, multi", _BLUE, "s", True),
    "mifgsm": ("MI-FGSM", _ORANGE, "P", False),
    "mifgsm_multi": ("MI-FGSM, multi", _ORANGE, "P", True),
    "sma": ("SMA", _GREEN, "^", False),
    "odfa": ("ODFA", _PINK, "D", False),
    "fna": ("FNA", _RED, "o", False),
    "fna_without_push": ("FNA, no push", _RED, "<", True),
    "fna_without_pull": ("FNA, no pull", _RED, ">", True),
    "fna_random_pull": ("FNA, random pull", _RED, "h", True),
    "nna": ("NNA", _INDIGO, "p", False),
    "universal": ("universal", _PINK, "d", True),
    "generator": ("generator", _GREEN, "8", True),
}


# Attacks that are this library's own, and of no paper.
_OWN = ("nna",)


def is_published(attack: str) -> bool:
    """Whether a paper gave its figures by the attack: a claim that the worst case can correct."""
    return attack in ATTACK_TITLES and attack not in _OWN


def attack_style(attack: str) -> AttackStyle:
    """How an attack looks; one that this table does not know is orange under its own name."""
    looks = _STYLES.get(attack, (attack, _ORANGE, "*", True))
    return AttackStyle(_TITLES.get(attack, attack), *looks)


# Short name and full name of an ensemble by what it knows, before ", quick"; marker, hollow.
_KNOWING: dict[Knowledge, tuple[str, str, str, bool]] = {
    "gallery": ("worst case", "Worst case", "X", False),
    "guides": ("ensemble by guides", "Ensemble that knows guides", "d", True),
    "self": ("ensemble by the image", "Ensemble that knows the image alone", "8", True),
}


def style_of(condition: Condition) -> AttackStyle:
    """How what was done looks; only an ensemble that knows the gallery is called worst case."""
    if not condition.is_ensemble:
        return attack_style(condition.attack)
    short, title, marker, hollow = _KNOWING[condition.knowledge]
    if not (evades := condition.goal == "evade"):
        known = "" if condition.knowledge == "gallery" else f", {condition.knowledge}"
        short, title = f"impersonation{known}", f"Impersonation{known}"
    # Of versions and forms of the ensemble, the first keeps the marker to itself.
    form = list(ENSEMBLES).index(condition.attack)
    if form:
        # "Worst case, quick" in a list of choices reads "quick worst case" in a sentence.
        what = ENSEMBLES[condition.attack].removeprefix(_KNOWING["gallery"][1]).strip(" ,")
        short, title = f"{what} {short}", f"{what.capitalize()} {title[:1].lower()}{title[1:]}"
        marker = {"X": "*", "d": "D", "8": "H"}[marker]
    # The ink of the page: the darkest line on white paper, and the lightest on black.
    return AttackStyle(title, short, INK, marker, hollow, bold=not hollow and evades)


def protocol_title(protocol: str) -> str:
    """How a report names a protocol; one that is newer than the table keeps its own name."""
    return PROTOCOLS.get(protocol, protocol)


def percent(share: float, digits: int = 1) -> str:
    """A share of 1 such as "80.3 %", with a space that does not break."""
    return f"{100 * share:.{digits}f}\u00a0%"


def printable(text: str, *, lines: bool = False) -> str:
    """Replaces letters that no file of a report may hold, and line breaks without `lines`.

    The result encodes as UTF-8, is allowed in XML and reads in its own order.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_letter(letter, lines) for letter in text)


def _letter(letter: str, lines: bool) -> str:
    category = unicodedata.category(letter)
    if letter in "\n\t" or category in ("Zl", "Zp"):
        return letter if lines and letter in "\n\t" else " "
    if category in ("Cc", "Cs") or letter in _BIDIRECTIONAL or letter in "\ufffe\uffff":
        return _REPLACED
    return letter


def label_of(text: str) -> str:
    """A text on one line, cut with an ellipsis where it is longer than a page is wide; maybe ""."""
    label = printable(text).strip()
    return label if len(label) <= _LONGEST else label[: _LONGEST - 1] + "…"
