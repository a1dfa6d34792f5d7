"""A learned perturbation: what it is made of, and how it changes images."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxreid.attacks import shifted
from jaxreid.augmentation import to_float
from jaxreid.errors import InputError
from jaxreid.evaluation.universal.recipe import Recipe
from jaxreid.models.generator import ChangeGenerator
from jaxreid.pytrees import pytree_dataclass
from jaxreid.records import Provenance
from jaxreid.types import Array, ArrayLike

__all__ = ["CHANGE", "Changing", "Perturbation", "changed_rows", "generated", "parameters"]

CHANGE = "change"
"""Name of the one tensor of a change for all images."""

_DIGITS = 8  # of a digest, in a name


@cache
def _generator() -> tuple[nnx.GraphDef[Any], dict[str, tuple[Any, ...]], dict[str, Any]]:
    """The generator's graph, and by name the place and the shape of each parameter."""
    graph, state = nnx.split(nnx.eval_shape(lambda: ChangeGenerator(rngs=nnx.Rngs(0))))
    flat = dict(nnx.to_flat_state(state))
    paths = {".".join(map(str, path)): path for path in flat}
    return graph, paths, {name: flat[path] for name, path in paths.items()}


def parameters(seed: int) -> dict[str, Array]:
    """Parameters of a generator that has learned nothing yet, by name."""
    _, paths, _ = _generator()
    drawn = dict(nnx.to_flat_state(nnx.state(ChangeGenerator(rngs=nnx.Rngs(seed)))))
    return {name: drawn[path][...] for name, path in paths.items()}


def generated(tensors: Mapping[str, ArrayLike], images: Array) -> Array:
    """Changes [B,H,W,3] in [-1, 1] that a generator of these parameters draws for images."""
    graph, paths, variables = _generator()
    state = {path: variables[name].replace(tensors[name]) for name, path in paths.items()}
    found: Array = nnx.merge(graph, nnx.from_flat_state(state))(images)
    return found


@pytree_dataclass
@dataclass(frozen=True)
class Changing:
    """What changes images, as an argument of a compiled program.

    Attributes:
        tensors: of the perturbation; a change for all images in their size.
        eps: budget [], in pixel range.
        draws: whether the tensors are a generator's.
    """

    tensors: dict[str, ArrayLike]
    eps: ArrayLike
    draws: bool = field(metadata={"static": True})

    def __call__(self, images: Array) -> Array:
        """Images [B,H,W,3] in [0, 1], changed within the budget, exactly."""
        change = self.eps * generated(self.tensors, images) if self.draws else self.tensors[CHANGE]
        return shifted(images, change, eps=self.eps)


def changed_rows(changing: Changing, images: ArrayLike) -> Array:
    """What `over_rows` runs: changed images, float32 in [0, 1], of uint8 ones."""
    return changing(to_float(images))


@dataclass(frozen=True, eq=False)
class Perturbation:
    """A change that was learned once, for any image.

    Attributes:
        recipe: what it was learned by.
        made_on: the model it was learned on, as name and start of the digest.
        size: (height, width) in pixels of the images it was learned from.
        provenance: model, images and versions it was learned with, and the command.
        tensors: float32 arrays by name: "change" [H,W,3] in pixel range, within eps, or the
            parameters of a generator.
    """

    recipe: Recipe
    made_on: str
    size: tuple[int, int]
    provenance: Provenance
    tensors: dict[str, np.ndarray]

    @property
    def attack(self) -> str:
        """Its name in conditions: "universal" or "generator"."""
        return "generator" if self.recipe.objective == "generator" else "universal"

    @property
    def name(self) -> str:
        """What tells it from others, and says what it was made on."""
        digest = hashlib.sha256(repr(self.recipe.eps).encode())
        for name, tensor in sorted(self.tensors.items()):
            digest.update(f"{name}{tensor.shape}".encode() + np.ascontiguousarray(tensor).tobytes())
        return f"{self.made_on}-{self.recipe.objective}-{digest.hexdigest()[:_DIGITS]}"

    def changing(self, size: tuple[int, int]) -> Changing:
        """What changes images of a size; a change of another size is resized.

        Args:
            size: (height, width) in pixels.

        Returns:
            Changing. Interpolated values are means of values within the budget: they are within it.
        """
        tensors: dict[str, ArrayLike] = dict(self.tensors)
        if CHANGE in tensors and tuple(size) != tuple(self.size):
            shape = (*size, tensors[CHANGE].shape[2])
            tensors[CHANGE] = jax.image.resize(jnp.asarray(tensors[CHANGE]), shape, "linear")
        return Changing(
            tensors, np.asarray(self.recipe.in_pixels, np.float32), self.attack == "generator"
        )

    def check(self) -> None:
        """Refuses tensors that are not what the recipe says.

        Raises:
            InputError: one is missing, of another shape, not finite, or beyond the budget.
        """
        self.recipe.check()
        shapes = {CHANGE: (*self.size, 3)}
        if self.attack == "generator":
            shapes = {name: tuple(one.shape) for name, one in _generator()[2].items()}
        if set(shapes) != set(self.tensors):
            odd = sorted(set(shapes) ^ set(self.tensors))
            raise InputError(f"{odd[0]} is {'missing' if odd[0] in shapes else 'no part of it'}")
        for name, tensor in self.tensors.items():
            if tensor.dtype != np.float32 or tensor.shape != shapes[name]:
                raise InputError(
                    f"{name} must be float32 {list(shapes[name])}, got {tensor.dtype} "
                    f"{list(tensor.shape)}"
                )
            if not np.isfinite(tensor).all():
                raise InputError(f"{name} holds NaN or infinity")
        if self.attack == "universal":
            largest = np.abs(self.tensors[CHANGE]).max()
            if largest > np.float32(self.recipe.in_pixels):
                raise InputError(
                    f"{CHANGE} reaches {255 * largest:g}/255, beyond its eps {self.recipe.eps:g}"
                )
