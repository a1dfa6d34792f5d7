"""A discriminator, which tells features of attacked images from clean ones and is to be fooled."""

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax import lax

from jaxreid.collectives import Collective
from jaxreid.pytrees import pytree_dataclass
from jaxreid.types import Array, ArrayLike, RandomKey

__all__ = ["Discriminator", "Opponent", "Suspects", "opposed"]

_WIDTH = 256


class Discriminator(nnx.Module):
    """Features [B,D] -> logits [B] that an image was not attacked: one hidden layer of 256 units.

    Args:
        size: D.
        rngs: of its first weights.
    """

    def __init__(self, size: int, *, rngs: nnx.Rngs) -> None:
        self.hidden = nnx.Linear(size, _WIDTH, rngs=rngs)
        self.out = nnx.Linear(_WIDTH, 1, rngs=rngs)

    def __call__(self, features: Array) -> Array:
        """Features [B,D], some units from 0 -> logits [B]."""
        return self.out(jax.nn.relu(self.hidden(features)))[:, 0]


@pytree_dataclass
@dataclass(frozen=True, eq=False, repr=False)
class Opponent:
    """A discriminator beside a network in training; it is saved with the run, not with the weights.

    Attributes:
        params: of `nnx.split`, trainable.
        optimizer_state: of the network's optimizer, for these parameters.
        graph: of `nnx.split`; static.
    """

    params: nnx.State[Any, Any]
    optimizer_state: optax.OptState
    graph: nnx.GraphDef[Any] = field(metadata={"static": True})

    @classmethod
    def create(cls, size: int, optimizer: optax.GradientTransformation, *, key: RandomKey) -> Self:
        """One that knows nothing yet.

        Args:
            size: D, of the features.
            optimizer: the network's.
            key: of its first weights.

        Returns:
            The Opponent.
        """
        graph, params = nnx.split(Discriminator(size, rngs=nnx.Rngs(key)), nnx.Param)
        return cls(params=params, optimizer_state=optimizer.init(params), graph=graph)

    def descended(
        self, gradient: nnx.State[Any, Any], optimizer: optax.GradientTransformation
    ) -> Self:
        """The same after one update.

        Args:
            gradient: of params.
            optimizer: the network's.

        Returns:
            The Opponent of after.
        """
        updates, kept = optimizer.update(gradient, self.optimizer_state, self.params)
        params = optax.apply_updates(self.params, updates)
        return replace(self, params=params, optimizer_state=kept)


class Suspects(NamedTuple):
    """What a discriminator looks at.

    Attributes:
        clean: [B,D] features of this device's images as they are.
        attacked: [B,D] features of what was made of them.
        changed: boolean [B], which of those an attack changed at all.
    """

    clean: Array
    attacked: Array
    changed: ArrayLike


def opposed(
    opponent: Opponent,
    params: nnx.State[Any, Any],
    suspects: Suspects,
    *,
    weight: float,
    devices: Collective,
) -> tuple[Array, dict[str, Array]]:
    """What a network gains by fooling a discriminator, which learns from the same number.

    ``min_f max_D w V(D, f)`` with ``V = E log D(f(x)) + E log(1 - D(f(x')))``: the value is ``w V``
    and its gradient goes to f alone; to D's parameters goes that of ``-V``. These are the gradients
    of a layer that reverses them (Ganin and Lempitsky, ICML 2015, https://arxiv.org/abs/1409.7495)
    written as two terms, because whoever differentiates a gradient once more needs it to be one.
    For robust re-ID: Zhou et al., AAAI 2026, https://arxiv.org/abs/2511.09933. D sees features as
    they lie about the mean of the whole batch's clean ones, over their spread: shrinking them, or
    moving all alike, fools nobody.

    Args:
        opponent: of before.
        params: of `opponent`, those to differentiate.
        suspects: of this device.
        weight: w, above 0.
        devices: those of the whole batch.

    Returns:
        w V of this device in nats; metrics `discriminator_loss`, -V, and `discriminator_accuracy`,
        the mean of the shares of clean and of attacked images that it tells right. Images that no
        attack changed do not count as attacked.
    """
    mean, scale = _frame(lax.stop_gradient(devices.gather(suspects.clean)))
    clean, attacked = ((rows - mean) * scale for rows in (suspects.clean, suspects.attacked))
    changed = jnp.asarray(suspects.changed)
    # Images are counted over all devices: one may hold fewer that were changed than another, and
    # the mean of devices less than one.
    count = devices.number_of(changed)

    def judged(params: nnx.State[Any, Any], rows: tuple[Array, Array]) -> tuple[Array, Array]:
        judge = nnx.merge(opponent.graph, params)
        first, second = (judge(features) for features in rows)
        missed = jnp.sum(jnp.where(changed, jax.nn.softplus(second), 0)) / count
        right = jnp.mean(first > 0) + jnp.sum(changed & (second < 0)) / count
        return jnp.mean(jax.nn.softplus(-first)) + missed, right / 2

    learned, _ = judged(params, lax.stop_gradient((clean, attacked)))
    fooled, right = judged(lax.stop_gradient(params), (clean, attacked))
    value = learned - lax.stop_gradient(learned) - weight * fooled
    return value, {"discriminator_loss": fooled, "discriminator_accuracy": right}


def _frame(clean: Array) -> tuple[Array, Array]:
    """Mean [D] and factor [] which give features a mean square of 1 in each place, on average."""
    mean = jnp.mean(clean, axis=0)
    square = jnp.mean(jnp.square(clean - mean))
    return mean, lax.rsqrt(jnp.where(square > 0, square, 1))
