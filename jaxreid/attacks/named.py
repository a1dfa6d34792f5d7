"""The published attacks: each one is an objective, a rule and a threat put together.

All of them take `embed` (images [B,H,W,C] in [0, 1] -> features [B,D]) and images, and return
adversarial images [B,H,W,C] in [0, 1] inside the threat model. `eps` and `step_size` are in pixel
range (5/255 is five grey levels) and may be traced; `steps` is static.
"""

from jaxreid.attacks.arguments import images_of
from jaxreid.attacks.guided import (
    ascend_guides,
    clean_features_of,
    join,
    refuse_unit_length,
    signed,
)
from jaxreid.attacks.rules import momentum_step, steepest_step
from jaxreid.attacks.threats import ThreatOf, allowed_by, linf
from jaxreid.errors import InputError
from jaxreid.random import keys_of_rows
from jaxreid.types import Array, ArrayLike, Embed

__all__ = ["fgsm", "fna", "ifgsm", "mifgsm", "noise", "odfa", "sma"]

EPS = 5 / 255
STEP_SIZE = 1 / 255
STEPS = 15
DECAY = 1.0
NEEDS_START = "sma needs key (or start): at the clean image its gradient is zero"


def noise(
    images: ArrayLike, key: Array, *, eps: float | ArrayLike = EPS, threat: ThreatOf = linf
) -> Array:
    """Uniform noise in the eps-ball: the baseline every attack must beat.

    ``x' = project(x + u)``, u uniform in the ball of the threat model.

    Args:
        images: [B,H,W,C] float32 or float64 in [0, 1].
        key: a random key, or [B] keys as `example_keys` makes them.
        eps: budget, in pixel range.
        threat: `linf` or `l2`.

    Returns:
        [B,H,W,C] in [0, 1].

    Raises:
        InputError: on bad images, key or eps.
    """
    images = images_of(images)
    allowed = allowed_by(threat, eps)
    keys = keys_of_rows(key, images.shape[0])
    return allowed.project(allowed.random_start(keys, images), images)


def fgsm(
    embed: Embed,
    images: ArrayLike,
    push: ArrayLike,
    *,
    push_mask: ArrayLike | None = None,
    eps: float | ArrayLike = EPS,
    threat: ThreatOf = linf,
) -> Array:
    """Fast Gradient Sign Method on a metric: one step of size eps away from the guides.

    ``x' = project(x + eps sign(grad_x sum_k ||f(x) - g_k||^2))``, Goodfellow et al., "Explaining
    and Harnessing Adversarial Examples", ICLR 2015, https://arxiv.org/abs/1412.6572.

    Args:
        embed: images [B,H,W,C] in [0, 1] -> features [B,D].
        images: [B,H,W,C] float32 or float64 in [0, 1].
        push: [B,D] or [B,G,D] features of other images of the same identity.
        push_mask: [B,G] boolean, False where a guide is padding; all True by default.
        eps: budget and step, in pixel range.
        threat: `linf` or `l2`.

    Returns:
        [B,H,W,C] in [0, 1]; an image without a guide is returned as it was.

    Raises:
        InputError: on bad images, guides, mask or eps.
    """
    allowed = allowed_by(threat, eps)
    rule = steepest_step(allowed.steepest, eps)
    guides = signed("push", push, push_mask, 1)
    return ascend_guides(embed, images, guides, threat=allowed, rule=rule, steps=1).images


