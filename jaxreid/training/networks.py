"""The network that a run begins with: a fresh one, or one that starts from a file."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxreid.errors import InputError
from jaxreid.models import (
    ARCHITECTURES,
    BackboneConfig,
    ModelConfig,
    Pipeline,
    ReID,
    create,
    weights,
)
from jaxreid.models.kinds import architecture_names
from jaxreid.models.weights.choices import for_convert
from jaxreid.training.config import TrainConfig

__all__ = ["first_network"]

_TRAINED = "jaxreid train"
# Heads whose feature is not the backbone's.
_REDUCED = ("reduction", "embedding", "triplet")


def first_network(
    config: TrainConfig,
    *,
    classes: int,
    axis_name: str | None,
    say: Callable[[str], None] = lambda line: None,
) -> ReID:
    """A fresh network, or one that starts from a file, whose pipeline goes with it.

    `say` is told what of that pipeline the configuration overrides, and whether the head stays.
    """
    fields = config.model
    started = _started(config)
    surroundings: dict[str, Any] = {}
    if started is not None:
        names = ("mean", "std", "colours", "crop")
        surroundings = {name: getattr(started.config, name) for name in names}
        if fields.head == started.config.head == "classification":
            surroundings["neck_feature"] = started.config.neck_feature
    dtype = jnp.dtype(fields.dtype)
    if jax.dtypes.canonicalize_dtype(dtype) != dtype:
        raise InputError("model.dtype 'float64' needs the environment variable JAX_ENABLE_X64=1")
    backbone = _backbone(fields.architecture, started)
    model = create(
        backbone,
        head=fields.head,
        classes=classes,
        dimensions=fields.dimensions,
        last_stride=fields.last_stride or None,
        # Where a network takes images of one size, that is a choice of whoever trains it.
        image_size=(surroundings.get("crop") or config.dataset.size)
        if backbone.image_size
        else None,
        dtype=dtype,
        axis_name=axis_name if fields.synchronize_batch_norm else None,
        rngs=nnx.Rngs(config.seed),
        pipeline=_pipeline(config, None if started is None else started.config.pipeline, backbone),
        **surroundings,
    )
    if started is not None:
        if not _start_from(model, started, fields.start_from) and started.config.head != "none":
            say(
                f"note: the head of model.start_from ({_head(started.config)}) has another shape "
                f"and is left out: {_head(model.config)} begins anew"
            )
        for note in _overrides(config, started.config):
            say(f"note: {note}")
    return model


def _overrides(config: TrainConfig, started: ModelConfig) -> Iterator[str]:
    for name in ("distance", "flip"):
        chosen, own = getattr(config.evaluation, name), getattr(started.pipeline, name, None)
        if own not in (None, chosen):
            yield f"evaluation.{name} {chosen} overrides {own} of model.start_from"
    stride, own = config.model.last_stride, getattr(started.backbone, "last_stride", None)
    if stride and own not in (None, stride):
        yield f"model.last_stride {stride} overrides {own} of model.start_from"


def _pipeline(config: TrainConfig, started: Pipeline | None, backbone: BackboneConfig) -> Pipeline:
    """How the weights are chosen, and so how they are to be evaluated.

    Training images may be resized by another kernel than test images, as published recipes do.
    """
    before = "" if started is None else started.source.removeprefix(f"{_TRAINED}, from ")
    return replace(
        started or Pipeline(),
        # Of camera embeddings that another network does not have, which is refused with the others.
        views=started.views if started and backbone.cameras else 1,
        distance=config.evaluation.distance,
        flip=config.evaluation.flip,
        source=_TRAINED if before in ("", _TRAINED) else f"{_TRAINED}, from {before}",
    )


def _started(config: TrainConfig) -> ReID | None:
    """The network to start from, its position embeddings resampled to the images of the run."""
    path = config.model.start_from
    if not path:
        return None
    try:
        started = weights.load(path)
    except InputError as error:
        raise for_convert(error) from error
    size = started.config.backbone.image_size
    # What it cuts out of its images stays as large.
    if started.config.crop or size in (None, config.dataset.size):
        return started
    return weights.load(path, image_size=config.dataset.size)


def _backbone(architecture: str, started: ReID | None) -> BackboneConfig:
    """The shape of an architecture; what it leaves open (pool, cameras, ...) is the file's."""
    held = None if started is None else started.config.backbone
    if held is not None and architecture in architecture_names(held):
        return held
    return ARCHITECTURES[architecture]


def _start_from(model: ReID, started: ReID, path: str) -> bool:
    """Copies a backbone, and the head if it fits: whether it does."""
    activation, own = (getattr(m.config.backbone, "activation", None) for m in (model, started))
    if activation != own or _shapes(model.backbone) != _shapes(started.backbone):
        name = _name(started)
        way_out = (
            "no architecture has its shape, to train it by"
            if name is None
            else f"--config.model.architecture={name} takes it"
        )
        raise InputError(
            f"model.start_from: {path} holds another backbone ({_shown(started)}) than "
            f"model.architecture names ({_shown(model)}); {way_out}"
        )
    nnx.update(model.backbone, nnx.state(started.backbone))
    new, old = _shapes(model.head), _shapes(started.head)
    # Classifiers of fast-reid and others have no bias; one of zeros, as here, changes nothing.
    more = [path for path in new if path not in old and not _is_bias_of_classifier(path)]
    fits = not more and all(new.get(path) == shape for path, shape in old.items())
    if fits:
        nnx.update(model.head, nnx.state(started.head))
    return fits


def _is_bias_of_classifier(path: tuple[Any, ...]) -> bool:
    return str(path[0]).startswith("classifier") and path[-1] == "bias"


def _head(config: ModelConfig) -> str:
    """A head in words: "classification, 751 classes"."""
    parts: list[str] = [config.head]
    parts += [f"{config.dimensions} numbers"] * (config.head in _REDUCED)
    parts += [f"{config.classes} classes"] * config.has_logits
    return ", ".join(parts)


def _shown(model: ReID) -> str:
    """The architecture of a backbone, or its shape where that has no name."""
    return _name(model) or str(model.config.backbone)


def _name(model: ReID) -> str | None:
    return next(iter(architecture_names(model.config.backbone)), None)


def _shapes(module: nnx.Module) -> dict[Any, tuple[int, ...]]:
    return {path: leaf.shape for path, leaf in nnx.to_flat_state(nnx.state(module))}
