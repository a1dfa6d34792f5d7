"""File to network, network to file, file to file."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Unpack

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxreid.errors import InputError
from jaxreid.models.config import ModelConfig
from jaxreid.models.reid import ReID
from jaxreid.models.weights.accounting import Ignored
from jaxreid.models.weights.choices import Choices
from jaxreid.models.weights.keeping import cast_to, keep
from jaxreid.models.weights.layouts import check_layout, default_layout, only_here
from jaxreid.models.weights.names import looks_like
from jaxreid.models.weights.recognition import HEADER, Plan, encode, plan
from jaxreid.models.weights.returning import Unlike, unlike
from jaxreid.models.weights.storage import Checkpoint, from_memory, read, write, write_torch
from jaxreid.models.weights.transfer import (
    Imported,
    assemble,
    draw_missing,
    export_tensors,
    import_tensors,
    parameters,
    without_bias,
)

__all__ = ["Conversion", "convert", "from_state_dict", "load", "save", "to_state_dict"]


_OF_TORCH = (".pth", ".pt")
# What a target layout may be beside a key of LAYOUTS: SOURCE's names in a file of this kind.
_KINDS_OF_FILES = {"torch": _OF_TORCH, "safetensors": (".safetensors",)}


class Conversion(NamedTuple):
    """What `convert` read and wrote.

    Attributes:
        config: the network in the file written.
        source_layout: key of LAYOUTS, names of the file read.
        target_layout: key of LAYOUTS, names of the file written.
        numbers: parameters and statistics written.
        ignored: tensors of the file read that were left out, each with its reason.
        peeled: what stood around the network, from the outside: keys of the file ("state_dict"),
            then what its names began with ("module.", "model.").
        unlike: what differs from the networks that the target's library has by these names.
        types: names of the types of what was written.
    """

    config: ModelConfig
    source_layout: str
    target_layout: str
    numbers: int
    ignored: tuple[Ignored, ...]
    peeled: tuple[str, ...]
    unlike: tuple[Unlike, ...] = ()
    types: frozenset[str] = frozenset()


def _import(
    checkpoint: Checkpoint,
    layout: str | None,
    choices: Choices,
    *,
    allow_missing: Sequence[str],
    allow_unused: Sequence[str],
) -> tuple[Plan, Imported]:
    try:
        found = plan(checkpoint, layout, choices)
    except InputError as error:
        raise InputError(f"{checkpoint.name}: {error}") from error
    try:
        imported = import_tensors(
            found.tensors,
            found.config,
            found.layout,
            allow_missing=allow_missing,
            allow_unused=allow_unused,
        )
    except InputError as error:
        other = looks_like(checkpoint.tensors, layout) if layout is not None else ""
        raise InputError(f"{checkpoint.name}: {found.where}{error}{other}") from error
    return found, imported


def from_state_dict(
    tensors: Mapping[str, Any],
    *,
    layout: str | None = None,
    allow_missing: Sequence[str] = (),
    allow_unused: Sequence[str] = (),
    dtype: jnp.dtype = jnp.float32,
    axis_name: str | None = None,
    rngs: nnx.Rngs | None = None,
    **choices: Unpack[Choices],
) -> ReID:
    """Builds a network from a PyTorch state dict in memory; every tensor is used exactly once.

    Args:
        tensors: name -> PyTorch tensor of any device, or array ([K,C,h,w] convolutions, [K,C]
            linear layers): `model.state_dict()`; `module.` prefixes are taken off.
        layout: who named the tensors, a key of LAYOUTS; found by the names by default.
        allow_missing: tensors that may be missing and are drawn from rngs: "head", or patterns
            such as "fc.*".
        allow_unused: tensors that are ignored: "head", or patterns.
        dtype: of the backbone's computation, float32 or bfloat16; weights keep their type.
        axis_name: mapped axis over which BatchNorm's batch statistics are shared.
        rngs: source of what is missing.
        **choices: what tensors do not show; see Choices.

    Returns:
        The network.

    Raises:
        InputError: a tensor is missing, left over, or of another shape; all of them are named.
    """
    checkpoint = from_memory(tensors, choices.get("network"))
    found, imported = _import(
        checkpoint, layout, choices, allow_missing=allow_missing, allow_unused=allow_unused
    )
    return assemble(imported.values, found.config, dtype=dtype, axis_name=axis_name, rngs=rngs)


def load(
    source: str | os.PathLike[str],
    *,
    layout: str | None = None,
    allow_missing: Sequence[str] = (),
    allow_unused: Sequence[str] = (),
    dtype: jnp.dtype = jnp.float32,
    axis_name: str | None = None,
    rngs: nnx.Rngs | None = None,
    **choices: Unpack[Choices],
) -> ReID:
    """Builds a network from a file: one of `save`, or of a PyTorch library.

    Args:
        source: path of a .safetensors or PyTorch file, or "hf:owner/name".
        layout: who named the tensors, a key of LAYOUTS; found by header or names by default.
        allow_missing: tensors that may be missing and are drawn from rngs: "head", or patterns
            such as "fc.*".
        allow_unused: tensors that are ignored: "head", or patterns.
        dtype: of the backbone's computation, float32 or bfloat16; weights keep their type.
        axis_name: mapped axis over which BatchNorm's batch statistics are shared.
        rngs: source of what is missing.
        **choices: what tensors do not show; see Choices.

    Returns:
        The network.

    Raises:
        InputError: the file is broken or unsafe, or its tensors do not fit; named in the message.
    """
    checkpoint = read(source, network=choices.get("network"))
    found, imported = _import(
        checkpoint, layout, choices, allow_missing=allow_missing, allow_unused=allow_unused
    )
    try:
        return assemble(imported.values, found.config, dtype=dtype, axis_name=axis_name, rngs=rngs)
    except InputError as error:
        raise InputError(f"{checkpoint.name}: {error}") from error


def to_state_dict(model: ReID, *, layout: str | None = None) -> dict[str, np.ndarray]:
    """Names a network's weights as a PyTorch library does.

    Args:
        model: the network.
        layout: whose names, a key of LAYOUTS; `default_layout` by default.

    Returns:
        name -> array in PyTorch's axes, types and bits as they are; BatchNorm's counters are 0.

    Raises:
        InputError: the library has no such network.
    """
    layout = check_layout(layout or default_layout(model.config), model.config)
    return export_tensors(parameters(model), model.config, layout)


def save(
    model: ReID,
    path: str | os.PathLike[str],
    *,
    layout: str | None = None,
    training_size: tuple[int, int] | None = None,
) -> None:
    """Writes a network that `load` and PyTorch can read; load(save(x)) equals x bit by bit.

    The header holds the configuration and a checksum over it and all tensors, which `load` checks.

    Args:
        model: the network.
        path: ends in .safetensors; written under a temporary name, then renamed.
        layout: whose names, a key of LAYOUTS; `default_layout` by default.
        training_size: (height, width) in pixels of the images it was trained on, for
            `model.config.training_size` of whoever loads it; the model's own by default.

    Raises:
        InputError: the library has no such network, or the path is not writable as said.
    """
    config = model.config
    if training_size is not None:
        config = dataclasses.replace(config, training_size=training_size)
    layout = check_layout(layout or default_layout(config), config)
    tensors = to_state_dict(model, layout=layout)
    write(path, tensors, {HEADER: encode(config, layout, tensors)})


def convert(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    layout: str | None = None,
    target_layout: str | None = None,
    dtype: str | None = None,
    allow_missing: Sequence[str] = (),
    allow_unused: Sequence[str] = (),
    seed: int = 0,
    **choices: Unpack[Choices],
) -> Conversion:
    """Checks a checkpoint tensor by tensor and writes it as .safetensors, or for torch.load.

    Args:
        source: path of a .safetensors or PyTorch file, or "hf:owner/name".
        target: path of the file to write, ends in .safetensors; or in .pth or .pt, for a state
            dict that PyTorch, which must be installed, writes: names and tensors alone.
        layout: who named the tensors, a key of LAYOUTS; found by header or names by default.
        target_layout: whose names to write, a key of LAYOUTS; "torch" and "safetensors" are the
            source's, in a file of that kind; by default the source's for PyTorch, else
            `default_layout`.
        dtype: type to cast to ("float32", "bfloat16", ...); the file's own by default.
        allow_missing: tensors that may be missing and are drawn from seed: "head", or patterns.
        allow_unused: tensors that are ignored: "head", or patterns.
        seed: of what is missing.
        **choices: what tensors do not show; see Choices.

    Returns:
        What was read and written.

    Raises:
        InputError: the file is broken or unsafe, or its tensors do not fit; nothing is written.
    """
    checkpoint = read(source, network=choices.get("network"))
    found, imported = _import(
        checkpoint, layout, choices, allow_missing=allow_missing, allow_unused=allow_unused
    )
    torch = Path(target).suffix in _OF_TORCH
    if torch and (own := only_here(found.config)):
        raise InputError(
            f"{os.fspath(target)}: a state dict of PyTorch would lose {own}, which no tensor "
            "shows; write .safetensors, whose header says it"
        )
    usual = found.layout if torch or target_layout else default_layout(found.config)
    own_names = target_layout in _KINDS_OF_FILES or (torch and target_layout is None)
    target_layout = _without_kind(target_layout, target)
    chosen = check_layout(target_layout or usual, found.config)
    # Imported values never pass through JAX: it would cut float64 to 32 bits.
    drawn = draw_missing(imported.values, found.config, jax.random.key(seed))
    values, config, left = without_bias(
        {**imported.values, **drawn}, found.config, chosen, found.layout
    )
    kept = keep(found, imported, config, chosen, own=own_names)
    tensors = export_tensors(values, config, chosen) | kept.tensors
    if dtype is not None:
        tensors = cast_to(dtype, tensors, os.fspath(source))
    differs = unlike(tensors, config, chosen)
    if own_names:
        tensors = {found.stored.get(name, name): value for name, value in tensors.items()}
    if torch:
        write_torch(target, tensors)
    else:
        write(target, tensors, {HEADER: encode(config, chosen, tensors)})
    numbers = sum(value.size for value in values.values())
    others = (one for one in imported.ignored if one.name not in kept.names)
    ignored = (*found.ignored, *others, *left)
    types = frozenset(value.dtype.name for value in tensors.values())
    return Conversion(config, found.layout, chosen, numbers, ignored, found.peeled, differs, types)


def _without_kind(layout: str | None, target: str | os.PathLike[str]) -> str | None:
    """None for "torch" and "safetensors", after a look at what the target is called."""
    endings = _KINDS_OF_FILES.get(layout or "")
    if endings is None:
        return layout
    if Path(target).suffix not in endings:
        raise InputError(
            f"{os.fspath(target)}: a target of {layout} ends in {' or '.join(endings)}"
        )
    return None
