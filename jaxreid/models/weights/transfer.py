"""Tensors into a network and out of it: every one used exactly once, nothing cast."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxreid.errors import InputError, listed
from jaxreid.models.config import ModelConfig
from jaxreid.models.reid import ReID
from jaxreid.models.weights.accounting import COUNTER, Ignored, account, left_over, matches
from jaxreid.models.weights.layouts import LAYOUTS, Path, name_of

__all__ = [
    "Imported",
    "SameKey",
    "assemble",
    "draw_missing",
    "export_tensors",
    "from_torch",
    "import_tensors",
    "parameters",
    "shapes_in",
    "to_torch",
    "unfit_values",
    "without_bias",
]

_TYPES = ("float16", "bfloat16", "float32", "float64")


class SameKey:
    """Stands for `nnx.Rngs` where only shapes matter, and gives one key for everything.

    nnx.Rngs counts its keys inside the program that is traced, and with each of them JAX looks
    through all that was traced so far: the time would grow as the square of the parameters' number.
    """

    def __init__(self, key: jax.Array) -> None:
        self._key = key

    def params(self) -> jax.Array:
        """The key."""
        return self._key


@functools.lru_cache(maxsize=8)
def _abstract(
    config: ModelConfig, dtype: jnp.dtype, axis_name: str | None
) -> tuple[Any, dict[Path, nnx.Variable[Any]]]:
    """The graph of a network, and its variables without values: path -> variable.

    Kept, since one load asks for it twice.
    """
    rngs = cast(nnx.Rngs, SameKey(jax.random.key(0)))
    model = nnx.eval_shape(lambda: ReID(config, dtype=dtype, axis_name=axis_name, rngs=rngs))
    graph, state = nnx.split(model)
    return graph, _flat(state)


def to_torch(value: np.ndarray, path: Path) -> np.ndarray:
    """A parameter in PyTorch's axes: [h,w,C,K] -> [K,C,h,w], [C,K] -> [K,C], others as they are."""
    if path[-1] == "kernel":
        value = value.transpose(3, 2, 0, 1) if value.ndim == 4 else value.T
    return np.ascontiguousarray(value)


def from_torch(value: np.ndarray, path: Path) -> np.ndarray:
    """The inverse of `to_torch`."""
    if path[-1] == "kernel":
        value = value.transpose(2, 3, 1, 0) if value.ndim == 4 else value.T
    return np.ascontiguousarray(value)


def parameters(model: ReID) -> dict[Path, np.ndarray]:
    """All parameters and statistics of a network, path -> array, types and bits as they are."""
    return {path: np.asarray(variable[...]) for path, variable in _flat(nnx.state(model)).items()}


def _flat(state: nnx.State[Any, Any]) -> dict[Path, nnx.Variable[Any]]:
    """Path -> variable."""
    return cast(dict[Path, nnx.Variable[Any]], dict(nnx.to_flat_state(state)))


def shapes_in(config: ModelConfig) -> dict[Path, tuple[int, ...]]:
    """The shapes of all parameters and statistics of a network: path -> shape."""
    _, places = _abstract(config, jnp.float32, None)
    return {path: variable.shape for path, variable in places.items()}


def export_tensors(
    values: Mapping[Path, np.ndarray], config: ModelConfig, layout: str
) -> dict[str, np.ndarray]:
    """Names parameters as a PyTorch library does, in its axes, with BatchNorm's counters (0).

    A network has no counters; `keeping` has those of a file.
    """
    tensors = {}
    for path, value in values.items():
        name = name_of(path, config, layout)
        tensors[name] = to_torch(value, path)
        if path[-1] == "var":
            tensors[name.replace("running_var", COUNTER)] = np.zeros((), np.int64)
    return {**tensors, **_buffers(config, layout)}


def without_bias(
    values: Mapping[Path, np.ndarray], config: ModelConfig, layout: str, source: str
) -> tuple[Mapping[Path, np.ndarray], ModelConfig, tuple[Ignored, ...]]:
    """Leaves out the bias of classifiers where a library's have none: no feature passes it.

    Args:
        values: path -> array.
        config: the network.
        layout: a key of LAYOUTS, whose names will be written.
        source: that of the file read, for the names of what is left out.

    Returns:
        Values, network, and what was left out.
    """
    if LAYOUTS[layout].classifier_bias is not False or not config.classifier_bias:
        return values, config, ()
    biases = [
        path
        for path in values
        if path[0] == "head" and str(path[1]).startswith("classifier") and path[-1] == "bias"
    ]
    reason = f"no feature passes it, and classifiers of {layout} have none"
    left = tuple(Ignored(name_of(path, config, source), reason) for path in biases)
    kept = {path: value for path, value in values.items() if path not in biases}
    return kept, dataclasses.replace(config, classifier_bias=False), left


def _buffers(config: ModelConfig, layout: str) -> Mapping[str, np.ndarray]:
    """What the library's files hold beside parameters and counters."""
    make = LAYOUTS[layout].buffers
    return {} if make is None else make(config)


class Imported(NamedTuple):
    """What became of the tensors of a file.

    Attributes:
        values: path -> array; without the places that are allowed to be missing.
        ignored: the tensors without a place, each with its reason.
        problems: why the network is not the file's, where that was no error.
    """

    values: dict[Path, np.ndarray]
    ignored: tuple[Ignored, ...]
    problems: tuple[str, ...] = ()


