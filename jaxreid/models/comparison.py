"""Our network beside a PyTorch module of the same weights: how far apart, and from where on."""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxreid.models.reid import ReID
from jaxreid.models.torch_modules import Inputs
from jaxreid.models.torch_modules.host import HostModule
from jaxreid.models.torch_modules.outputs import OutputChoice
from jaxreid.models.torch_modules.parity import norm_of_rows
from jaxreid.models.weights import default_layout, to_state_dict
from jaxreid.models.weights.layouts import name_of
from jaxreid.types import Array

__all__ = ["EXPECTED", "EXPECTED_OF_GRADIENTS", "Comparison", "Stage", "compare"]

EXPECTED = 1e-5
"""Largest relative difference of two right networks in float32."""
EXPECTED_OF_GRADIENTS = 1e-2
"""The same of gradients: a few activations may lie on the other side of a kink."""


class Stage(NamedTuple):
    """What a part of both networks gives.

    Attributes:
        name: of the part, in the PyTorch module.
        shape: of PyTorch's output.
        difference: max|f - f'| / max|f'|; None where the shapes are not those of the same thing.
    """

    name: str
    shape: tuple[int, ...]
    difference: float | None


class Comparison(NamedTuple):
    """How far a network is from a PyTorch module.

    Attributes:
        tensors: names of tensors that both have, but with other values.
        shared: how many tensors both have.
        stages: parts of the same name, in the order in which PyTorch runs them.
        begins: name of the first stage where more than rounding differs; None if there is none.
        begins_with_weights: whether a tensor of the part where it begins has another value.
        features: max|f - f'| / max|f'| of an image, the largest; infinite for other shapes.
        gradients: ||g - g'|| / ||g'|| of an image for the gradient of a sum of the features with
            random signs to the pixels, the largest.
    """

    tensors: tuple[str, ...]
    shared: int
    stages: tuple[Stage, ...]
    begins: str | None
    begins_with_weights: bool
    features: float
    gradients: float


def compare(
    model: ReID,
    module: Any,
    images: np.ndarray,
    *,
    layout: str | None = None,
    inputs: Inputs | None = None,
    output: OutputChoice = None,
) -> Comparison:
    """Runs both networks, and compares what their parts of the same name give.

    Ours is traced once, and what its parts return is kept by the names that their weights have in
    the library's files; PyTorch's parts are heard by forward hooks. While it is traced, classes of
    Flax are changed: one comparison at a time.

    Args:
        model: the network.
        module: `torch.nn.Module`, in any mode; it is copied.
        images: [B,H,W,3] float32 in [0, 1].
        layout: whose names its parts have, a key of LAYOUTS; `default_layout` by default.
        inputs: what the module takes; by default [B,3,H,W] with the pixels as our backbone gets
            them, resized and normalised.
        output: which of the module's outputs is the feature.

    Returns:
        The differences, relative; `EXPECTED` is what rounding explains.

    Raises:
        InputError: the module fails, or gives no features.
    """
    layout = layout or default_layout(model.config)
    host = HostModule(module, output)
    prepare = inputs.prepared if inputs is not None else _as_our_backbone(model)
    own = to_state_dict(model, layout=layout)
    theirs = host.module.state_dict()
    beginnings = _beginnings(own, theirs)
    parts = {name for name, _ in host.module.named_modules() if name}
    names = {
        path: there
        for path, name in _names_of_parts(model, layout).items()
        # With the dot that beginnings have: "base" itself is one of the parts.
        if (there := beginnings.in_module(f"{name}.").rstrip(".")) in parts
    }
    x, pull_back = jax.vjp(prepare, jnp.asarray(images))
    outputs, expected = _torch_stages(host, np.asarray(x), frozenset(names.values()))
    signs = np.random.default_rng(0).choice([-1.0, 1.0], expected.shape)
    (gradient,) = pull_back(jnp.asarray(host.gradient(np.asarray(x), signs), x.dtype))
    found, features, own_gradient = _our_stages(model, images, names, signs)
    stages = tuple(
        Stage(name, value.shape, _difference(found[name], value))
        for name, value in outputs.items()
        if name in found
    )
    shared = _shared(own, theirs, beginnings)
    changed = _changed(own, theirs, shared)
    begins = next((s.name for s in stages if not (s.difference or 0) <= EXPECTED), None)
    return Comparison(
        changed,
        len(shared),
        stages,
        begins,
        any(shared[name].startswith(f"{begins}.") for name in changed),
        _features_apart(features, expected),
        np.inf if own_gradient is None else norm_of_rows(own_gradient, np.asarray(gradient)),
    )


def _as_our_backbone(model: ReID) -> Callable[[Array], Array]:
    return lambda images: jnp.transpose(model._pixels(images), (0, 3, 1, 2))


class _Beginnings(NamedTuple):
    """What names begin with in the file, such as "base.", and in the module in its place."""

    here: str
    there: str

    def in_module(self, name: str) -> str:
        """The name in the module of what the file calls so."""
        begins, rest = name[: len(self.here)], name[len(self.here) :]
        return self.there + rest if begins == self.here else name


def _beginnings(own: Mapping[str, Any], theirs: Mapping[str, Any]) -> _Beginnings:
    """Those by which most names are in both."""
    firsts = Counter(name.partition(".")[0] + "." for name in own)
    candidates = [_Beginnings("", "")]
    for here in ("", *(first for first, count in firsts.items() if 2 * count > len(own))):
        rest = max((n.removeprefix(here) for n in own if n.startswith(here)), key=len)
        ends = (name for name in theirs if f".{name}".endswith(f".{rest}"))
        candidates += [_Beginnings(here, name.removesuffix(rest)) for name in ends]
    return max(candidates, key=lambda found: len(_shared(own, theirs, found)))


