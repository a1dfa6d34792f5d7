"""What stands between an image and a network at test time, and attacks through it."""

from jaxreid.evaluation.defended.codec import jpeg
from jaxreid.evaluation.defended.detecting import (
    detection_threshold,
    detector_text,
    inconsistency,
    undetected,
)
from jaxreid.evaluation.defended.parts import (
    DEFENSES,
    InputDefense,
    draws_at_random,
    parts_of,
    through_text,
)
from jaxreid.evaluation.defended.rounding import straight_through
from jaxreid.evaluation.defended.wrapping import expected, through

__all__ = [
    "DEFENSES",
    "InputDefense",
    "detection_threshold",
    "detector_text",
    "draws_at_random",
    "expected",
    "inconsistency",
    "jpeg",
    "parts_of",
    "straight_through",
    "through",
    "through_text",
    "undetected",
]
