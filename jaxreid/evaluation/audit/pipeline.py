"""Checks of what lies around the attacked function: before it images, behind it the ranking."""

import io

import numpy as np
from PIL import Image

from jaxreid.constants import MAIN_PROTOCOL
from jaxreid.data.source import ReidSource
from jaxreid.evaluation.audit.flags import judged, unknown
from jaxreid.records import Flag, Result

__all__ = ["eight_bit_flag", "preprocessing_flag", "resized_share", "scoring_flag"]

# Of mAP; where an attack took less than this, nothing can come back.
_LEAST_DROP = 0.01


def resized_share(source: ReidSource, positions: np.ndarray, size: tuple[int, int]) -> float:
    """Share of images whose stored size is not the one at which they are attacked.

    Args:
        source: a split.
        positions: [S] in it.
        size: (height, width) of the attacked images.

    Returns:
        In [0, 1].
    """
    resized = 0
    for position in positions.tolist():
        # The header says it: nothing is decoded.
        with Image.open(io.BytesIO(source[position]["image"])) as image:
            resized += image.size != (size[1], size[0])
    return resized / max(len(positions), 1)


def preprocessing_flag(
    trained: tuple[int, int] | None, size: tuple[int, int], resized: float
) -> Flag:
    """What is done to images before the attacked function, as far as it can be known.

    Args:
        trained: (height, width) that the model says it was trained on; None where nothing does.
        size: (height, width) of the attacked images.
        resized: of `resized_share`.

    Returns:
        "preprocessing".
    """
    share = f"{100 * resized:.0f} % of the sample were resized from the stored size"
    if trained is None:
        return unknown(
            "preprocessing",
            f"Nothing says for which size and preprocessing the function was made; {share} before "
            "it, and the attack changes the resized image.",
            "Make sure that the normalisation, and any filter or compression, of the system in use "
            "are inside of the function.",
        )
    note = f"({share}; the attack changes the resized image.)" if resized else ""
    return judged("preprocessing", float(trained != size), note=note)


def eight_bit_flag(clean: Result, worst: Result) -> Flag:
    """Whether the worst case survives rounding to the values that a file holds.

    Args:
        clean: without an attack.
        worst: of an ensemble.

    Returns:
        "8 bits".
    """
    assert worst.worst is not None
    rounded = worst.worst.eight_bit[MAIN_PROTOCOL].mean_average_precision
    return judged("8 bits", _returned(clean, worst, rounded))


def scoring_flag(clean: Result, worst: Result, *, flip: bool) -> Flag:
    """Whether what scores the attacked images does something that the attack did not see.

    Args:
        clean: without an attack.
        worst: of an ensemble.
        flip: whether features are averaged over the image and its mirror image.

    Returns:
        "scoring".
    """
    notes = ["The mirror image is part of the attacked function."] if flip else []
    if worst.reranked is None:
        notes.append("Nothing was re-ranked (--rerank measures it).")
        return judged("scoring", 0.0, note=" ".join(notes))
    again = worst.reranked[MAIN_PROTOCOL].mean_average_precision
    notes.append(f"Re-ranked, the worst case leaves {100 * again:.1f} % mAP.")
    return judged("scoring", _returned(clean, worst, again), note=" ".join(notes))


def _returned(clean: Result, worst: Result, again: float) -> float:
    """Part of the lost mAP that comes back, 0 at least."""
    left = worst.scores[MAIN_PROTOCOL].mean_average_precision
    drop = clean.scores[MAIN_PROTOCOL].mean_average_precision - left
    return max(0.0, again - left) / drop if drop > _LEAST_DROP else 0.0
