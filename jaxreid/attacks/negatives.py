"""Named attacks that pull an image towards other people: the furthest one, or the nearest images.

Like those of `jaxreid.attacks.named` they run one spec of `ATTACKS` each, and return images
[B,H,W,C] in [0, 1] inside the threat model.
"""

from jaxreid.attacks.inputs import AttackInput
from jaxreid.attacks.named import run_named
from jaxreid.attacks.threats import ThreatOf, linf
from jaxreid.constants import EPS, STEP_SIZE, STEPS
from jaxreid.types import (
    ArrayLike,
    Embed,
    Images,
    ImagesLike,
    KeysLike,
    MaskLike,
    PullLike,
    PushLike,
)

__all__ = ["fna", "nna"]


def fna(
    embed: Embed,
    images: ImagesLike,
    push: PushLike | None,
    pull: PullLike | None,
    *,
    push_mask: MaskLike | None = None,
    pull_mask: MaskLike | None = None,
    eps: float | ArrayLike = EPS,
    step_size: float | ArrayLike = STEP_SIZE,
    steps: int = STEPS,
    key: KeysLike | None = None,
    start: ImagesLike | None = None,
    threat: ThreatOf = linf,
) -> Images:
    """Furthest-Negative Attack: away from the own identity, towards the furthest other one.

    ``x <- project(x + step_size sign(grad_x (sum_p ||f(x) - g_p||^2 - sum_n ||f(x) - g_n||^2)))``,
    Bouniot et al., CVPRW 2020,
    https://openaccess.thecvf.com/content_CVPRW_2020/html/w47/Bouniot_Vulnerability_of_Person_Re-Identification_Models_to_Metric_Adversarial_Attacks_CVPRW_2020_paper.html
    `jaxreid.guides` chooses the guides; its ablations are `push=None`, `pull=None`, and pulling
    towards a random other identity.

    Args:
        embed: images [B,H,W,C] in [0, 1] -> features [B,D].
        images: [B,H,W,C] float32 or float64 in [0, 1].
        push: [B,D] or [B,G,D] features of other images of the same identity, or None.
        pull: [B,D] or [B,N,D] features of the identity to resemble (its mean), or None.
        push_mask: [B,G] boolean, False where a pushing guide is padding; all True by default.
        pull_mask: [B,N] boolean, False where a pulling guide is padding; all True by default.
        eps: budget, in pixel range.
        step_size: length of a step, in pixel range.
        steps: number of steps, static.
        key: a random key or [B] keys, for a random start in the ball.
        start: [B,H,W,C] starting images; by default the clean ones.
        threat: `linf` or `l2`.

    Returns:
        [B,H,W,C] in [0, 1]; an image without any guide is returned as it was.

    Raises:
        InputError: on bad arguments, or if push and pull are both None.
    """
    given = AttackInput(push, push_mask, pull, pull_mask, key=key, start=start)
    given = given._replace(eps=eps, step_size=step_size, steps=steps, threat=threat)
    return run_named("fna", embed, images, given)


def nna(
    embed: Embed,
    images: ImagesLike,
    push: PushLike | None,
    pull: PullLike | None,
    *,
    push_mask: MaskLike | None = None,
    pull_mask: MaskLike | None = None,
    eps: float | ArrayLike = EPS,
    step_size: float | ArrayLike = STEP_SIZE,
    steps: int = STEPS,
    key: KeysLike | None = None,
    start: ImagesLike | None = None,
    threat: ThreatOf = linf,
) -> Images:
    """Nearest-Negatives Attack: away from the own identity, towards the nearest images of others.

    ``x <- project(x + step_size sign(grad_x (mean_p ||f(x) - g_p||^2 - mean_n ||f(x) - g_n||^2)))``
    over the P images of the person and the k images of others that are nearest to the clean image.
    It has the cost, the steps and the knowledge of `fna`, and no paper: a person is lost as soon as
    those who were near already come first, for which a small change does. As means the two sides
    weigh the same, however many guides they have; k * ||f||^2 would outweigh P * ||f||^2 in sums,
    and the feature shrink. Its ablation is in docs/attacks.md.
    `jaxreid.guides.nearest_other` chooses the pulling guides.

    Args:
        embed: images [B,H,W,C] in [0, 1] -> features [B,D].
        images: [B,H,W,C] float32 or float64 in [0, 1].
        push: [B,D] or [B,G,D] features of other images of the same identity, or None.
        pull: [B,D] or [B,N,D] features of the nearest images of other identities, or None.
        push_mask: [B,G] boolean, False where a pushing guide is padding; all True by default.
        pull_mask: [B,N] boolean, False where a pulling guide is padding; all True by default.
        eps: budget, in pixel range.
        step_size: length of a step, in pixel range.
        steps: number of steps, static.
        key: a random key or [B] keys, for a random start in the ball.
        start: [B,H,W,C] starting images; by default the clean ones.
        threat: `linf` or `l2`.

    Returns:
        [B,H,W,C] in [0, 1]; an image without any guide is returned as it was.

    Raises:
        InputError: on bad arguments, or if push and pull are both None.
    """
    given = AttackInput(push, push_mask, pull, pull_mask, key=key, start=start)
    given = given._replace(eps=eps, step_size=step_size, steps=steps, threat=threat)
    return run_named("nna", embed, images, given)
