"""What training changes from step to step, on the devices and beside them, and how it is saved."""

import dataclasses
import math
from collections.abc import Callable, Mapping
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
from jaxreid.training.discriminator import Opponent
from jaxreid.types import Array, ArrayLike

__all__ = [
    "Outcome",
    "Position",
    "TrainBatch",
    "TrainState",
    "Variables",
    "arrays_of",
    "split",
    "with_arrays",
]

Variables = nnx.State[Any, Any]
"""Parameters or statistics of a network, as `nnx.split` gives them."""

# What a checkpoint holds; graph and optimizer are made anew from the configuration.
_SAVED = (
    *("step", "params", "stats", "optimizer_state"),
    *("average", "bank", "triplet_loss", "universal", "discriminator"),
)
_PACKAGES = ("jaxreid", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


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
        triplet_loss: [] float32, the mean loss of the triplets of the last update, without unit; or
            None, where no adversary asks for it.
        graph: of `nnx.split`; static.
        optimizer: static.
        universal: [H,W,3] float32, in pixel range, one perturbation of all images; or None.
        discriminator: trained beside the network, or None.
    """

    step: Array
    params: Variables
    stats: Variables
    optimizer_state: optax.OptState
    average: Variables | None
    bank: ArrayLike | None
    triplet_loss: ArrayLike | None
    graph: nnx.GraphDef[Any] = field(metadata={"static": True})
    optimizer: optax.GradientTransformation = field(metadata={"static": True})
    universal: ArrayLike | None = None
    discriminator: Opponent | None = None

    @classmethod
    def create(
        cls,
        model: nnx.Module,
        optimizer: optax.GradientTransformation,
        *,
        averaged: bool = False,
        bank: ArrayLike | None = None,
        triplet_loss: float | None = None,
    ) -> Self:
        """The state before the first step.

        Args:
            model: takes images and `batch_norm`, returns Outputs, as ReID does.
            optimizer: its updates are added to the parameters.
            averaged: whether a moving average of the parameters is kept.
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
            optimizer_state=optimizer.init(params),
            average=params if averaged else None,
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
    """Where a run stands; the attributes are those of `Outcome`."""

    step: int = 0
    best: float | None = None
    best_step: int | None = None

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray], notes: Mapping[str, Any]) -> Self:
        """Where a run stood when it wrote a checkpoint; ValueError for one that no run wrote."""
        _check_saved(arrays, notes)
        return cls(int(arrays["step"]), notes["best"], notes["best_step"])

    def outcome(self, *, finished: bool) -> Outcome:
        """How a run ends that ends here, at its end or because it was asked to stop."""
        return Outcome(finished, self.step, self.best, self.best_step)

    def notes(
        self, *, config: Mapping[str, Any], batches: Mapping[str, Any], window: Mapping[str, Any]
    ) -> dict[str, Any]:
        """What a checkpoint says beside its arrays, as JSON holds it.

        Args:
            config: of `TrainConfig.as_json`.
            batches: of `BatchIterator.get_state`.
            window: of `WindowMeans.sums`.
        """
        return {
            "config": config,
            "batches": batches,
            "best": self.best,
            "best_step": self.best_step,
            "window": window,
            "versions": {name: metadata.version(name) for name in _PACKAGES},
        }


def _check_saved(arrays: Mapping[str, np.ndarray], notes: object) -> None:
    """Refuses, with a ValueError, what `Position.notes` did not write."""
    wanted: dict[str, Callable[[Any], bool]] = {
        "config": lambda value: isinstance(value, Mapping),
        "batches": lambda value: isinstance(value, Mapping) and _is_count(value.get("next_batch")),
        "best": lambda value: value is None or _is_number(value),
        "best_step": lambda value: value is None or _is_count(value),
    }
    if not isinstance(notes, Mapping) or not wanted.keys() <= notes.keys():
        raise ValueError(f"the notes must hold {', '.join(wanted)}")
    # Earlier versions did not save it.
    wanted["window"] = lambda value: value is None or _is_window(value)
    for name, fits in wanted.items():
        if not fits(notes.get(name)):
            raise ValueError(f"the notes hold {notes[name]!r:.60} as {name}")
    step = arrays.get("step")
    if step is None or step.shape != () or not _is_count(int(step)):
        raise ValueError("no number of steps among the arrays")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**31


def _is_window(value: object) -> bool:
    return (
        isinstance(value, Mapping)
        and _is_count(value.get("count"))
        and isinstance(value.get("sums"), Mapping)
        and all(type(number) in (int, float) for number in value["sums"].values())
    )