def ifgsm(
    embed: Embed,
    images: ArrayLike,
    push: ArrayLike,
    *,
    push_mask: ArrayLike | None = None,
    eps: float | ArrayLike = EPS,
    step_size: float | ArrayLike = STEP_SIZE,
    steps: int = STEPS,
    key: Array | None = None,
    start: ArrayLike | None = None,
    threat: ThreatOf = linf,
) -> Array:
    """Iterative FGSM on a metric: small steps away from the guides, projected after each.

    ``x <- project(x + step_size sign(grad_x sum_k ||f(x) - g_k||^2))``, Kurakin et al.,
    "Adversarial Examples in the Physical World", ICLR Workshops 2017,
    https://arxiv.org/abs/1607.02533; on re-ID metrics: Bai et al., https://arxiv.org/abs/1901.10650.

    Args:
        embed: images [B,H,W,C] in [0, 1] -> features [B,D].
        images: [B,H,W,C] float32 or float64 in [0, 1].
        push: [B,D] or [B,G,D] features of other images of the same identity.
        push_mask: [B,G] boolean, False where a guide is padding; all True by default.
        eps: budget, in pixel range.
        step_size: length of a step, in pixel range.
        steps: number of steps, static.
        key: a random key or [B] keys, for a random start in the ball.
        start: [B,H,W,C] starting images; by default the clean ones.
        threat: `linf` or `l2`.

    Returns:
        [B,H,W,C] in [0, 1]; an image without a guide is returned as it was.

    Raises:
        InputError: on bad images, guides, mask, eps, step_size, steps or start.
    """
    allowed = allowed_by(threat, eps)
    rule = steepest_step(allowed.steepest, step_size)
    guides = signed("push", push, push_mask, 1)
    return ascend_guides(
        embed, images, guides, threat=allowed, rule=rule, steps=steps, key=key, start=start
    ).images


def mifgsm(
    embed: Embed,
    images: ArrayLike,
    push: ArrayLike,
    *,
    push_mask: ArrayLike | None = None,
    eps: float | ArrayLike = EPS,
    step_size: float | ArrayLike = STEP_SIZE,
    steps: int = STEPS,
    decay: float | ArrayLike = DECAY,
    key: Array | None = None,
    start: ArrayLike | None = None,
    threat: ThreatOf = linf,
) -> Array:
    """Momentum Iterative FGSM on a metric: steps along the sum of normalised gradients.

    ``m <- decay m + g / ||g||_1;  x <- project(x + step_size sign(m))`` with g the gradient of
    ``sum_k ||f(x) - g_k||^2``, Dong et al., "Boosting Adversarial Attacks with Momentum",
    CVPR 2018, https://arxiv.org/abs/1710.06081.

    Args:
        embed: images [B,H,W,C] in [0, 1] -> features [B,D].
        images: [B,H,W,C] float32 or float64 in [0, 1].
        push: [B,D] or [B,G,D] features of other images of the same identity.
        push_mask: [B,G] boolean, False where a guide is padding; all True by default.
        eps: budget, in pixel range.
        step_size: length of a step, in pixel range.
        steps: number of steps, static.
        decay: weight of the past gradients, without unit.
        key: a random key or [B] keys, for a random start in the ball.
        start: [B,H,W,C] starting images; by default the clean ones.
        threat: `linf` or `l2`.

    Returns:
        [B,H,W,C] in [0, 1]; an image without a guide is returned as it was.

    Raises:
        InputError: on bad images, guides, mask, eps, step_size, steps, decay or start.
    """
    allowed = allowed_by(threat, eps)
    rule = momentum_step(allowed.steepest, step_size, decay)
    guides = signed("push", push, push_mask, 1)
    return ascend_guides(
        embed, images, guides, threat=allowed, rule=rule, steps=steps, key=key, start=start
    ).images


def sma(
    embed: Embed,
    images: ArrayLike,
    key: Array | None = None,
    *,
    eps: float | ArrayLike = EPS,
    step_size: float | ArrayLike = STEP_SIZE,
    steps: int = STEPS,
    start: ArrayLike | None = None,
    clean_features: ArrayLike | None = None,
    threat: ThreatOf = linf,
) -> Array:
    """Self Metric Attack: push the image away from its own clean feature; needs no other image.

    ``x <- project(x + step_size sign(grad_x ||f(x) - f(x_clean)||^2))`` from a random start, since
    the gradient is zero at x_clean. Bouniot et al., CVPRW 2020,
    https://openaccess.thecvf.com/content_CVPRW_2020/html/w47/Bouniot_Vulnerability_of_Person_Re-Identification_Models_to_Metric_Adversarial_Attacks_CVPRW_2020_paper.html

    Args:
        embed: images [B,H,W,C] in [0, 1] -> features [B,D].
        images: [B,H,W,C] float32 or float64 in [0, 1].
        key: a random key or [B] keys for the random start; not with start.
        eps: budget, in pixel range.
        step_size: length of a step, in pixel range.
        steps: number of steps, static.
        start: [B,H,W,C] starting images instead of random ones.
        clean_features: [B,D] = embed(images) if the caller has them: saves one forward pass.
        threat: `linf` or `l2`.

    Returns:
        [B,H,W,C] in [0, 1].

    Raises:
        InputError: on bad images, eps, step_size, steps or start, or with neither key nor start.
    """
    if key is None and start is None:
        raise InputError(NEEDS_START)
    images = images_of(images)
    allowed = allowed_by(threat, eps)
    rule = steepest_step(allowed.steepest, step_size)
    guides = signed("clean_features", clean_features_of(embed, images, clean_features), None, 1)
    return ascend_guides(
        embed, images, guides, threat=allowed, rule=rule, steps=steps, key=key, start=start
    ).images


