"""An adversary that is another one in every batch."""

from collections.abc import Callable, Sequence

import jax
from jax import lax

from jaxreid.collectives import Collective
from jaxreid.errors import InputError
from jaxreid.training.inner_attack import Adversary, Attacked
from jaxreid.training.state import TrainBatch, TrainState
from jaxreid.types import Array

__all__ = ["one_of"]

# What is folded into the key of the batch's first image; smaller numbers are of single images.
_WHICH = 5


def one_of(adversaries: Sequence[Adversary]) -> Adversary:
    """Makes an adversary that is one of several, drawn for every batch.

    So that a network does not come to resist one objective alone: adversarial training against
    several kinds of perturbation by one drawn at random, where the batch is the unit. Tramer and
    Boneh, NeurIPS 2019, https://arxiv.org/abs/1904.13000. Which one it is depends on the key of the
    first image of the whole batch, and is the same on every device and in every replay.

    Args:
        adversaries: at least one, whose metrics have the same names, and all with `triplets` or all
            without.

    Returns:
        The Adversary. It does not say whom it aimed at: not all of them aim at somebody. Its
        metrics are those of the one that was drawn.

    Raises:
        InputError: there is none.
    """
    if not adversaries:
        raise InputError("one_of needs at least one adversary, got none")

    def adversary(
        state: TrainState, batch: TrainBatch, keys: Array, start: Array | None, devices: Collective
    ) -> Attacked:
        def branch(one: Adversary) -> Callable[[], Attacked]:
            return lambda: one(state, batch, keys, start, devices)._replace(aims=None)

        # All devices take the same branch, or those that exchange features in it would wait.
        first = devices.gather(jax.random.key_data(keys))[0]
        key = jax.random.fold_in(jax.random.wrap_key_data(first), _WHICH)
        which = jax.random.randint(key, (), 0, len(adversaries))
        return lax.switch(which, [branch(one) for one in adversaries])

    return adversary
