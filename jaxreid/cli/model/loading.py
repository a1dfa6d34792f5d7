"""MODEL on the command line: weights, the folder of a training, or a function of the user's own."""

import dataclasses
import hashlib
import inspect
import json
import sys
from pathlib import Path
from typing import Any

from jaxreid.cli.model.exported import open_exported
from jaxreid.cli.model.loaded import LoadedModel, Surroundings
from jaxreid.cli.model.named import hash_of_source, named_object
from jaxreid.cli.model.ranker import opened_ranker
from jaxreid.cli.model.torch_module import opened, refuse_unknown_size
from jaxreid.constants import LONGEST_STORED_SIDE
from jaxreid.data.catalogue import image_size
from jaxreid.errors import InputError, reason_of

__all__ = ["default_size", "load_model"]

_BEST = "best.safetensors"
_CONFIG = "config.json"


def load_model(
    spec: str,
    *,
    dtype: str = "float32",
    flip: bool | None = None,
    unit_length: bool | None = None,
) -> LoadedModel:
    """Loads a file of weights or an exported one, hf:owner/name, a training's folder, a function.

    Of torch:module:factory, `torch_module.settled` makes the embedding afterwards. With `flip`,
    features are averaged over the image and its mirror image, with `unit_length` they are divided
    by their L2 norm; None does as the model's pipeline says. An InputError says why a model cannot
    be loaded.
    """
    around = Surroundings(flip, unit_length)
    if spec.startswith("hf:"):
        return _from_weights(spec, dtype, around)
    if spec.startswith("torch:"):
        return opened(spec, dtype, around)
    if spec.startswith("ranker:"):
        return opened_ranker(spec, dtype, around)
    try:
        path = Path(spec).expanduser()
        is_folder, exists = path.is_dir(), path.exists()
    # The name is too long, links run in a circle, there is no home, ...
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(f"{spec} cannot be read: {reason_of(error)}") from None
    from jaxreid.models.exported import is_exported

    if exists and is_exported(path):
        return open_exported(path, dtype, around)
    if is_folder:
        return _from_folder(path, dtype, around)
    if ":" in spec and not exists:
        return _from_function(spec, dtype, around)
    return _from_weights(path, dtype, around)


def default_size(dataset: str, model: LoadedModel) -> tuple[int, int]:
    """(height, width) of images where the user names none: the model's, or else the dataset's."""
    refuse_unknown_size(model)
    return model.size or image_size(dataset)


def _from_folder(folder: Path, dtype: str, around: Surroundings) -> LoadedModel:
    best = folder / _BEST
    if not best.is_file() and any(folder.glob("*.safetensors.index.json")):
        return _from_weights(folder, dtype, around)
    if not best.is_file():
        last = folder / "last.safetensors"
        hint = (
            f"nothing chose the best: name {last}"
            if last.is_file()
            else "expected the folder of a training"
        )
        raise InputError(f"{folder} holds no {_BEST}; {hint}")
    loaded = _from_weights(best, dtype, around)
    size = _trained_size(folder / _CONFIG) or loaded.size
    facts = loaded.facts if size is None else {**loaded.facts, "training_size": list(size)}
    return loaded._replace(name=folder.resolve().name, size=size, facts=facts)


def _trained_size(path: Path) -> tuple[int, int] | None:
    """dataset.size of a training's configuration, if it is there."""
    try:
        height, width = json.loads(path.read_text(encoding="utf-8"))["dataset"]["size"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{path} does not say dataset.size: {error!r}; use --size") from None
    if not all(type(side) is int and 0 < side <= LONGEST_STORED_SIDE for side in (height, width)):
        raise InputError(
            f"{path}: dataset.size must be two integers from 1 to {LONGEST_STORED_SIDE}, got "
            f"{height!r} and {width!r}; use --size"
        )
    return height, width


def _from_weights(source: str | Path, dtype: str, around: Surroundings) -> LoadedModel:
    import jax.numpy as jnp

    from jaxreid.models import Pipeline, embedding, weights
    from jaxreid.models.kinds import architecture_name
    from jaxreid.models.weights.choices import for_convert
    from jaxreid.models.weights.storage import file_digest

    try:
        model = weights.load(source, dtype=jnp.dtype(dtype))
    except InputError as error:
        raise for_convert(error) from error
    config = model.config
    if isinstance(source, Path):
        _, digest = file_digest(source)
    else:
        digest = _hash_of_tensors(weights.to_state_dict(model))
    facts = {
        "architecture": architecture_name(config.backbone),
        "head": config.head,
        "features": config.feature_size,
        "weights": str(source),
        "sha256": digest,
    }
    if config.size is not None:
        facts["training_size"] = list(config.size)
    pipeline = config.pipeline
    if pipeline is not None:
        facts["pipeline"] = dataclasses.asdict(pipeline)
    name = source.stem if isinstance(source, Path) else source.rpartition("/")[2]
    usual = pipeline or Pipeline()
    embed = embedding(
        model,
        normalize=usual.unit_length if around.unit_length is None else around.unit_length,
        flip=usual.flip if around.flip is None else around.flip,
    )
    return LoadedModel(embed.frozen(), facts, name, config.size, config)


def _hash_of_tensors(tensors: dict[str, Any]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name}\0{tensors[name].dtype}{tensors[name].shape}\0".encode())
        digest.update(tensors[name].tobytes())
    return digest.hexdigest()


def _from_function(spec: str, dtype: str, around: Surroundings) -> LoadedModel:
    if dtype != "float32":
        raise InputError("--dtype is for networks of jaxreid; a function computes as it likes")
    module, function = named_object(spec, spec)
    if not callable(function):
        raise InputError(f"{spec} is a {type(function).__name__}; expected images -> features")
    _refuse_other_callables(function, spec)
    facts = {"function": spec, "sha256": hash_of_source(module)}
    name = spec.partition(":")[2]
    return LoadedModel(around.of_function(function), facts, name, None)


def _refuse_other_callables(function: Any, spec: str) -> None:
    """What gives a PyTorch module, or is one, is named otherwise."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(function, torch.nn.Module):
        raise InputError(f"{spec} is a PyTorch module: name it torch:{spec}")
    try:
        inspect.signature(function).bind(None)
    except TypeError as error:
        raise InputError(
            f"{spec} does not take images alone ({error}); expected images -> features, and of "
            f"PyTorch a function that returns the module, as torch:{spec}"
        ) from None
    # Of what is written in C nothing is known.
    except ValueError:
        return