def _shared(
    own: Mapping[str, Any], theirs: Mapping[str, Any], beginnings: _Beginnings
) -> dict[str, str]:
    """Name of a tensor in the file -> in the module, of those that both have."""
    there = {name: beginnings.in_module(name) for name in own}
    # Where two would be one, it is the part that lost its beginning: most of the network.
    taken = {new for name, new in there.items() if new != name}
    return {n: new for n, new in there.items() if new in theirs and not (new == n and n in taken)}


def _names_of_parts(model: ReID, layout: str) -> dict[tuple[str | int, ...], str]:
    """Path of each part of the network -> its name in the library's files, as far as they agree."""
    names: dict[tuple[str | int, ...], str] = {}
    for path, _ in nnx.to_flat_state(nnx.state(model)):
        place = tuple(cast(tuple[str | int, ...], path)[:-1])
        words = name_of(cast(Any, path), model.config, layout).split(".")[:-1]
        while place and words:
            names.setdefault(place, ".".join(words))
            if str(place[-1]) != words[-1]:
                break
            place, words = place[:-1], words[:-1]
    return names


def _torch_stages(
    host: HostModule, x: np.ndarray, wanted: frozenset[str]
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Outputs of the module's parts, in the order in which they end, and its features."""
    import torch

    outputs: dict[str, np.ndarray] = {}

    def heard(name: str) -> Callable[..., None]:
        def keep(_part: Any, _given: Any, output: Any) -> None:
            if isinstance(output, torch.Tensor) and output.dtype.is_floating_point:
                # As it is now: what follows may write into it.
                outputs.setdefault(name, output.detach().float().cpu().numpy().copy())

        return keep

    with contextlib.ExitStack() as hooks:
        for name, part in host.module.named_modules():
            if name in wanted:
                handle = part.register_forward_hook(heard(name))
                hooks.callback(handle.remove)
        features = host.features(x)
    return outputs, features


def _our_stages(
    model: ReID, images: np.ndarray, names: Mapping[tuple[str | int, ...], str], signs: np.ndarray
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray | None]:
    """Outputs of the parts that have a name, the features, and the gradient to the images."""
    graph, state = nnx.split(model)

    @jax.jit
    def run(state: Any, images: Array) -> Any:
        network = nnx.merge(graph, state)
        all_parts = cast(Any, nnx.iter_modules(network))
        named = [(part, names[path]) for path, part in all_parts if path in names]
        kept: dict[str, Array] = {}

        def embed(images: Array) -> tuple[Array, dict[str, Array]]:
            with _heard(named, kept):
                return network(images).features, dict(kept)

        features, back, outputs = jax.vjp(embed, images, has_aux=True)
        fits = features.shape == signs.shape
        gradient = back(jnp.asarray(signs, features.dtype))[0] if fits else None
        return outputs, features, gradient

    with jax.default_matmul_precision("highest"):
        found: Any = jax.tree.map(np.asarray, run(state, jnp.asarray(images)))
    return found


@contextlib.contextmanager
def _heard(named: Sequence[tuple[nnx.Module, str]], kept: dict[str, Array]) -> Iterator[None]:
    """Keeps what these parts return while the block runs: Python looks up calls in the class."""
    names = {id(part): name for part, name in named}
    kinds = {type(part) for part, _ in named if callable(part)}
    before = {kind: vars(kind).get("__call__") for kind in kinds}

    def listening(call: Callable[..., Any]) -> Callable[..., Any]:
        def listen(self: Any, *given: Any, **options: Any) -> Any:
            output = call(self, *given, **options)
            if id(self) in names and isinstance(output, jax.Array):
                kept.setdefault(names[id(self)], output)
            return output

        return listen

    # All are looked up before any is changed: one may inherit another's.
    calls = {kind: listening(cast(Any, kind).__call__) for kind in kinds}
    try:
        for kind, call in calls.items():
            setattr(kind, "__call__", call)  # noqa: B010
        yield
    finally:
        for kind, own in before.items():
            if own is None:
                delattr(kind, "__call__")
            else:
                setattr(kind, "__call__", own)  # noqa: B010


def _difference(got: np.ndarray, expected: np.ndarray) -> float | None:
    """The least of the ways in which axes may correspond: NHWC, tokens first, ones added."""
    ways = [got]
    if got.ndim == 4:
        ways.append(got.transpose(0, 3, 1, 2))
    if got.ndim == 3:
        ways.append(got.swapaxes(0, 1))
        ways.append(got.swapaxes(1, 2))
    ways += [way.reshape(expected.shape) for way in ways if way.size == expected.size]
    if got.ndim == expected.ndim == 3 and got.shape[1] < expected.shape[1]:
        # Ours computes no other tokens of the last block than those that the feature is made of.
        expected, ways = expected[:, : got.shape[1]], [got]
    fits = [way for way in ways if way.shape == expected.shape]
    largest = max(float(np.abs(expected).max(initial=0)), float(np.finfo(np.float32).tiny))
    apart = [float(np.abs(way - expected).max(initial=0)) / largest for way in fits]
    return min(apart) if apart else None


def _features_apart(got: np.ndarray, expected: np.ndarray) -> float:
    if got.shape != expected.shape:
        return np.inf
    return max(_difference(g, e) or 0.0 for g, e in zip(got, expected, strict=True))


def _changed(
    own: Mapping[str, np.ndarray], theirs: Mapping[str, Any], shared: Mapping[str, str]
) -> tuple[str, ...]:
    """Names in the file of tensors of another value or shape."""
    return tuple(
        name
        for name, there in shared.items()
        if not np.array_equal(own[name], theirs[there].float().cpu().numpy())
        and not name.endswith("num_batches_tracked")
    )
