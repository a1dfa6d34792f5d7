"""From a network and its weights to the pure function that attacks and retrieval work on."""

from dataclasses import dataclass, field, replace
from typing import Any

import jax.numpy as jnp
from flax import nnx

from jaxreid.distances import l2_normalize
from jaxreid.errors import InputError
from jaxreid.models.cameras import camera_numbers, cameras_of, cameras_of_batch
from jaxreid.models.folding import Target, check_target, frozen
from jaxreid.models.normalization import Statistics
from jaxreid.models.reid import ReID
from jaxreid.pytrees import pytree_dataclass
from jaxreid.types import Array, ArrayLike

__all__ = ["Embedding", "embedding"]


@pytree_dataclass
@dataclass(frozen=True, eq=False, repr=False)
class Embedding:
    """A pure function from images to features that carries its weights as a pytree.

    An argument of jit, pmap, grad or scan, its weights are inputs of the program, and another
    Embedding of the same network runs without compiling again. Closed over, they are constants in
    the program: every one of them is written into it.

    The network may add something by the camera that took the image. Then the function is told the
    cameras of the images that it will get, by `seen_by`; before, it refuses to be called.

    Attributes:
        states: of `nnx.split`; the leaves of the pytree.
        graph: of `nnx.split`; static, as all that follows.
        batch_norm: see `embedding`.
        normalize: see `embedding`.
        flip: see `embedding`.
        target: the platform that `frozen` prepared it for; None before.
        cameras: how many cameras the network tells apart; 0 where the feature does not depend on
            the camera.
        seen: int32 [B], the cameras of the images; [] for one of all images; None where nobody
            told. Leaves of the pytree.

    Args:
        images: [B,H,W,3] floating point in [0, 1].

    Returns:
        Features [B,D] float32.
    """

    states: tuple[nnx.State[Any, Any], ...]
    graph: nnx.GraphDef[Any] = field(metadata={"static": True})
    batch_norm: Statistics = field(metadata={"static": True})
    normalize: bool = field(metadata={"static": True})
    flip: bool = field(metadata={"static": True})
    target: Target | None = field(default=None, metadata={"static": True})
    cameras: int = field(default=0, metadata={"static": True})
    seen: Array | None = None

    @property
    def wanted_cameras(self) -> int:
        """Cameras that it must be told apart before it is called; 0 once it has been told.

        Returns:
            `cameras`, or 0.
        """
        return self.cameras if self.seen is None else 0

    def seen_by(self, cameras: str | int | ArrayLike) -> "Embedding":
        """The same function of images that these cameras took.

        The cameras are leaves of the pytree: for those of another batch nothing is compiled again.
        Told anew, it forgets those of before.

        Args:
            cameras: integers [B] from 0, of each image in turn; one integer, of all images;
                `MEAN_CAMERA` or "mean" for the mean over all cameras' embeddings; `NO_CAMERA` or
                "none" to add nothing.

        Returns:
            An Embedding; this one where the feature does not depend on the camera.

        Raises:
            InputError: cameras are something else, or the network does not have them.
        """
        if not self.cameras:
            return self
        return replace(self, seen=camera_numbers(cameras, self.cameras))

    def frozen(self, target: Target | None = None) -> "Embedding":
        """The same function, prepared for many calls: see `jaxreid.models.frozen`.

        Args:
            target: the platform whose forms it takes, "cpu", "gpu" or "tpu"; that of the default
                device by default. To lower a program for a GPU or TPU on a machine without one,
                name it.

        Returns:
            An Embedding without gradients to its weights, with this target; this one where it was
            frozen before or the network is not a `ReID`.

        Raises:
            InputError: there is no such target, or it was frozen for another one.
        """
        chosen = check_target(target)
        if self.target is not None:
            if target not in (None, self.target):
                raise InputError(f"this embedding was frozen for {self.target!r}, not {target!r}")
            return self
        model = nnx.merge(self.graph, *self.states, copy=True)
        if not isinstance(model, ReID):
            return self
        graph, *states = nnx.split(frozen(model, batch_norm=self.batch_norm, target=chosen))
        return replace(self, states=tuple(states), graph=graph, target=chosen)

    def __call__(self, images: Array) -> Array:
        """Images [B,H,W,3] in [0, 1] -> features [B,D] float32."""
        # BatchNorm on batch statistics writes into this copy, which is dropped.
        model = nnx.merge(self.graph, *self.states, copy=True)
        x = jnp.concatenate([images, images[:, :, ::-1]]) if self.flip else images
        features = model(x, batch_norm=self.batch_norm, **self._beside(len(images))).features
        if self.flip:
            features = 0.5 * (features[: len(images)] + features[len(images) :])
        return l2_normalize(features) if self.normalize else features

    def _beside(self, count: int) -> dict[str, Array]:
        """What the network takes beside so many images (and their mirror images)."""
        if not self.cameras:
            return {}
        cameras = cameras_of_batch(self.seen, self.cameras, count)
        return {"cameras": jnp.concatenate([cameras, cameras]) if self.flip else cameras}


def embedding(
    graph: nnx.Module | nnx.GraphDef[Any],
    *states: nnx.State[Any, Any],
    batch_norm: Statistics = "running",
    normalize: bool = False,
    flip: bool = False,
) -> Embedding:
    """Turns a network into a pure function from images to features.

    embed(x) = f(x), or (f(x) + f(mirror(x))) / 2 with flip, then divided by its L2 norm with
    normalize. Nothing is ever updated: batch statistics are used and forgotten.

    The result is a pytree: give it to compiled functions as an argument,
    `jax.jit(attacks.sma)(embed, images, key)`, and the weights are no constants in the program. A
    training step, which has the states of `nnx.split` at hand, gives graph and states instead.

    Args:
        graph: a network (`nnx.Module`), or the graph that `nnx.split` gave of it; the network
            takes images and `batch_norm` and returns Outputs, as ReID does; where its attribute
            `cameras` is above 0, it takes `cameras` int32 [B], too.
        *states: the states of that split, in any order; none with a network.
        batch_norm: "running" uses the stored statistics, and each feature depends on its own image
            only; "batch" those of the batch (mirror images included with flip).
        normalize: whether features get unit length, for models compared by cosine.
        flip: whether features are averaged over the image and its mirror image.

    Returns:
        An Embedding: images [B,H,W,3] floating point in [0, 1] -> features [B,D] float32. Where
        the network tells cameras apart, `Embedding.seen_by` comes before its first call.

    Raises:
        InputError: states were given with a network, or missing with a graph.
    """
    if isinstance(graph, nnx.Module) == bool(states):
        raise InputError("expected embedding(model) or embedding(graph, *states) of nnx.split")
    if isinstance(graph, nnx.Module):
        return embedding(*nnx.split(graph), batch_norm=batch_norm, normalize=normalize, flip=flip)
    cameras = cameras_of(nnx.merge(graph, *states))
    return Embedding(states, graph, batch_norm, normalize, flip, cameras=cameras)
