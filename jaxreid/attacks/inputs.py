"""What attacks are given."""

from typing import NamedTuple

from jaxreid.attacks.threats import ThreatOf, linf
from jaxreid.attacks.transfer import Boost
from jaxreid.constants import DECAY, EPS, STEP_SIZE, STEPS
from jaxreid.errors import InputError
from jaxreid.types import (
    ArrayLike,
    FeaturesLike,
    ImagesLike,
    KeysLike,
    MaskLike,
    PullLike,
    PushLike,
)

__all__ = ["AttackInput"]


class AttackInput(NamedTuple):
    """Everything any attack may want; each takes what it needs and ignores the rest.

    Attributes:
        push: [B,D] or [B,G,D] features of the image's own identity, or None.
        push_mask: [B,G] boolean, or None for all.
        pull: [B,D] or [B,N,D] features of other identities, or None.
        pull_mask: [B,N] boolean, or None for all.
        key: a random key or [B] keys, for attacks that start at random.
        eps: budget, in pixel range.
        step_size: length of a step, in pixel range.
        steps: number of steps, static.
        threat: `linf` or `l2`.
        clean_features: [B,D] = embed(images) if the caller has them: saves one forward pass.
        decay: weight of the past gradients in a momentum rule, without unit.
        start: [B,H,W,C] starting images instead of clean or random ones; projected first.
        boost: what makes the attack work on other networks, too; static. One that draws needs key.
    """

    push: PushLike | None = None
    push_mask: MaskLike | None = None
    pull: PullLike | None = None
    pull_mask: MaskLike | None = None
    key: KeysLike | None = None
    eps: float | ArrayLike = EPS
    step_size: float | ArrayLike = STEP_SIZE
    steps: int = STEPS
    threat: ThreatOf = linf
    clean_features: FeaturesLike | None = None
    decay: float | ArrayLike = DECAY
    start: ImagesLike | None = None
    boost: Boost | None = None


def check_input(given: AttackInput) -> None:
    """Refuses anything but an `AttackInput`."""
    if not isinstance(given, AttackInput):
        raise InputError(f"given must be an AttackInput, got a {type(given).__name__}")
