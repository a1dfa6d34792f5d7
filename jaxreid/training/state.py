"""What training changes from step to step, on the devices and beside them, and how it is saved."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jaxreid.errors import InputError
from jaxreid.models import Embedding, embedding
from jaxreid.models.normalization import Statistics
from jaxreid.types import Array, ArrayLike

__all__ = [
    "Outcome",
    "Position",
    "TrainBatch",
    "TrainState",
    "arrays_of",
    "split",
    "with_arrays",
]

# What a checkpoint holds; graph and optimizer are made anew from the configuration.
_SAVED = ("step", "params", "stats", "optimizer_state", "average", "bank")
_PACKAGES = ("jaxreid", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def split(model: nnx.Module) -> tuple[nnx.GraphDef[Any], nnx.State, nnx.State]:
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
    params: nnx.State
    stats: nnx.State
    optimizer_state: optax.OptState
    average: nnx.State | None
    bank: ArrayLike | None
    graph: nnx.GraphDef[Any] = field(metadata={"static": True})
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


def _named(state: TrainState) -> tuple[dict[str, Array], jax.tree_util.PyTreeDef]:
    """The leaves that are saved by name, and the tree they come from."""
    saved = {name: getattr(state, name) for name in _SAVED}
    leaves, tree = jax.tree_util.tree_flatten_with_path(saved)
    names = [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in leaves]
    return dict(zip(names, (leaf for _, leaf in leaves), strict=True)), tree


def arrays_of(state: TrainState) -> dict[str, np.ndarray]:
    """Copies a state to the host.

    Args:
        state: on one device, or on the host.

    Returns:
        name -> array of its own memory: the next step may overwrite the state's.
    """
    return {name: np.array(leaf, copy=True) for name, leaf in _named(state)[0].items()}


def with_arrays(state: TrainState, arrays: Mapping[str, np.ndarray]) -> TrainState:
    """Puts saved arrays into a state.

    Args:
        state: of the same network and optimiser.
        arrays: from `arrays_of`.

    Returns:
        The state as it was saved, on the host.

    Raises:
        InputError: the arrays are of another network or optimiser.
    """
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


class Outcome(NamedTuple):
    """How a run ended.

    Attributes:
        finished: False if it was asked to stop; it goes on from where it is.
        step: batches seen.
        best: mAP of the best weights on the validation people (under attack, if the run chooses
            by that) in [0, 1], or None.
        best_step: when they were found, or None.
    """

    finished: bool
    step: int
    best: float | None
    best_step: int | None


@dataclass
class Position:
    """Where a run stands, beside its arrays: what the notes of its checkpoints hold.

    Attributes:
        step: batches seen.
        best: see `Outcome`.
        best_step: see `Outcome`.
    """

    step: int = 0
    best: float | None = None
    best_step: int | None = None

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray], notes: Mapping[str, Any]) -> Self:
        """Where the run stood when a checkpoint was written.

        Args:
            arrays: of the checkpoint.
            notes: of the checkpoint.

        Returns:
            The position.
        """
        return cls(int(arrays["step"]), notes["best"], notes["best_step"])

    def outcome(self, *, finished: bool) -> Outcome:
        """How a run ends that ends here.

        Args:
            finished: whether it is at its end, and not asked to stop.

        Returns:
            The Outcome.
        """
        return Outcome(finished, self.step, self.best, self.best_step)

    def notes(
        self, *, config: Mapping[str, Any], batches: Mapping[str, Any], window: Mapping[str, Any]
    ) -> dict[str, Any]:
        """What a checkpoint says beside its arrays.

        Args:
            config: the configuration as JSON holds it.
            batches: of `BatchIterator.get_state`.
            window: of `WindowMeans.sums`.

        Returns:
            What JSON can hold.
        """
        return {
            "config": config,
            "batches": batches,
            "best": self.best,
            "best_step": self.best_step,
            "window": window,
            "versions": {name: metadata.version(name) for name in _PACKAGES},
        }
