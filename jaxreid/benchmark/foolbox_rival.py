"""Foolbox's PGD on the same JAX network, given the objective of a metric attack."""

from collections.abc import Callable

import eagerpy
import foolbox
import jax
import jax.numpy as jnp

from jaxreid.types import Array, Embed

__all__ = ["foolbox_attack"]


class _MetricPGD(foolbox.attacks.LinfPGD):
    """PGD away from one feature and, if there is one, towards another."""

    def __init__(self, push: Array, pull: Array | None, step_size: float, steps: int) -> None:
        super().__init__(abs_stepsize=step_size, steps=steps, random_start=pull is None)
        self.push, self.pull = push, pull

    def get_loss_fn(
        self, model: foolbox.Model, labels: eagerpy.Tensor
    ) -> Callable[[eagerpy.Tensor], eagerpy.Tensor]:
        def loss(images: eagerpy.Tensor) -> eagerpy.Tensor:
            features = model(images).raw
            value = jnp.sum((features - self.push) ** 2)
            if self.pull is not None:
                value -= jnp.sum((features - self.pull) ** 2)
            return eagerpy.astensor(value)

        return loss


def foolbox_attack(
    embed: Embed,
    images: Array,
    pull: Array | None,
    *,
    eps: float,
    step_size: float,
    steps: int,
) -> Array:
    """SMA, or FNA with the own feature as its pushing guide.

    Args:
        embed: images [B,H,W,3] -> features [B,D]; compiled, or Foolbox runs it layer by layer.
        images: [B,H,W,3] in [0, 1].
        pull: [B,D], what FNA approaches; None for SMA.
        eps: budget in pixel range.
        step_size: in pixel range.
        steps: number of steps.

    Returns:
        [B,H,W,3] in [0, 1].
    """
    model = foolbox.JAXModel(embed, bounds=(0, 1), data_format="channels_last")
    attack = _MetricPGD(embed(images), pull, step_size, steps)
    labels = eagerpy.astensor(jnp.zeros(len(images), jnp.int32))
    criterion = foolbox.criteria.Misclassification(labels)
    return attack.run(model, eagerpy.astensor(jax.device_put(images)), criterion, epsilon=eps).raw
