"""Named attacks: each runs one spec of `ATTACKS`, and says which paper it is from.

All of them return images [B,H,W,C] in [0, 1] inside the threat model. `eps` and `step_size` are in
pixel range (5/255 is five grey levels) and may be traced; `steps` is static. Those that pull
towards images of other people are in `jaxreid.attacks.negatives`.
"""

from jaxreid.attacks.inputs import AttackInput
from jaxreid.attacks.specs import ATTACKS
from jaxreid.attacks.threats import ThreatOf, linf
from jaxreid.constants import DECAY, EPS, STEP_SIZE, STEPS
from jaxreid.types import (
    ArrayLike,
    Embed,
    FeaturesLike,
    Images,
    ImagesLike,
    KeysLike,
    MaskLike,
    PushLike,
)

__all__ = ["fgsm", "ifgsm", "mifgsm", "noise", "odfa", "run_named", "sma"]


def run_named(name: str, embed: Embed, images: ImagesLike, given: AttackInput) -> Images:
    """Runs a row of the table; whoever gives a key wants a random start."""
    spec = ATTACKS[name] if given.key is None else ATTACKS[name]._replace(start="random")
    return spec.run(embed, images, given)


def noise(
    images: ImagesLike, key: KeysLike, *, eps: float | ArrayLike = EPS, threat: ThreatOf = linf
) -> Images:
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
    # Without gradient nothing is embedded.
    return run_named("noise", lambda x: x, images, AttackInput(key=key, eps=eps, threat=threat))


def fgsm(
    embed: Embed,
    images: ImagesLike,
    push: PushLike,
    *,
    push_mask: MaskLike | None = None,
    eps: float | ArrayLike = EPS,
    threat: ThreatOf = linf,
) -> Images:
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
    return run_named("fgsm", embed, images, AttackInput(push, push_mask, eps=eps, threat=threat))


def ifgsm(
    embed: Embed,
    images: ImagesLike,
    push: PushLike,
    *,
    push_mask: MaskLike | None = None,
    eps: float | ArrayLike = EPS,
    step_size: float | ArrayLike = STEP_SIZE,
    steps: int = STEPS,
    key: KeysLike | None = None,
    start: ImagesLike | None = None,
    threat: ThreatOf = linf,
) -> Images:
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
    given = AttackInput(eps=eps, step_size=step_size, steps=steps, threat=threat)
    given = given._replace(push=push, push_mask=push_mask, key=key, start=start)
    return run_named("ifgsm", embed, images, given)


def mifgsm(
    embed: Embed,
    images: ImagesLike,
    push: PushLike,
    *,
    push_mask: MaskLike | None = None,
    eps: float | ArrayLike = EPS,
    step_size: float | ArrayLike = STEP_SIZE,
    steps: int = STEPS,
    decay: float | ArrayLike = DECAY,
    key: KeysLike | None = None,
    start: ImagesLike | None = None,
    threat: ThreatOf = linf,
) -> Images:
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
    given = AttackInput(eps=eps, step_size=step_size, steps=steps, threat=threat)
    given = given._replace(push=push, push_mask=push_mask, decay=decay, key=key, start=start)
    return run_named("mifgsm", embed, images, given)


def sma(
    embed: Embed,
    images: ImagesLike,
    key: KeysLike | None = None,
    *,
    eps: float | ArrayLike = EPS,
    step_size: float | ArrayLike = STEP_SIZE,
    steps: int = STEPS,
    start: ImagesLike | None = None,
    clean_features: FeaturesLike | None = None,
    threat: ThreatOf = linf,
) -> Images:
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
        InputError: on bad arguments, or with neither key nor start.
    """
    given = AttackInput(eps=eps, step_size=step_size, steps=steps, threat=threat)
    given = given._replace(key=key, start=start, clean_features=clean_features)
    return run_named("sma", embed, images, given)


def odfa(
    embed: Embed,
    images: ImagesLike,
    *,
    eps: float | ArrayLike = EPS,
    step_size: float | ArrayLike = STEP_SIZE,
    steps: int = STEPS,
    key: KeysLike | None = None,
    start: ImagesLike | None = None,
    clean_features: FeaturesLike | None = None,
    threat: ThreatOf = linf,
) -> Images:
    """Opposite-Direction Feature Attack: pull the feature towards its own negative.

    ``x <- project(x - step_size sign(grad_x ||f(x) + f(x_clean)||^2))``, Zheng et al., "Open Set
    Adversarial Examples", 2018, https://arxiv.org/abs/1809.02681. Bouniot et al. climb the same
    distance instead of descending it, which is why the attack looks weak in their results.

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
        InputError: on bad arguments, or with neither key nor start on features of unit length.
    """
    given = AttackInput(eps=eps, step_size=step_size, steps=steps, threat=threat)
    given = given._replace(key=key, start=start, clean_features=clean_features)
    return run_named("odfa", embed, images, given)
