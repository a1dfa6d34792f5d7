"""Foolbox's PGD on the same JAX network, given the objective of a metric attack."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxreid.types import Array, Embed

__all__ = ["foolbox_attack"]


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
    import eagerpy
    import foolbox

    push = embed(images)

    def loss(batch: Any) -> Any:
        features = model(batch).raw
        value = jnp.sum((features - push) ** 2)
        if pull is not None:
            value -= jnp.sum((features - pull) ** 2)
        return eagerpy.astensor(value)

    model = foolbox.JAXModel(embed, bounds=(0, 1), data_format="channels_last")
    attack = foolbox.attacks.LinfPGD(abs_stepsize=step_size, steps=steps, random_start=pull is None)
    # Foolbox's own place for another objective.
    attack.get_loss_fn = lambda model, labels: loss
    labels = eagerpy.astensor(jnp.zeros(len(images), jnp.int32))
    criterion = foolbox.criteria.Misclassification(labels)
    return attack.run(model, eagerpy.astensor(jax.device_put(images)), criterion, epsilon=eps).raw
