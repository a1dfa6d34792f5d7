"""Detectors by a threshold on a distance, and attacks that stay below it."""

import math
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxreid.attacks import Judged, Objective
from jaxreid.cameras import seen_by
from jaxreid.checks import check_callable, check_number, is_finite
from jaxreid.distances import euclidean
from jaxreid.errors import InputError
from jaxreid.evaluation.defended.parts import draws_at_random, through_text
from jaxreid.evaluation.defended.wrapping import through
from jaxreid.types import ArrayLike, Embed, Images, PerImage

__all__ = ["detection_threshold", "detector_text", "inconsistency", "undetected"]

# Products of decimal fractions, such as 0.29 * 100, may round to just below the whole number.
_ROUNDING = 1e-9


def detector_text(defenses: str) -> str:
    """Defenses as they are recorded, if they can detect anything.

    Args:
        defenses: as `through` has them.

    Returns:
        What `through_text` makes of them.

    Raises:
        InputError: as `through_text` does, or a defense draws at random.
    """
    if draws_at_random(defenses):
        raise InputError(f"{defenses} draws at random: a detector must say the same of an image")
    return through_text(defenses)


def inconsistency(embed: Embed, defenses: str, *, cameras: ArrayLike | None = None) -> Objective:
    """How far a feature moves when the image goes through a defense, ``s(x) = ||f(x) - f(T(x))||``.

    Feature squeezing, Xu et al., NDSS 2018, https://arxiv.org/abs/1704.01155, for features in place
    of class probabilities: clean images move little, many attacked ones far.

    Args:
        embed: images [B,H,W,3] in [0, 1] -> features [B,D].
        defenses: as `through` has them; none that draws at random.
        cameras: int32 [B], who took the images that will come, for an embedding that must be told.

    Returns:
        A function images [B,H,W,3] -> [B] in the unit of the embedding, differentiable.

    Raises:
        InputError: as `through` does, or a defense draws at random.
    """
    squeezed = seen_by(through(embed, detector_text(defenses)), cameras)
    plain = seen_by(embed, cameras)

    def score(images: Images) -> PerImage:
        return euclidean(plain(images), squeezed(images))

    return score


def detection_threshold(scores: Float[ArrayLike, " N"], rate: float) -> float:
    """The least threshold above which at most a share of clean images lies.

    ``t = s_(k+1), k = floor(rate N)``, the (k+1)-th largest score: an image is detected where its
    score is *above* t.

    Args:
        scores: [N] of clean images that are not the ones to be attacked, in any unit.
        rate: of false alarms, from 0 to below 1.

    Returns:
        In the unit of the scores.

    Raises:
        InputError: no scores, NaN, or a rate out of range.
    """
    values = np.asarray(scores)
    if values.ndim != 1 or not len(values) or not np.issubdtype(values.dtype, np.floating):
        raise InputError(f"scores must be [N] floating point, got {values.dtype} {values.shape}")
    if not np.isfinite(values).all():
        raise InputError("scores must be finite, but hold NaN or infinity")
    check_number("rate", rate, lambda r: (r >= 0) & (r < 1), "lie in [0, 1)")
    return float(np.sort(values)[::-1][math.floor(rate * len(values) + _ROUNDING)])


def undetected(
    objective: Objective, score: Objective, *, threshold: float | ArrayLike, weight: float
) -> Callable[[Images], Judged]:
    """An objective with a penalty for being detected, ``J(x) - w max(0, s(x) - t)``.

    What it climbs with is not what decides: of all images that an `adaptive_ascent` meets, it keeps
    one that is not detected, of these the one with the largest J; a detected one only where every
    one was. Carlini & Wagner, "Adversarial Examples Are Not Easily Detected", AISec 2017,
    https://arxiv.org/abs/1705.07263, attack a detector as a part of the loss.

    Args:
        objective: images [B,H,W,C] -> J [B], to be maximised.
        score: images -> s [B], such as `inconsistency`.
        threshold: t, such as `detection_threshold` gives.
        weight: w, at least 0, in units of J for one of s.

    Returns:
        What `jaxreid.attacks.adaptive_ascent` climbs; its `kept` has one entry.

    Raises:
        InputError: on no functions, or numbers out of range.
    """
    check_callable("objective", objective, "images [B,H,W,C] -> [B]")
    check_callable("score", score, "images [B,H,W,C] -> [B]")
    check_number("threshold", threshold, is_finite, "be finite")
    check_number("weight", weight, lambda w: (w >= 0) & (w < jnp.inf), "be at least 0")

    def judged(images: Images) -> Judged:
        value, found = objective(images), score(images)
        hidden = (found <= threshold).astype(value.dtype)
        penalised = value - weight * jnp.maximum(found - threshold, 0)
        return Judged(penalised, (jnp.stack([hidden, value], axis=1),))

    return judged
