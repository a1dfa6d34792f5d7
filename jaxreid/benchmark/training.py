"""Speed of training: a step of each kind, and its pieces, on random images."""

import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxreid.attacks import Guides
from jaxreid.attacks.objectives import signed_guides
from jaxreid.benchmark.timing import Timing, interleave
from jaxreid.benchmark.work import program_cost
from jaxreid.models import ARCHITECTURES, create
from jaxreid.training import (
    Adversary,
    TrainBatch,
    TrainState,
    cross_entropy_loss,
    goat,
    optimizer,
    train_step,
)
from jaxreid.types import Array, Embed

__all__ = [
    "VARIANTS",
    "TrainingTimings",
    "Variant",
    "benchmark_training",
    "first_state",
]

_STEPS = 7
_CLASSES = 751


class Variant(NamedTuple):
    """A way to train.

    Attributes:
        push: P, pushing guides.
        pull: L, pulling guides.
        steps: of the attack; 0 for none.
        bank: whether pushing guides come from a memory bank.
        replays: updates per batch.
    """

    push: int = 0
    pull: int = 0
    steps: int = _STEPS
    bank: bool = False
    replays: int = 1

    def adversary(self) -> Adversary | None:
        """Its adversary; None for plain training."""
        if not self.steps:
            return None
        return goat(push=self.push, pull=self.pull, steps=self.steps, guide_bank=self.bank)

    @property
    def forward_passes(self) -> int:
        """Forward passes of a batch that choose and compute guides."""
        if not self.steps:
            return 0
        # The own features are needed to push from, to choose who pulls, or for the bank.
        own = self.push == 0 or self.pull > 0 or self.bank
        return int(own) + (0 if self.bank else self.push)


VARIANTS = {
    "plain": Variant(steps=0),
    "GOAT (0,0)": Variant(0, 0),
    "GOAT (4,0)": Variant(4, 0),
    "GOAT (4,1)": Variant(4, 1),
    "GOAT (4,1), guide bank": Variant(4, 1, bank=True),
    "GOAT (4,1), one step": Variant(4, 1, steps=1),
    "GOAT (4,1), one step, guide bank": Variant(4, 1, steps=1, bank=True),
    "GOAT (4,1), free, 4 updates": Variant(4, 1, steps=1, replays=4),
}
"""name -> the ways to train that are timed; "plain" comes first."""


class TrainingTimings(NamedTuple):
    """Result of `benchmark_training`.

    Attributes:
        timings: name of a variant -> seconds of one batch; and "forward" and "image gradient", its
            pieces.
        batch_size: images of a batch.
        predicted: name of a variant -> seconds, put together from the pieces of the same run.
        program_bytes: name of a variant -> memory of its compiled step beside its arguments.
    """

    timings: dict[str, Timing]
    batch_size: int
    predicted: dict[str, float]
    program_bytes: dict[str, int]


class _Step(NamedTuple):
    """A compiled step."""

    run: Callable[[], object]
    compile_seconds: float
    program_bytes: int


def benchmark_training(
    architecture: str,
    *,
    size: tuple[int, int],
    batch_size: int,
    dtype: str = "float32",
    repeats: int = 5,
    variants: dict[str, Variant] | None = None,
) -> TrainingTimings:
    """Times a step of each variant in turns, on one device and random images; "plain" is needed."""
    variants = VARIANTS if variants is None else variants
    pushes = max(variant.push for variant in variants.values())
    state = first_state(architecture, size, dtype, images=batch_size)
    batch = _batch(batch_size, size, pushes)
    contestants: dict[str, Callable[[], object]] = _pieces(state, batch)
    steps = {name: _step(variant, state, batch) for name, variant in variants.items()}
    contestants |= {name: step.run for name, step in steps.items()}
    timings = interleave(contestants, repeats=repeats)
    for name, step in steps.items():
        first = timings[name].first + step.compile_seconds
        timings[name] = timings[name]._replace(first=first)
    forward, gradient = timings["forward"].median, timings["image gradient"].median
    update = timings["plain"].median
    predicted = {
        name: variant.replays
        * (variant.steps * gradient + variant.forward_passes * forward + update)
        for name, variant in variants.items()
    }
    memory = {name: step.program_bytes for name, step in steps.items()}
    return TrainingTimings(timings, batch_size, predicted, memory)


def first_state(
    architecture: str,
    size: tuple[int, int],
    dtype: str,
    *,
    images: int,
    axis_name: str | None = None,
) -> TrainState:
    """The state before the first step on images of this size, with a bank for so many of them."""
    shape = ARCHITECTURES.get(architecture)
    model = create(
        architecture,
        classes=_CLASSES,
        # A transformer's positions belong to the size of its images.
        image_size=None if shape is None or shape.image_size is None else size,
        dtype=jnp.dtype(dtype),
        axis_name=axis_name,
        rngs=nnx.Rngs(0),
    )
    bank = jnp.zeros((images, model.config.feature_size))
    rule = optimizer("adam", lambda count: jnp.float32(3.5e-4), weight_decay=5e-4)
    return TrainState.create(model, rule, bank=bank)


def _batch(count: int, size: tuple[int, int], pushes: int) -> TrainBatch:
    rng = np.random.default_rng(0)

    def images(*rows: int) -> Array:
        return jnp.asarray(rng.random((*rows, *size, 3), np.float32))

    rows = np.arange(count, dtype=np.int32)
    return TrainBatch(
        images=images(count),
        # Two images of each person, so that everybody has others to be pulled to.
        labels=jax.device_put(rows // 2),
        indices=jax.device_put(rows),
        push_images=images(count, pushes),
        push_indices=jax.device_put(rng.integers(0, count, (count, pushes), dtype=np.int32)),
        push_mask=jnp.ones((count, pushes), bool),
    )


def _step(variant: Variant, state: TrainState, batch: TrainBatch) -> _Step:
    adversary, key = variant.adversary(), jax.random.key(0)
    loss = cross_entropy_loss()
    pushes = variant.push if adversary is not None else 0
    if not variant.bank:
        state = state.replace(bank=None)
    given = batch._replace(
        push_images=batch.push_images[:, : 0 if variant.bank else pushes],
        push_indices=batch.push_indices[:, :pushes],
        push_mask=batch.push_mask[:, :pushes],
    )
    run = jax.jit(
        lambda state, given: train_step(
            state, given, key, loss_fn=loss, adversary=adversary, replays=variant.replays
        )
    )
    started = time.perf_counter()
    compiled = run.lower(state, given).compile()
    seconds = time.perf_counter() - started
    return _Step(lambda: compiled(state, given), seconds, program_cost(compiled).bytes)


def _pieces(state: TrainState, batch: TrainBatch) -> dict[str, Callable[[], object]]:
    """A forward pass, and a forward pass with the gradient to the images."""
    embed = state.embed()
    forward = jax.jit(lambda embed, images: embed(images))

    @jax.jit
    def gradient(embed: Embed, images: Array, features: Array) -> Array:
        guides = Guides(features[:, None], jnp.ones((len(images), 1)))
        objective = signed_guides(embed, guides)
        found: Array = jax.grad(lambda x: jnp.sum(objective(x)))(images)
        return found

    features = forward(embed, batch.images[::-1])
    return {
        "forward": lambda: forward(embed, batch.images),
        "image gradient": lambda: gradient(embed, batch.images, features),
    }
