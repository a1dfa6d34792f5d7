"""What a defense adds to learning from attacked images: clean ones, consistency, moved weights."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from jaxreid.checks import check_choice
from jaxreid.collectives import Collective
from jaxreid.errors import InputError
from jaxreid.losses import feature_shift, similarity_divergence
from jaxreid.losses.triplets import Triplets
from jaxreid.training.state import Variables
from jaxreid.types import Array, ArrayLike, Embed

__all__ = [
    "BothSides",
    "Consistency",
    "Defense",
    "Penalty",
    "Perturbation",
    "consistent",
    "weight_perturbation",
]


class BothSides(NamedTuple):
    """What the network makes of this device's images as they are, and of the attacked ones.

    Attributes:
        clean: [B,D] features.
        attacked: [B,D] features of the same images.
        triplets: those that the adversary attacked, or None.
        step: [] integer, batches seen before this one.
    """

    clean: Array
    attacked: Array
    triplets: Triplets | None = None
    step: Array | int = 0


Consistency = Callable[[BothSides, Collective], tuple[Array, dict[str, Array]]]
"""(features of both sides, devices) -> loss [] of this device, metrics, each []."""

Penalty = Callable[[Embed, Array, ArrayLike, Collective], tuple[Array, dict[str, Array]]]
"""(network of the weights of now, images [B,H,W,3], labels [B], devices) -> as of a Consistency.

The network, on the running statistics, has gradients to the weights.
"""

Perturbation = Callable[[Variables, Variables], Variables]
"""(parameters, gradient of the loss) -> parameters at which the step's gradient is taken."""


class Defense(NamedTuple):
    """What is minimised over clean images x and what the adversary made of them, x'.

    ``L = a loss(f(x')) + c loss(f(x)) + consistency(f(x), f(x')) + penalty(f, x) + d V(D, f)``,
    with weights a, c and d, and what `opposed` says of V.

    Attributes:
        attacked_weight: a, at least 0.
        clean_weight: c, at least 0.
        consistency: of clean and attacked features, or None.
        together: whether clean and attacked images share BatchNorm's batch statistics; otherwise
            each half is normalised by its own, and the running statistics follow both. Of a state
            with auxiliary layers, clean images pass those.
        perturbation: `weight_perturbation(...)`, or None.
        discriminator_weight: d, at least 0; above 0 the state needs a discriminator.
        meta_step: of a step on half of each batch, from where the other half's L is looked at, see
            `jaxreid.training.self_meta`; 0 for none. Then there are no triplets.
        penalty: of the network around clean images, `bisector_penalty(...)`, or None.
    """

    attacked_weight: float = 1.0
    clean_weight: float = 0.0
    consistency: Consistency | None = None
    together: bool = True
    perturbation: Perturbation | None = None
    discriminator_weight: float = 0.0
    meta_step: float = 0.0
    penalty: Penalty | None = None

    @property
    def needs_clean(self) -> bool:
        """Whether the network sees the clean images, too."""
        compares = self.consistency is not None or self.discriminator_weight > 0
        return self.clean_weight > 0 or compares

    def check(self) -> None:
        """Raises InputError where nothing is minimised, or a weight is below 0."""
        weights = self.attacked_weight, self.clean_weight
        if min(weights) < 0 or max(weights) == 0:
            raise InputError(
                "attacked_weight and clean_weight must be 0 or more, and one of them above 0; got "
                f"{weights[0]:g} and {weights[1]:g}"
            )
        for name in ("discriminator_weight", "meta_step"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} must be 0 or more, got {getattr(self, name):g}")


def consistent(
    kind: Literal["features", "similarities"], weight: float, *, temperature: float = 0.1
) -> Consistency:
    """Makes the term that keeps attacked features where clean ones are.

    ``weight * feature_shift(f(x), f(x'))`` or ``weight * similarity_divergence(f(x), f(x'))``
    (`jaxreid.losses`), among the clean features of the whole batch: TRADES, Zhang et al., ICML
    2019, https://arxiv.org/abs/1901.08573, for a metric.

    Args:
        kind: "features" or "similarities".
        weight: above 0.
        temperature: of the similarities, above 0, without unit.

    Returns:
        The Consistency. Its metric is `inconsistency`, the term without its weight.

    Raises:
        InputError: another kind, or a number that is not above 0.
    """
    check_choice("kind", kind, ("features", "similarities"))
    if not (weight > 0 and temperature > 0):
        raise InputError(
            f"weight and temperature must be above 0, got {weight:g} and {temperature:g}"
        )

    def loss(sides: BothSides, devices: Collective) -> tuple[Array, dict[str, Array]]:
        clean, attacked = sides.clean, sides.attacked
        candidates = devices.gather(clean)
        if kind == "features":
            value = feature_shift(clean, attacked, candidates=candidates)
        else:
            value = similarity_divergence(
                clean,
                attacked,
                temperature=temperature,
                candidates=candidates,
                own_positions=devices.positions(len(clean)),
            )
        return weight * value, {"inconsistency": value}

    return loss


def weight_perturbation(size: float) -> Perturbation:
    """Moves weights to where the loss is higher, each tensor by a share of its length.

    ``w + size ||w|| g / ||g||`` for tensors of two axes or more, with the gradient g of the loss;
    biases and norms stay. The step's gradient is taken there and applied to w: Wu et al.,
    "Adversarial Weight Perturbation Helps Robust Generalization", NeurIPS 2020,
    https://arxiv.org/abs/2004.05884.

    Args:
        size: above 0, without unit (Wu et al.: 0.005 to 0.01).

    Returns:
        The Perturbation.

    Raises:
        InputError: a size that is not above 0.
    """
    if not size > 0:
        raise InputError(f"size of a weight perturbation must be above 0, got {size:g}")

    def moved(weights: Array, gradient: Array) -> Array:
        if weights.ndim < 2:
            return weights
        length = jnp.linalg.norm(gradient.ravel())
        # A gradient of zero has no direction.
        share = jnp.where(length > 0, jnp.linalg.norm(weights.ravel()) / length, 0)
        return weights + (size * share * gradient).astype(weights.dtype)

    return lambda params, gradient: jax.tree.map(moved, params, gradient)
