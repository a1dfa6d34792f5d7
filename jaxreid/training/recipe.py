"""What a configuration stands for: the data, the network and the functions of a run."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxreid.augmentation import augment, to_float
from jaxreid.cameras import refuse_unknown_cameras
from jaxreid.data.batches import Batch
from jaxreid.data.joined import open_splits
from jaxreid.data.loader import BatchIterator, decode_all, train_batches
from jaxreid.data.samplers import IdentityBatches, Sampler, ShuffledBatches
from jaxreid.data.source import ReidSource
from jaxreid.errors import InputError
from jaxreid.models import ReID
from jaxreid.random import example_keys
from jaxreid.training.adversaries import goat
from jaxreid.training.bank_adversary import RankingObjective, ranking_adversary
from jaxreid.training.config import TrainConfig
from jaxreid.training.inner_attack import Adversary
from jaxreid.training.networks import first_network
from jaxreid.training.objectives import (
    LossFunction,
    cross_entropy_loss,
    precision_loss,
    triplet_loss,
    weighted_losses,
)
from jaxreid.training.optim import averaging_of, optimizer, schedule, warmup
from jaxreid.training.recipe_defense import defense_of
from jaxreid.training.several_adversaries import one_of
from jaxreid.training.state import TrainBatch, TrainState
from jaxreid.training.step import train_step
from jaxreid.training.triplet_adversaries import TripletObjective, triplet_adversary
from jaxreid.training.universal_perturbation import universal_adversary
from jaxreid.training.vertex_mixup import mixed_with_vertex
from jaxreid.types import Array

__all__ = ["MORE_CAMERAS", "Recipe", "build", "check_devices", "sampler_of"]

MORE_CAMERAS = "train a network with as many as the dataset has"
"""What to do where a network has too few camera embeddings."""

StepFunction = Callable[[TrainState, Batch], tuple[TrainState, dict[str, Array]]]


class Recipe(NamedTuple):
    """What a configuration and its data determine.

    Attributes:
        source: the training split.
        cache: its decoded images, or None.
        batches: of this process, endless.
        steps_per_epoch: batches in an epoch.
        model: the network at the start.
        optimizer: of its parameters.
        learning_rate: updates before this one [] -> [].
        step: (state, this device's Batch of NumPy arrays) -> (state, metrics); to be mapped.
        needs_bank: whether the state needs a bank of features.
    """

    source: ReidSource
    cache: np.ndarray | None
    batches: BatchIterator
    steps_per_epoch: int
    model: ReID
    optimizer: optax.GradientTransformation
    learning_rate: optax.Schedule
    step: StepFunction
    needs_bank: bool


def build(
    config: TrainConfig,
    *,
    axis_name: str | None,
    progress: Callable[[int, int], None] | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Recipe:
    """Opens the data, and makes the network and the functions of a run.

    Args:
        config: of the run.
        axis_name: mapped axis of the devices; None for one device.
        progress: called with (images decoded, images in all) while the cache fills.
        say: called with each message for the user.
    """
    data = config.dataset
    source = open_splits(data.names, data.split, data_dir=data.data_dir or None)
    sampler = sampler_of(config)
    steps_per_epoch = sampler.batches(np.asarray(source.labels))
    model = first_network(
        config, classes=int(source.labels.max()) + 1, axis_name=axis_name, say=say
    )
    named = " and ".join(data.names)
    refuse_unknown_cameras(model.cameras, source.cameras, named, instead=MORE_CAMERAS)
    rate, cache = _learning_rate(config, steps_per_epoch), None
    if data.cache:
        cache = decode_all(
            source, size=data.size, filter=data.filter, workers=data.workers, progress=progress
        )
    batches = train_batches(
        source,
        sampler,
        size=data.size,
        filter=data.filter,
        pushes=config.goat.push if config.goat.enabled else 0,
        push_pixels=config.goat.takes_push_pixels,
        seed=config.seed,
        shard=(jax.process_index(), jax.process_count()),
        workers=data.workers,
        cache=cache,
    )
    return Recipe(
        source=source,
        cache=cache,
        batches=batches,
        steps_per_epoch=steps_per_epoch,
        model=model,
        optimizer=_optimizer(config, rate),
        learning_rate=rate,
        step=_step_function(config, model, source, steps_per_epoch, axis_name),
        needs_bank=config.goat.keeps_bank,
    )


def check_devices(batch_size: int) -> None:
    """Refuses a batch that cannot be spread evenly over the devices of all processes."""
    devices = jax.device_count()
    if batch_size % devices:
        raise InputError(
            f"batch.size must be a multiple of the {devices} devices (of {jax.process_count()} "
            f"processes), got {batch_size}"
        )


def sampler_of(config: TrainConfig) -> Sampler:
    """What makes the batches of a run."""
    batch = config.batch
    if batch.sampler == "shuffled":
        return ShuffledBatches(batch.size, config.seed)
    people = batch.size // batch.images_per_identity
    return IdentityBatches(people, batch.images_per_identity, config.seed)


def _learning_rate(config: TrainConfig, steps_per_epoch: int) -> optax.Schedule:
    factor = schedule(config.schedule, epochs=config.epochs)
    updates = steps_per_epoch * config.goat.updates_per_batch
    peak = config.optimizer.learning_rate
    return lambda count: jnp.asarray(peak * factor(jnp.asarray(count / updates)), jnp.float32)


def _optimizer(config: TrainConfig, rate: optax.Schedule) -> optax.GradientTransformation:
    fields = config.optimizer
    return optimizer(
        fields.name, rate, weight_decay=fields.weight_decay, clip_norm=fields.clip_norm
    )


def _adversary(
    config: TrainConfig, model: ReID, source: ReidSource, steps_per_epoch: int
) -> Adversary | None:
    if not config.goat.enabled:
        return None
    attack, mixup = _attack(config, model, source, steps_per_epoch), config.mixup
    if not mixup.enabled:
        return attack
    classes = int(source.labels.max()) + 1
    return mixed_with_vertex(attack, classes, **dataclasses.asdict(mixup))


def _unit(config: TrainConfig, model: ReID) -> float | np.ndarray:
    """Of goat.eps and goat.step_size, in pixel range: a number or [C]."""
    std = model.config.std[:: -1 if model.config.colours == "BGR" else 1]
    return 1 / 255 if config.goat.eps_unit == "pixels" else np.asarray(std) / 255


def _attack(
    config: TrainConfig, model: ReID, source: ReidSource, steps_per_epoch: int
) -> Adversary:
    fields = config.goat
    unit = _unit(config, model)
    grown = warmup(fields.eps_warmup_epochs)
    common: dict[str, Any] = {
        "eps": fields.eps * unit,
        "step_size": fields.step_size * unit,
        "steps": fields.steps,
        "step_schedule": fields.step_schedule,
        "batch_norm": fields.batch_norm,
        "clean_fraction": fields.clean_fraction,
        "strength": (
            (lambda step: grown(step / steps_per_epoch)) if fields.eps_warmup_epochs else None
        ),
    }
    attacks = [_attack_on(name, config, source, common) for name in fields.objectives]
    return attacks[0] if len(attacks) == 1 else one_of(attacks)


def _attack_on(
    name: str, config: TrainConfig, source: ReidSource, common: dict[str, Any]
) -> Adversary:
    fields = config.goat
    if name == "guides":
        return goat(
            push=fields.push,
            pull=fields.pull,
            pull_from=fields.pull_from,
            pad_with_self=fields.pad_with_self,
            guide_bank=fields.guide_bank,
            **common,
        )
    if fields.is_universal:
        own = {name: common[name] for name in ("eps", "step_size", "clean_fraction", "strength")}
        return universal_adversary(
            restart_every=fields.restart_every,
            diversity=fields.diversity,
            blur=fields.blur,
            **own,
        )
    if fields.on_triplets:
        return triplet_adversary(
            cast("TripletObjective", name),
            mining=fields.mining,
            destination=fields.destination,
            margin=config.defense.margin,
            sharpness=fields.sharpness,
            **common,
        )
    return ranking_adversary(cast("RankingObjective", name), source.labels, **common)


def _loss_function(config: TrainConfig) -> LossFunction:
    loss = config.loss
    triplet = triplet_loss(margin=None if loss.margin < 0 else loss.margin)
    main = cross_entropy_loss(label_smoothing=loss.label_smoothing)
    parts = [
        (1.0, triplet if loss.name == "triplet" else main),
        (loss.triplet_weight, triplet),
        (loss.precision_weight, precision_loss()),
    ]
    return weighted_losses([(weight, part) for weight, part in parts if weight])


def _step_function(
    config: TrainConfig,
    model: ReID,
    source: ReidSource,
    steps_per_epoch: int,
    axis_name: str | None,
) -> StepFunction:
    # float64 images only where everything is float64.
    pixels = jnp.float64 if config.model.dtype == "float64" else jnp.float32
    learn = partial(
        train_step,
        loss_fn=_loss_function(config),
        adversary=_adversary(config, model, source, steps_per_epoch),
        defense=defense_of(config, _unit(config, model)),
        averaging=averaging_of(config.optimizer, steps_per_epoch * config.goat.updates_per_batch),
        axis_name=axis_name,
        replays=config.goat.updates_per_batch,
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
            noise=config.augmentation.noise,
        )
        examples = TrainBatch(
            images=images.astype(pixels),
            labels=batch.labels,
            indices=batch.indices,
            push_images=to_float(batch.push_images).astype(pixels),
            push_indices=batch.push_indices,
            push_mask=batch.push_mask,
            cameras=batch.cameras,
            push_cameras=batch.push_cameras,
        )
        return learn(state, examples, for_attack)

    return step