def odfa(
    embed: Embed,
    images: ArrayLike,
    *,
    eps: float | ArrayLike = EPS,
    step_size: float | ArrayLike = STEP_SIZE,
    steps: int = STEPS,
    key: Array | None = None,
    start: ArrayLike | None = None,
    clean_features: ArrayLike | None = None,
    threat: ThreatOf = linf,
) -> Array:
    """Opposite-Direction Feature Attack: pull the feature towards its own negative.

    ``x <- project(x - step_size sign(grad_x ||f(x) + f(x_clean)||^2))``, Zheng et al., "Open Set
    Adversarial Examples", 2018, https://arxiv.org/abs/1809.02681. Bouniot et al. climb the same
    distance instead of descending it, which is why the attack looks weak in their figures.

    On features of unit length (any fixed length) the gradient at x_clean is zero, and its sign
    rounding noise: a change can only be orthogonal to such a feature, along which the objective
    points. There the attack needs a random start, as `sma` does.

    Args:
        embed: images [B,H,W,C] in [0, 1] -> features [B,D].
        images: [B,H,W,C] float32 or float64 in [0, 1].
        eps: budget, in pixel range.
        step_size: length of a step, in pixel range.
        steps: number of steps, static.
        key: a random key or [B] keys, for a random start in the ball.
        start: [B,H,W,C] starting images; by default, without key, the clean ones.
        clean_features: [B,D] = embed(images) if the caller has them: saves one forward pass.
        threat: `linf` or `l2`.

    Returns:
        [B,H,W,C] in [0, 1].

    Raises:
        InputError: on bad images, eps, step_size, steps or start; or with neither key nor start
            where all features have unit length.
    """
    images = images_of(images)
    allowed = allowed_by(threat, eps)
    rule = steepest_step(allowed.steepest, step_size)
    clean = clean_features_of(embed, images, clean_features)
    if key is None and start is None:
        refuse_unit_length("odfa", clean)
    guides = signed("clean_features", -clean, None, -1)
    return ascend_guides(
        embed, images, guides, threat=allowed, rule=rule, steps=steps, key=key, start=start
    ).images


def fna(
    embed: Embed,
    images: ArrayLike,
    push: ArrayLike | None,
    pull: ArrayLike | None,
    *,
    push_mask: ArrayLike | None = None,
    pull_mask: ArrayLike | None = None,
    eps: float | ArrayLike = EPS,
    step_size: float | ArrayLike = STEP_SIZE,
    steps: int = STEPS,
    key: Array | None = None,
    start: ArrayLike | None = None,
    threat: ThreatOf = linf,
) -> Array:
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
        InputError: on bad images, guides, masks, eps, step_size, steps or start, or if push and
            pull are both None.
    """
    pushing = None if push is None else signed("push", push, push_mask, 1)
    pulling = None if pull is None else signed("pull", pull, pull_mask, -1)
    if pushing is not None and pulling is not None:
        guides = join(pushing, pulling)
    elif (given := pushing or pulling) is not None:
        guides = given
    else:
        raise InputError("fna needs push or pull guides, got neither")
    allowed = allowed_by(threat, eps)
    rule = steepest_step(allowed.steepest, step_size)
    return ascend_guides(
        embed, images, guides, threat=allowed, rule=rule, steps=steps, key=key, start=start
    ).images
