"""From a configuration to the functions and data of a run."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from ml_collections import ConfigDict

from jaxreid.augmentation import augment, to_float
from jaxreid.data.read.batches import Batch
from jaxreid.data.read.loader import BatchIterator, decode_all, train_batches
from jaxreid.data.read.samplers import IdentityBatches, Sampler, ShuffledBatches
from jaxreid.data.read.source import ReidSource, open_split
from jaxreid.errors import InputError
from jaxreid.models import ReID, create, weights
from jaxreid.random import example_keys
from jaxreid.training import schedules
from jaxreid.training.goat import Adversary, goat
from jaxreid.training.objectives import cross_entropy_loss, triplet_loss
from jaxreid.training.optimizers import optimizer
from jaxreid.training.state import TrainBatch, TrainState
from jaxreid.training.step import LossFunction, train_step
from jaxreid.types import Array

__all__ = ["Recipe", "build"]

StepFunction = Callable[[TrainState, Batch], tuple[TrainState, dict[str, Array]]]


class Recipe(NamedTuple):
    """What a run is made of.

    Attributes:
        source: the training split.
        cache: its decoded images, or None.
        batches: of this process, endless.
        steps_per_epoch: batches in an epoch.
        model: the network at the start.
        optimizer: of its parameters.
        learning_rate: updates before this one [] -> [].
        step: (state, this device's Batch of NumPy arrays) -> (state, figures); to be mapped.
        needs_bank: whether the state needs a bank of features.
    """

    source: ReidSource
    cache: np.ndarray | None
    batches: BatchIterator
    steps_per_epoch: int
    model: ReID
    optimizer: optax.GradientTransformation
    learning_rate: Callable[[Any], Array]
    step: StepFunction
    needs_bank: bool


def build(
    config: ConfigDict,
    *,
    axis_name: str | None,
    shard: tuple[int, int] = (0, 1),
    progress: Callable[[int, int], None] | None = None,
) -> Recipe:
    """Opens the data and puts the run together.

    Args:
        config: with the fields of configs/default.py.
        axis_name: mapped axis of the devices; None for one device.
        shard: (index, count) of this process.
        progress: called with (images decoded, images in all) while the cache fills.

    Returns:
        The Recipe.

    Raises:
        InputError: a field, the dataset or the weights to start from are not as they must be.
    """
    data = config.dataset
    source = open_split(data.name, data.split, data_dir=data.data_dir or None)
    sampler = _sampler(config)
    steps_per_epoch = sampler.batches(np.asarray(source.labels))
    model = _network(config, classes=int(source.labels.max()) + 1, axis_name=axis_name)
    rate = _learning_rate(config, steps_per_epoch)
    from_bank = config.goat.enabled and config.goat.guide_bank and config.goat.push > 0
    cache = None
    if data.cache:
        cache = decode_all(
            source,
            size=tuple(data.size),
            filter=data.filter,
            workers=data.workers,
            progress=progress,
        )
    batches = train_batches(
        source,
        sampler,
        size=tuple(data.size),
        filter=data.filter,
        pushes=config.goat.push if config.goat.enabled else 0,
        push_pixels=not from_bank,
        seed=config.seed,
        shard=shard,
        workers=data.workers,
        cache=cache,
    )
    adversary = _adversary(config, model, steps_per_epoch, axis_name)
    return Recipe(
        source=source,
        cache=cache,
        batches=batches,
        steps_per_epoch=steps_per_epoch,
        model=model,
        optimizer=optimizer(
            config.optimizer.name,
            rate,
            weight_decay=config.optimizer.weight_decay,
            clip_norm=config.optimizer.clip_norm,
        ),
        learning_rate=rate,
        step=_step_function(config, adversary, axis_name),
        needs_bank=from_bank,
    )


def _sampler(config: ConfigDict) -> Sampler:
    batch = config.batch
    if batch.sampler == "shuffled":
        return ShuffledBatches(batch.size, config.seed)
    if batch.sampler != "identities":
        raise InputError(f"batch.sampler must be 'shuffled' or 'identities', got {batch.sampler!r}")
    people, rest = divmod(batch.size, batch.images_per_identity)
    if rest:
        raise InputError(
            f"batch.size must be a multiple of batch.images_per_identity = "
            f"{batch.images_per_identity}, got {batch.size}"
        )
    return IdentityBatches(people, batch.images_per_identity, config.seed)


def _network(config: ConfigDict, *, classes: int, axis_name: str | None) -> ReID:
    """A fresh network, or one that starts from a file."""
    fields = config.model
    started = weights.load(fields.start_from) if fields.start_from else None
    normalization: dict[str, Any] = {}
    if started is not None:
        normalization = {"mean": started.config.mean, "std": started.config.std}
    model = create(
        fields.architecture,
        head=fields.head,
        classes=classes,
        dimensions=fields.dimensions,
        last_stride=fields.last_stride or None,
        dtype=_dtype(config),
        axis_name=axis_name if fields.synchronize_batch_norm else None,
        rngs=nnx.Rngs(config.seed),
        **normalization,
    )
    if started is not None:
        _start_from(model, started, fields.start_from)
    return model


def _dtype(config: ConfigDict) -> Any:
    name = config.model.dtype
    if name not in ("float32", "bfloat16", "float64"):
        raise InputError(f"model.dtype must be 'float32' or 'bfloat16', got {name!r}")
    if name == "float64" and jnp.zeros((), jnp.float64).dtype != jnp.float64:
        raise InputError("model.dtype 'float64' needs the environment variable JAX_ENABLE_X64=1")
    return jnp.dtype(name)


def _shapes(module: nnx.Module) -> dict[Any, tuple[int, ...]]:
    return {path: leaf.shape for path, leaf in nnx.to_flat_state(nnx.state(module))}


def _start_from(model: ReID, started: ReID, path: str) -> None:
    """Copies a backbone, and the head if it has the same shape."""
    if _shapes(model.backbone) != _shapes(started.backbone):
        raise InputError(
            f"model.start_from: {path} holds another backbone "
            f"({started.config.backbone}) than model.architecture names ({model.config.backbone})"
        )
    nnx.update(model.backbone, nnx.state(started.backbone))
    if _shapes(model.head) == _shapes(started.head):
        nnx.update(model.head, nnx.state(started.head))


def _learning_rate(config: ConfigDict, steps_per_epoch: int) -> Callable[[Any], Array]:
    fields = config.schedule
    makers: dict[str, Callable[[], schedules.Schedule]] = {
        "constant": schedules.constant,
        "steps": lambda: schedules.steps(fields.boundaries, fields.factor),
        "exponential": lambda: schedules.exponential(
            fields.decay_start, fields.decay_epochs, fields.final_fraction
        ),
        "cosine": lambda: schedules.cosine(fields.warmup_epochs, config.epochs),
    }
    if fields.name not in makers:
        raise InputError(f"schedule.name must be one of {sorted(makers)}, got {fields.name!r}")
    shape = schedules.warmed_up(makers[fields.name](), fields.warmup_epochs)
    updates = steps_per_epoch * (config.goat.replays if config.goat.enabled else 1)
    return lambda count: jnp.asarray(
        config.optimizer.learning_rate * shape(count / updates), jnp.float32
    )


def _adversary(
    config: ConfigDict, model: ReID, steps_per_epoch: int, axis_name: str | None
) -> Adversary | None:
    fields = config.goat
    if not fields.enabled:
        return None
    if fields.eps_unit not in ("pixels", "normalized"):
        raise InputError(f"goat.eps_unit must be 'pixels' or 'normalized', got {fields.eps_unit!r}")
    unit = 1 / 255 if fields.eps_unit == "pixels" else np.asarray(model.config.std) / 255
    grown = schedules.ramp(fields.eps_warmup_epochs)
    return goat(
        push=fields.push,
        pull=fields.pull,
        eps=fields.eps * unit,
        step_size=fields.step_size * unit,
        steps=fields.steps,
        batch_norm=fields.batch_norm,
        clean_fraction=fields.clean_fraction,
        pad_with_self=fields.pad_with_self,
        guide_bank=fields.guide_bank,
        strength=(lambda step: grown(step / steps_per_epoch)) if fields.eps_warmup_epochs else None,
        axis_name=axis_name,
    )


def _loss_function(config: ConfigDict) -> LossFunction:
    loss = config.loss
    if loss.name == "cross_entropy":
        return cross_entropy_loss(label_smoothing=loss.label_smoothing)
    if loss.name == "triplet":
        return triplet_loss(margin=None if loss.margin < 0 else loss.margin)
    raise InputError(f"loss.name must be 'cross_entropy' or 'triplet', got {loss.name!r}")


def _step_function(
    config: ConfigDict, adversary: Adversary | None, axis_name: str | None
) -> StepFunction:
    # float64 images only where everything is float64.
    pixels = jnp.float64 if config.model.dtype == "float64" else jnp.float32
    learn = partial(
        train_step,
        loss_fn=_loss_function(config),
        adversary=adversary,
        axis_name=axis_name,
        replays=config.goat.replays if adversary is not None else 1,
        average_decay=config.optimizer.ema,
    )

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, Array]]:
        for_augmentation, for_attack = jax.random.split(jax.random.key(config.seed))
        keys = example_keys(jax.random.fold_in(for_augmentation, state.step), batch.indices)
        images = augment(
            batch.images,
            keys,
            pad=config.augmentation.pad,
            flip=config.augmentation.flip,
            erase=config.augmentation.erase,
        )
        examples = TrainBatch(
            images=images.astype(pixels),
            labels=batch.labels,
            indices=batch.indices,
            push_images=to_float(batch.push_images).astype(pixels),
            push_indices=batch.push_indices,
            push_mask=batch.push_mask,
        )
        return learn(state, examples, for_attack)

    return step
