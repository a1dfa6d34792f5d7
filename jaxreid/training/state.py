"""What training changes from step to step, as one pytree."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from jaxreid.models import Embedding, embedding
from jaxreid.models.normalization import Statistics
from jaxreid.types import Array, ArrayLike

__all__ = ["TrainBatch", "TrainState", "split"]


def split(model: nnx.Module) -> tuple[Any, Any, Any]:
    """Takes a network apart.

    Args:
        model: any.

    Returns:
        Its graph, what is trained, and all else that it holds, running statistics above all.
    """
    graph, params, *rest = nnx.split(model, nnx.Param, ...)
    return graph, params, rest[0]


class TrainBatch(NamedTuple):
    """The examples of one device.

    Attributes:
        images: [B,H,W,3] floating point in [0, 1], augmented.
        labels: [B] int32, training labels from 0.
        indices: [B] int32, positions in the training split.
        push_images: [B,P,H,W,3] floating point in [0, 1], or [B,0,...] without.
        push_indices: [B,P] int32, their positions; -1 in padding.
        push_mask: [B,P] boolean; False is padding.
    """

    images: Array
    labels: ArrayLike
    indices: ArrayLike
    push_images: Array
    push_indices: ArrayLike
    push_mask: ArrayLike


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False, repr=False)
class TrainState:
    """Parameters, statistics, optimiser and the rest that one step hands to the next.

    Attributes:
        step: [] int32, batches seen.
        params: of `nnx.split`, trainable.
        stats: of `nnx.split`, BatchNorm's running statistics and whatever else is not trained.
        optimizer_state: of `optimizer`.
        average: moving average of params, or None.
        bank: [N,D] features of all training images, in the unit of the embedding, or None.
        graph: of `nnx.split`; static.
        optimizer: static.
    """

    step: Array
    params: Any
    stats: Any
    optimizer_state: Any
    average: Any
    bank: ArrayLike | None
    graph: Any = field(metadata={"static": True})
    optimizer: optax.GradientTransformation = field(metadata={"static": True})

    @classmethod
    def create(
        cls,
        model: nnx.Module,
        optimizer: optax.GradientTransformation,
        *,
        averaged: bool = False,
        bank: ArrayLike | None = None,
    ) -> Self:
        """The state before the first step.

        Args:
            model: takes images and `batch_norm`, returns Outputs, as ReID does.
            optimizer: its updates are added to the parameters.
            averaged: whether a moving average of the parameters is kept.
            bank: [N,D] features of all training images, if the adversary wants them.

        Returns:
            The state.
        """
        graph, params, stats = split(model)
        return cls(
            step=jnp.zeros((), jnp.int32),
            params=params,
            stats=stats,
            optimizer_state=optimizer.init(params),
            average=params if averaged else None,
            bank=bank,
            graph=graph,
            optimizer=optimizer,
        )

    def replace(self, **changes: Any) -> Self:
        """A copy with other values.

        Args:
            **changes: attribute -> value.

        Returns:
            The new state.
        """
        return dataclasses.replace(self, **changes)

    def embed(self, batch_norm: Statistics = "running") -> Embedding:
        """The network as a function of images, with the weights of this step, frozen.

        Args:
            batch_norm: see `jaxreid.models.embedding`.

        Returns:
            images [B,H,W,3] in [0, 1] -> features [B,D], without gradients to the weights.
        """
        return embedding(self.graph, self.params, self.stats, batch_norm=batch_norm).frozen()

    def model(self) -> Any:
        """The network that training is after: with averaged parameters if there are any.

        Returns:
            A module of its own.
        """
        params = self.params if self.average is None else self.average
        return nnx.merge(self.graph, params, self.stats, copy=True)
