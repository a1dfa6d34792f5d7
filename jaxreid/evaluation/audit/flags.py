"""What an audit looks for: each reason to distrust a figure, its threshold, and what to do."""

import math
from typing import Literal, NamedTuple

from jaxreid.records import Flag

__all__ = ["KINDS", "Kind", "judged", "unknown"]

_LARGEST = 1e6  # of a number that is shown and written: JSON has no infinity


class Kind(NamedTuple):
    """A reason to distrust the figures.

    Attributes:
        unit: of the number: "share" in [0, 1], "points" of mAP, "ratio".
        threshold: above which the flag is raised.
        meaning: what was measured, and what it says where it is much.
        advice: what to do.
    """

    unit: Literal["share", "points", "ratio"]
    threshold: float
    meaning: str
    advice: str


KINDS = {
    "randomised": Kind(
        "ratio",
        1e-3,
        "How far the features of an image move from one pass to the next, in median distances of "
        "two images: the attack climbed one draw, and the ranking saw another.",
        "Average the gradient over draws of the model (EOT), and rank the images with new draws.",
    ),
    "batch-mates": Kind(
        "ratio",
        1e-3,
        "How far the features of an image move when the other images of its batch are exchanged, "
        "in median distances: a figure then depends on who shared a batch with whom.",
        "Evaluate with running statistics of normalisation layers, or one image at a time.",
    ),
    "no gradient": Kind(
        "share",
        0.01,
        "Queries whose gradient is zero, NaN or infinite at the clean image or nearby: there is "
        "nothing for an attack to follow, which is no robustness.",
        "Replace what has no derivative (rounding, thresholds, argmax) by a smooth stand-in in the "
        "backward pass (BPDA), or attack without gradients.",
    ),
    "backward pass": Kind(
        "share",
        0.1,
        "Queries whose features move otherwise than their gradient says, at steps of a quarter, "
        "one and four grey levels: the gradient is not that of the model.",
        "Look for stop_gradient, a derivative of your own, rounding or fine ripples, and smooth "
        "them in the backward pass.",
    ),
    "random search": Kind(
        "share",
        0.05,
        "Queries from which a search that sees no gradient takes more average precision than all "
        "runs that follow it: the gradient leads astray.",
        "Take the random search's figure, more of its steps, and find what masks the gradient.",
    ),
    "transfer": Kind(
        "share",
        0.05,
        "Queries from which images made against the surrogate take more average precision than all "
        "runs against the model itself: the gradient leads astray.",
        "Take the transferred figure, and find what masks the gradient.",
    ),
    "more steps": Kind(
        "points",
        0.5,
        "By how much twice the steps lower the mAP of the sample: the attack had not arrived.",
        "Raise the steps until doubling them changes nothing, and report that figure.",
    ),
    "restarts": Kind(
        "points",
        2.0,
        "Spread of the sample's mAP over random starts: the figure depends on luck.",
        "Use more restarts, and keep the worst of them for each query.",
    ),
    "larger eps": Kind(
        "points",
        0.5,
        "By how much mAP rises where the budget does: a larger budget holds all images of a "
        "smaller one, so the attack failed.",
        "Distrust every figure: find what reacts to large changes, and attack through it.",
    ),
    "above floor": Kind(
        "points",
        2.0,
        "How far mAP stays above the floor, all matches last, at 64/255: with a quarter of the "
        "pixel range any image can be made to look like another.",
        "Distrust every figure: the attack does not reach what the budget allows.",
    ),
    "last iterate": Kind(
        "share",
        0.1,
        "Queries whose last image leaves two points of average precision more than their best one: "
        "an attack that returns the last iterate overstates what is left.",
        "Keep the best image of every step, by average precision, as the worst case does.",
    ),
    "misfit": Kind(
        "share",
        0.1,
        "Queries whose average precision rose by a point while the attack's objective rose: what "
        "is climbed does not lower what is measured.",
        "Choose another objective (--attacks worst tries several), and select by the metric.",
    ),
    "8 bits": Kind(
        "share",
        0.1,
        "Part of the lost mAP that comes back when images are rounded to 8 bits: so much of the "
        "attack needs values that no file holds.",
        "Report the 8-bit figure beside the other one (--eight-bit).",
    ),
    "all alike": Kind(
        "ratio",
        0.95,
        "Mean cosine of features of two people: where all features are alike, distances are "
        "rounding, and gradients vanish.",
        "Check that the training did not collapse; subtract the mean feature, or train on.",
    ),
    "ties": Kind(
        "share",
        0.01,
        "Pairs of a match and a wrong item at the very same distance from a query: their order is "
        "arbitrary, and so is every figure.",
        "Report ties counted against the model, as the worst case does; check for collapse and "
        "for features of few values.",
    ),
    "preprocessing": Kind(
        "share",
        0.0,
        "Images that reach the attacked function in another size than those the network was "
        "trained on: the figures are of another system than the one in use.",
        "Use --size with the size of the training, or put the resize inside of the function.",
    ),
    "scoring": Kind(
        "share",
        0.1,
        "Part of the lost mAP that comes back when the attacked queries are re-ranked: scoring "
        "does what the attack has not seen.",
        "Report the re-ranked figure, and do not call it a worst case.",
    ),
}
"""Name of a flag -> what it is, in the order in which flags are shown."""


def judged(name: str, number: float, *, note: str = "") -> Flag:
    """The flag of a number, raised where it is above its threshold or NaN; `note` ends meaning."""
    kind = KINDS[name]
    shown = _LARGEST if math.isnan(number) else min(max(float(number), -_LARGEST), _LARGEST)
    return Flag(
        name,
        shown > kind.threshold,
        shown,
        kind.threshold,
        kind.unit,
        f"{kind.meaning} {note}".rstrip(),
        kind.advice,
    )


def unknown(name: str, reason: str, advice: str) -> Flag:
    """The flag where nothing could be measured, with the reason and what would help."""
    return Flag(name, None, None, None, KINDS[name].unit, reason, advice)