def import_tensors(
    tensors: Mapping[str, np.ndarray],
    config: ModelConfig,
    layout: str,
    *,
    allow_missing: Sequence[str] = (),
    allow_unused: Sequence[str] = (),
    strict: bool = True,
) -> Imported:
    """Sorts tensors into the places of a network, strictly; types and bits are kept.

    Args:
        tensors: name -> array, named by layout.
        config: the network.
        layout: a key of LAYOUTS.
        allow_missing: what may be missing: "head", or patterns of names such as "fc.*".
        allow_unused: what is ignored: "head", or patterns of names.
        strict: whether a problem is an error.

    Returns:
        The values, and what was left out.

    Raises:
        InputError: strict, and a tensor is missing, left over without a reason, of another shape
            or not of floating point; all of them are named.
    """
    expected = shapes_in(config)
    table = LAYOUTS[layout]
    # A new head needs no names in a library that has no such head.
    skip = "head" in allow_missing and config.head not in table.heads
    named = [path for path in expected if not (skip and path[0] == "head")]
    names = {name_of(path, config, layout): path for path in named}
    heads = table.head_names
    below = {name for name, path in names.items() if path[0] != "head"}
    given = {n: v for n, v in tensors.items() if not matches(n, allow_unused, heads, below)}
    buffers = {n: v for n, v in _buffers(config, layout).items() if n not in table.ignorable}
    accounted = account(tensors, {*names, *buffers}, layout, allow_unused=allow_unused, below=below)
    missing = [n for n in names if n not in given and not matches(n, allow_missing, heads, below)]
    others = [n for n in buffers if n in given and not np.array_equal(given[n], buffers[n])]
    problems = [f"{n} has other values than this network computes" for n in others]
    problems += [*_missing(sorted(missing), names), *left_over(accounted.left, layout)]
    values = {names[n]: from_torch(v, names[n]) for n, v in given.items() if n in names}
    for name, path in names.items():
        if path in values and values[path].shape != expected[path]:
            wanted = to_torch(np.broadcast_to(np.int8(0), expected[path]), path).shape
            problems.append(
                f"{name} has shape {given[name].shape}, expected {wanted}"
                f"{_of_classes(path, given[name].shape, wanted)}"
            )
        elif path in values and values[path].dtype.name not in _TYPES:
            problems.append(
                f"{name} is {values[path].dtype}, expected floating point of 16 to 64 bits"
            )
        elif path in values:
            problems += unfit_values(name, values[path])
    if problems and strict:
        more = f"; and {len(problems) - 6} more" if len(problems) > 6 else ""
        raise InputError("; ".join(problems[:6]) + more)
    return Imported(values, accounted.ignored, tuple(problems))


def _of_classes(path: Path, shape: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    """What it means that a classifier's shape is another one: only the head is to be trained."""
    if not str(path[1]).startswith("classifier") or shape[1:] != wanted[1:] or not shape:
        return ""
    return (
        f": the file has {shape[0]} classes, not {wanted[0]} (to train a new head: --allow-unused "
        "head --allow-missing head)"
    )


def unfit_values(name: str, value: np.ndarray) -> list[str]:
    """Says whether numbers are not finite or variances negative, as a run leaves that diverged.

    Returns parts of a message; none where all is well.
    """
    broken = int(np.count_nonzero(~np.isfinite(value)))
    if broken:
        return [f"{name}: {broken:,} of {value.size:,} values are NaN or infinite"]
    negative = int(np.count_nonzero(value < 0)) if name.endswith("running_var") else 0
    return [f"{name}: {negative:,} of {value.size:,} variances are negative"] if negative else []


def _missing(names: Sequence[str], places: Mapping[str, Path]) -> list[str]:
    """Only a head may be drawn anew without a word on what it does: it is to be trained."""
    if not names:
        return []
    head = all(places[name][0] == "head" for name in names)
    way_out = " (to train a new one: --allow-missing head)" if head else ""
    return [f"{len(names)} missing: {listed(names)}{way_out}"]


def draw_missing(
    values: Mapping[Path, np.ndarray], config: ModelConfig, key: jax.Array
) -> dict[Path, np.ndarray]:
    """First values, float32, of the parameters that an import left out: path -> array."""
    missing = [path for path in shapes_in(config) if path not in values]

    # Compiled, so that the draws of everything else are dropped.
    @jax.jit
    def draw(key: jax.Array) -> list[jax.Array]:
        state = _flat(nnx.state(ReID(config, rngs=nnx.Rngs(key))))
        return [state[path][...] for path in missing]

    drawn = draw(key) if missing else []
    return {path: np.asarray(value) for path, value in zip(missing, drawn, strict=True)}


def assemble(
    values: Mapping[Path, np.ndarray],
    config: ModelConfig,
    *,
    dtype: jnp.dtype = jnp.float32,
    axis_name: str | None = None,
    rngs: nnx.Rngs | None = None,
) -> ReID:
    """Builds a network from parameters, path -> array; what they lack is drawn from rngs."""
    wide = [path for path, value in values.items() if value.dtype.itemsize > 4]
    if wide and not jax.config.values["jax_enable_x64"]:
        where = ".".join(map(str, wide[0]))
        raise InputError(f"{where} is float64: convert with --dtype float32, or set jax_enable_x64")
    graph, flat = _abstract(config, dtype, axis_name)
    if set(flat) - set(values):
        if rngs is None:
            raise InputError("parameters without a value need rngs, to draw their first values")
        values = {**values, **draw_missing(values, config, rngs.params())}
    filled = {path: variable.replace(jnp.asarray(values[path])) for path, variable in flat.items()}
    return nnx.merge(graph, nnx.from_flat_state(cast(Any, filled)))
