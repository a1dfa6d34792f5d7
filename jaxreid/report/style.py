"""Names, colours and markers of attacks and runs: the same in every figure, fit for grey prints."""

from typing import Literal, NamedTuple

__all__ = ["FIGURES", "PROTOCOLS", "RUN_DASHES", "AttackStyle", "Dashes", "attack_style", "percent"]

# Okabe and Ito's palette, which people with any common colour blindness can tell apart.
_GREY, _SKY, _BLUE, _GREEN = "#7f858c", "#56b4e9", "#0072b2", "#009e73"
_ORANGE, _RED, _PINK = "#e69f00", "#d55e00", "#cc79a7"

PROTOCOLS = {"market1501": "Market-1501", "torchreid": "torchreid"}
"""Protocol in the records -> how a report names it."""

FIGURES = {"mean_average_precision": "mAP", "rank1": "rank-1"}
"""Field of a score -> how a report names it."""

Dashes = Literal["solid"] | tuple[float, tuple[float, ...]]
"""A line style in matplotlib's notation."""

RUN_DASHES: tuple[Dashes, ...] = ("solid", (0, (5, 2)), (0, (1, 1.4)), (0, (6, 2, 1, 2)))
"""Line styles of runs that share axes, in matplotlib's notation."""


class AttackStyle(NamedTuple):
    """How an attack looks.

    Attributes:
        title: full name.
        short: name in legends and column heads.
        colour: of lines and filled marks.
        marker: in matplotlib's notation.
        hollow: whether its marks are empty, which tells variants of one colour apart.
    """

    title: str
    short: str
    colour: str
    marker: str
    hollow: bool = False


_STYLES = {
    "clean": AttackStyle("Clean images", "clean", _GREY, "o", True),
    "noise": AttackStyle("Uniform noise", "noise", _GREY, "x"),
    "fgsm": AttackStyle("FGSM, single guide", "FGSM", _SKY, "v"),
    "fgsm_multi": AttackStyle("FGSM, multiple guides", "FGSM, multi", _SKY, "v", True),
    "ifgsm": AttackStyle("IFGSM, single guide", "IFGSM", _BLUE, "s"),
    "ifgsm_multi": AttackStyle("IFGSM, multiple guides", "IFGSM, multi", _BLUE, "s", True),
    "mifgsm": AttackStyle("MI-FGSM, single guide", "MI-FGSM", _ORANGE, "P"),
    "mifgsm_multi": AttackStyle("MI-FGSM, multiple guides", "MI-FGSM, multi", _ORANGE, "P", True),
    "sma": AttackStyle("Self Metric Attack", "SMA", _GREEN, "^"),
    "odfa": AttackStyle("Opposite-Direction Feature Attack", "ODFA", _PINK, "D"),
    "fna": AttackStyle("Furthest-Negative Attack", "FNA", _RED, "o"),
    "fna_without_push": AttackStyle("FNA without push", "FNA, no push", _RED, "<", True),
    "fna_without_pull": AttackStyle("FNA without pull", "FNA, no pull", _RED, ">", True),
    "fna_random_pull": AttackStyle("FNA, random pull", "FNA, random pull", _RED, "h", True),
}


def attack_style(attack: str) -> AttackStyle:
    """Finds how an attack looks.

    Args:
        attack: "clean", a name in `jaxreid.attacks.ATTACKS`, or one that is newer than this table.

    Returns:
        Its style; an unknown attack is orange under its own name.
    """
    return _STYLES.get(attack, AttackStyle(attack, attack, _ORANGE, "*", True))


def percent(share: float, digits: int = 1) -> str:
    """Writes a share.

    Args:
        share: in [0, 1].
        digits: after the point.

    Returns:
        Such as "80.3 %", with a space that does not break.
    """
    return f"{100 * share:.{digits}f}\u00a0%"
