"""Tensors into a network and out of it: every one used exactly once, nothing cast."""

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxreid.errors import InputError
from jaxreid.models.reid import ModelConfig, ReID
from jaxreid.models.weights.layouts import LAYOUTS, Path, from_torch, name_of, to_torch

__all__ = ["assemble", "export_tensors", "import_tensors", "parameters"]

# PyTorch's count of training batches: only read when BatchNorm has no momentum, which ours has.
_COUNTER = "num_batches_tracked"


def _abstract(config: ModelConfig, **options: Any) -> ReID:
    return nnx.eval_shape(lambda: ReID(config, rngs=nnx.Rngs(0), **options))


def parameters(model: ReID) -> dict[Path, np.ndarray]:
    """All parameters and statistics of a network.

    Args:
        model: the network.

    Returns:
        path -> array, types and bits as they are.
    """
    return {path: np.asarray(variable[...]) for path, variable in _flat(nnx.state(model)).items()}


def _flat(state: nnx.State) -> dict[Path, Any]:
    """Path -> variable."""
    return cast(dict[Path, Any], dict(nnx.to_flat_state(state)))


def export_tensors(
    values: Mapping[Path, np.ndarray], config: ModelConfig, layout: str
) -> dict[str, np.ndarray]:
    """Names parameters as a PyTorch library does.

    Args:
        values: path -> array, of `parameters` or `import_tensors`.
        config: the network.
        layout: a key of LAYOUTS.

    Returns:
        name -> array in PyTorch's axes; with every BatchNorm's counter, which is 0.

    Raises:
        InputError: the library has no such network.
    """
    tensors = {}
    for path, value in values.items():
        name = name_of(path, config, layout)
        tensors[name] = to_torch(value, path)
        if path[-1] == "var":
            tensors[name.replace("running_var", _COUNTER)] = np.zeros((), np.int64)
    return tensors


def import_tensors(
    tensors: Mapping[str, np.ndarray],
    config: ModelConfig,
    layout: str,
    *,
    allow_missing: Sequence[str] = (),
    allow_unused: Sequence[str] = (),
) -> dict[Path, np.ndarray]:
    """Sorts tensors into the places of a network, strictly.

    Args:
        tensors: name -> array, named by layout.
        config: the network.
        layout: a key of LAYOUTS.
        allow_missing: what may be missing: "head", or patterns of names such as "fc.*".
        allow_unused: what is ignored: "head", or patterns of names.

    Returns:
        path -> array, types and bits kept; without the places that are allowed to be missing.

    Raises:
        InputError: a tensor is missing, left over, of another shape or not of floating point; all
            of them are named.
    """
    expected = {
        path: variable.shape for path, variable in _flat(nnx.state(_abstract(config))).items()
    }
    names = {name_of(path, config, layout): path for path in expected}
    heads = LAYOUTS[layout].head_names
    given = {n: v for n, v in tensors.items() if not _matches(n, allow_unused, heads)}
    counters = {n.replace("running_var", _COUNTER) for n in names if n.endswith("running_var")}
    missing = [n for n in names if n not in given and not _matches(n, allow_missing, heads)]
    unused = [n for n in given if n not in names and n not in counters]
    problems = [
        *_listed("missing", missing, "--allow-missing"),
        *_listed("left over", unused, "--allow-unused"),
    ]
    values = {names[n]: from_torch(v, names[n]) for n, v in given.items() if n in names}
    for name, path in names.items():
        if path in values and values[path].shape != expected[path]:
            wanted = to_torch(np.broadcast_to(np.int8(0), expected[path]), path).shape
            problems.append(f"{name} has shape {given[name].shape}, expected {wanted}")
        elif path in values and not jnp.issubdtype(values[path].dtype, jnp.floating):
            problems.append(f"{name} is {values[path].dtype}, expected floating point")
    if problems:
        more = f"; and {len(problems) - 6} more" if len(problems) > 6 else ""
        raise InputError("; ".join(problems[:6]) + more)
    return values


def _matches(name: str, patterns: Iterable[str], heads: set[str]) -> bool:
    for pattern in patterns:
        if fnmatchcase(name, pattern):
            return True
        if pattern == "head" and any(name.startswith(f"{head}.") for head in heads):
            return True
    return False


def _listed(what: str, names: Sequence[str], option: str) -> list[str]:
    if not names:
        return []
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return [f"{len(names)} {what}: {', '.join(names[:8])}{more} ({option} for exceptions)"]


def assemble(
    values: Mapping[Path, np.ndarray],
    config: ModelConfig,
    *,
    dtype: Any = jnp.float32,
    axis_name: str | None = None,
    rngs: nnx.Rngs | None = None,
) -> ReID:
    """Builds a network from parameters.

    Args:
        values: path -> array, of `import_tensors`.
        config: the network.
        dtype: of the backbone's computation, float32 or bfloat16.
        axis_name: mapped axis over which BatchNorm's batch statistics are shared.
        rngs: source of the parameters that values lacks.

    Returns:
        The network.

    Raises:
        InputError: values are float64 and JAX is set to 32 bits, or parameters are missing and
            rngs is None.
    """
    wide = [path for path, value in values.items() if value.dtype.itemsize > 4]
    if wide and not jax.config.values["jax_enable_x64"]:
        where = ".".join(map(str, wide[0]))
        raise InputError(f"{where} is float64: convert with --dtype float32, or set jax_enable_x64")
    options = {"dtype": dtype, "axis_name": axis_name}
    model = _abstract(config, **options)
    graph, state = nnx.split(model)
    flat = _flat(state)
    fresh = set(flat) - set(values)
    if fresh:
        if rngs is None:
            raise InputError("parameters without a value need rngs, to draw their first values")
        initial = parameters(ReID(config, rngs=rngs, **options))
        values = {**values, **{path: initial[path] for path in fresh}}
    filled = {path: variable.replace(jnp.asarray(values[path])) for path, variable in flat.items()}
    return nnx.merge(graph, nnx.from_flat_state(cast(Any, filled)))
