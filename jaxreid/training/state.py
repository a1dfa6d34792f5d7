"""What training changes from step to step on the devices, and how it is saved."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jaxreid.errors import InputError
from jaxreid.models import Embedding, embedding
from jaxreid.models.folding import Target
from jaxreid.models.normalization import Statistics
from jaxreid.pytrees import pytree_dataclass
from jaxreid.training.auxiliary import Auxiliary, learned
from jaxreid.training.discriminator import Opponent
from jaxreid.types import Array, ArrayLike

__all__ = [
    "TrainBatch",
    "TrainState",
    "Variables",
    "arrays_of",
    "split",
    "with_arrays",
]

Variables = nnx.State[Any, Any]
"""Parameters or statistics of a network, as `nnx.split` gives them."""


def split(model: nnx.Module) -> tuple[nnx.GraphDef[Any], Variables, Variables]:
    """A network's graph, its parameters, and all else that it holds: running statistics."""
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
        cameras: [B] int32 from 0, of the images; None where the network takes no cameras.
        push_cameras: [B,P] int32, of the pushing images; likewise.
    """

    images: Array
    labels: ArrayLike
    indices: ArrayLike
    push_images: Array
    push_indices: ArrayLike
    push_mask: ArrayLike
    cameras: ArrayLike | None = None
    push_cameras: ArrayLike | None = None


@pytree_dataclass
@dataclass(frozen=True, eq=False, repr=False)
class TrainState:
    """Parameters, statistics, optimiser and the rest that one step hands to the next.

    Attributes:
        step: [] int32, batches seen.
        params: of `nnx.split`, trainable.
        stats: of `nnx.split`, BatchNorm's running statistics and whatever else is not trained.
        optimizer_state: of `optimizer`.
        average: moving average of params, or None.
        average_stats: as stats, of the network whose params are the average, or None for stats.
        auxiliary: BatchNorm layers that clean images pass, or None for those of all images.
        bank: [N,D] features of all training images, in the unit of the embedding, or None.
        triplet_loss: [] float32, the mean loss of the triplets of the last update, without unit; or
            None, where no adversary asks for it.
        graph: of `nnx.split`; static.
        optimizer: static.
        universal: [H,W,3] float32, in pixel range, one perturbation of all images; or None.
        discriminator: trained beside the network, or None.
        target: the platform that `embed` prepares the network for, None for that of the default
            device; static. It matters where a step is compiled for devices of another kind.
    """

    step: Array
    params: Variables
    stats: Variables
    optimizer_state: optax.OptState
    average: Variables | None
    average_stats: Variables | None
    auxiliary: Auxiliary | None
    bank: ArrayLike | None
    triplet_loss: ArrayLike | None
    graph: nnx.GraphDef[Any] = field(metadata={"static": True})
    optimizer: optax.GradientTransformation = field(metadata={"static": True})
    universal: ArrayLike | None = None
    discriminator: Opponent | None = None
    target: Target | None = field(default=None, metadata={"static": True})

    @classmethod
    def create(
        cls,
        model: nnx.Module,
        optimizer: optax.GradientTransformation,
        *,
        averaged: bool = False,
        average_stats: bool = False,
        auxiliary: Auxiliary | None = None,
        bank: ArrayLike | None = None,
        triplet_loss: float | None = None,
    ) -> Self:
        """The state before the first step.

        Args:
            model: takes images and `batch_norm`, returns Outputs, as ReID does.
            optimizer: its updates are added to the parameters.
            averaged: whether a moving average of the parameters is kept.
            average_stats: whether that average has statistics of its own.
            auxiliary: of `auxiliary_of`, if clean images pass BatchNorm layers of their own.
            bank: [N,D] features of all training images, if the adversary wants them.
            triplet_loss: what stands for the one of the update before the first, if the adversary
                wants it.

        Returns:
            The state.
        """
        graph, params, stats = split(model)
        return cls(
            step=jnp.zeros((), jnp.int32),
            params=params,
            stats=stats,
            optimizer_state=optimizer.init(learned(params, auxiliary)),
            average=params if averaged else None,
            average_stats=stats if averaged and average_stats else None,
            auxiliary=auxiliary,
            bank=bank,
            triplet_loss=None if triplet_loss is None else jnp.float32(triplet_loss),
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
            images [B,H,W,3] in [0, 1] -> features [B,D], without gradients to the weights; of some
            networks it must be told the cameras (`jaxreid.cameras.seen_by`).
        """
        network = embedding(self.graph, self.params, self.stats, batch_norm=batch_norm)
        return network.frozen(target=self.target)

    def model(self) -> Any:
        """The network that training is after: with averaged parameters if there are any.

        Returns:
            A module of its own.
        """
        params = self.params if self.average is None else self.average
        stats = self.stats if self.average_stats is None else self.average_stats
        return nnx.merge(self.graph, params, stats, copy=True)


def _named(state: TrainState) -> tuple[dict[str, Array], jax.tree_util.PyTreeDef]:
    """The leaves that are saved by name, and the tree they come from.

    Graph and optimizer, which are static, are made anew from the configuration.
    """
    fields = (field for field in dataclasses.fields(state) if not field.metadata.get("static"))
    saved = {field.name: getattr(state, field.name) for field in fields}
    leaves, tree = jax.tree_util.tree_flatten_with_path(saved)
    names = [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in leaves]
    return dict(zip(names, (leaf for _, leaf in leaves), strict=True)), tree


def arrays_of(state: TrainState) -> dict[str, np.ndarray]:
    """Copies a state to the host, by name, into memory of its own: a step overwrites the state's.

    The state is on one device, or on the host.
    """
    return {name: np.array(leaf, copy=True) for name, leaf in _named(state)[0].items()}


def with_arrays(state: TrainState, arrays: Mapping[str, np.ndarray]) -> TrainState:
    """Puts arrays of `arrays_of` into a state of the same network and optimiser, on the host."""
    leaves, tree = _named(state)
    wrong = sorted(
        name
        for name in leaves.keys() | arrays.keys()
        if name not in leaves
        or name not in arrays
        or np.shape(leaves[name]) != np.shape(arrays[name])
    )
    if wrong:
        raise InputError(
            f"the checkpoint is of another network or optimiser: {len(wrong)} of {len(leaves)} "
            f"arrays differ, {wrong[0]} for one"
        )
    return state.replace(**jax.tree.unflatten(tree, [arrays[name] for name in leaves]))
