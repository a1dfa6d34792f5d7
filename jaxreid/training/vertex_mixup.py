"""Images and labels between the clean image and a vertex beyond the attacked one."""

import jax
import jax.numpy as jnp

from jaxreid.checks import check_count
from jaxreid.collectives import Collective
from jaxreid.errors import InputError
from jaxreid.losses import smoothed_labels
from jaxreid.random import numbered
from jaxreid.training.inner_attack import Adversary, Attacked
from jaxreid.training.state import TrainBatch, TrainState
from jaxreid.types import Array

__all__ = ["mixed_with_vertex"]

# What is folded into an image's key; smaller numbers are of the adversaries.
_SHARE = 4


def mixed_with_vertex(
    adversary: Adversary,
    classes: int,
    *,
    stretch: float = 2.0,
    low: float = 0.0,
    high: float = 1.0,
    clean_label: float = 1.0,
    vertex_label: float = 0.1,
    guide_label: float = 0.0,
) -> Adversary:
    """Makes an adversary whose images and labels lie between the clean and a vertex beyond x'.

    ``x_t = x + g (x' - x);  x_adv = w x + (1 - w) x_t,  w ~ U(a, b)`` of each image, cut to
    [0, 1], with the label ``y_adv = w phi(y, l1) + (1 - w) tau(phi(y, l2), u)``: phi is
    `jaxreid.losses.smoothed_labels`, and tau moves a share u of the label from the image's class to
    those of its pulling guides, in equal parts. With u = 0 it is AVmixup, Lee et al., "Adversarial
    Vertex Mixup", CVPR 2020, https://arxiv.org/abs/2003.02484, whose values for CIFAR-10 are the
    defaults; with u > 0 FNES of DDDefense, Zhou et al., AAAI 2026,
    https://arxiv.org/abs/2511.09933, whose values for g, a, b, l1, l2 and u are not public.

    An image that was not changed, because it stays clean or had nothing to go for, is learned with
    the label of w = 1.

    Args:
        adversary: what makes x' of x; where u > 0 one that says whom it aimed at, as `goat` with
            pulling guides.
        classes: K, those of the classifier, at least 2.
        stretch: g, at least 1: how far beyond x' the vertex is.
        low: a, in [0, 1].
        high: b, from a to 1.
        clean_label: l1 in [0, 1], share of the own class in the label of the clean image.
        vertex_label: l2 in [0, 1], the same at the vertex.
        guide_label: u, from 0 to l2.

    Returns:
        The Adversary, with `targets`; of images without pulling guides nothing is moved. Beside the
        metrics of the one that it is made of it has `reach`, the mean of (1 - w) g: the images' way
        as a multiple of that of x'.

    Raises:
        InputError: a number out of range, or, when a batch is attacked, u > 0 with an adversary
            that does not say whom it aimed at.
    """
    classes = check_count("classes", classes, least=2)
    _check(stretch, low, high)
    if not (0 <= clean_label <= 1 and 0 <= guide_label <= vertex_label <= 1):
        raise InputError(
            "clean_label and vertex_label must lie in [0, 1] and guide_label from 0 to "
            f"vertex_label, got {clean_label:g}, {vertex_label:g} and {guide_label:g}"
        )

    def mixed(
        state: TrainState, batch: TrainBatch, keys: Array, start: Array | None, devices: Collective
    ) -> Attacked:
        attacked = adversary(state, batch, keys, start, devices)
        change = attacked.images - batch.images
        share = _drawn(numbered(keys, _SHARE), low, high).astype(change.dtype)
        share = jnp.where(jnp.any(change != 0, axis=(1, 2, 3)), share, 1)
        reach = (1 - share) * stretch
        images = jnp.clip(batch.images + reach[:, None, None, None] * change, 0, 1)
        there = smoothed_labels(batch.labels, classes, vertex_label)
        if guide_label:
            there = there + guide_label * _towards(attacked.aims, batch, classes)
        clean, weight = smoothed_labels(batch.labels, classes, clean_label), share[:, None]
        return attacked._replace(
            images=images,
            targets=weight * clean + (1 - weight) * there,
            metrics={**attacked.metrics, "reach": jnp.mean(reach)},
        )

    return mixed


def _check(stretch: float, low: float, high: float) -> None:
    if not stretch >= 1:
        raise InputError(f"stretch must be at least 1, got {stretch:g}")
    if not 0 <= low <= high <= 1:
        raise InputError(f"low and high must ascend in [0, 1], got {low:g} and {high:g}")


def _drawn(keys: Array, low: float, high: float) -> Array:
    """The share of the clean image in each mix, [B]."""
    return jax.vmap(lambda key: jax.random.uniform(key, minval=low, maxval=high))(keys)


def _towards(aims: Array | None, batch: TrainBatch, classes: int) -> Array:
    """From an image's class to those of its guides, [B,K]: rows that sum to 0."""
    if aims is None:
        raise InputError(
            "guide_label needs an adversary that says whom it aimed at: goat(pull=1) for one"
        )
    there = aims >= 0
    # In padding a row of zeros.
    guides = jnp.sum(jax.nn.one_hot(aims, classes), axis=1)
    guides = guides / jnp.maximum(jnp.sum(there, axis=1, keepdims=True), 1)
    own = jax.nn.one_hot(batch.labels, classes)
    return jnp.where(jnp.any(there, axis=1, keepdims=True), guides - own, 0)
