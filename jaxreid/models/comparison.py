"""Our network beside a PyTorch module of the same weights: how far apart, and from where on."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxreid.errors import InputError
from jaxreid.models.double_precision import wide_host, wide_model, with_rounded_constants
from jaxreid.models.part_outputs import apart, our_stages, torch_stages
from jaxreid.models.reid import ReID
from jaxreid.models.torch_modules import Inputs
from jaxreid.models.torch_modules.host import HostModule
from jaxreid.models.torch_modules.outputs import OutputChoice
from jaxreid.models.torch_modules.parity import norm_of_rows
from jaxreid.models.weights import default_layout, to_state_dict
from jaxreid.models.weights.layouts import name_of
from jaxreid.types import Array

__all__ = ["EXPECTED", "EXPECTED_OF_GRADIENTS", "EXPECTED_WIDE", "Comparison", "Stage", "compare"]

EXPECTED = 1e-5
"""Largest relative difference of two right networks in float32."""
EXPECTED_WIDE = 1e-9
"""The same in float64, in which an epsilon of a norm is seen that float32's rounding hides."""
EXPECTED_OF_GRADIENTS = 1e-2
"""The same of gradients: a few activations may lie on the other side of a kink, and of equal ones
a maximum may take another, whichever the type."""


class Stage(NamedTuple):
    """What a part of both networks gives.

    Attributes:
        name: of the part, in the PyTorch module.
        shape: of PyTorch's output.
        difference: max|f - f'| / max|f'|; None where they are not laid out as the same thing.
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
        narrow: why both computed in float32; empty where both did in float64.
    """

    tensors: tuple[str, ...]
    shared: int
    stages: tuple[Stage, ...]
    begins: str | None
    begins_with_weights: bool
    features: float
    gradients: float
    narrow: str = ""

    @property
    def expected(self) -> float:
        """What rounding explains of the difference of features and of parts.

        Returns:
            `EXPECTED` or `EXPECTED_WIDE`.
        """
        return EXPECTED if self.narrow else EXPECTED_WIDE


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

    Both compute in float64, of weights as float32 has them: rounding of float32 hides as much as
    another epsilon of a norm changes. Where the module cannot, or gives other features in its own
    type, both compute in float32.

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
        The differences, relative; `Comparison.expected` is what rounding explains.

    Raises:
        InputError: the module fails, or gives no features.
    """
    layout = layout or default_layout(model.config)
    try:
        with jax.enable_x64(True):
            host, wide = wide_host(HostModule(module, output)), wide_model(model)
            pixels = images.astype(np.float64)
            found = _compared(wide, host, pixels, layout, inputs, EXPECTED_WIDE)
            if _normalises_inside(inputs) and _at_first(found) > EXPECTED_WIDE:
                # Maybe by a mean that it keeps in float32.
                as_it = with_rounded_constants(pixels, model.config)
                other = _compared(wide, host, pixels, layout, inputs, EXPECTED_WIDE, ours=as_it)
                found = min(found, other, key=_at_first)
            x = np.asarray(_prepare(model, inputs)(jnp.asarray(pixels)))
            as_it_is = HostModule(module, output).features(x.astype(np.float32))
            changed = _features_apart(as_it_is, host.features(x))
        if changed <= EXPECTED:
            return found
        # Autocast, for one, leaves float64 alone.
        narrow = f"its features are {changed:.1e} from those that it has in its own type"
    # Whatever the module did, it may not do in its own type.
    except InputError as error:
        narrow = str(error)
    found = _compared(model, HostModule(module, output), images, layout, inputs, EXPECTED)
    return found._replace(narrow=narrow)


def _normalises_inside(inputs: Inputs | None) -> bool:
    """Whether a module takes pixels without a mean and a deviation."""
    return (
        inputs is not None
        and not any(inputs.mean or ())
        and all(value == 1 for value in inputs.std or ())
    )


def _at_first(found: Comparison) -> float:
    """How far the first parts are apart, or the features where no part has a name."""
    first = found.stages[0].difference if found.stages else None
    return found.features if first is None else first


def _compared(
    model: ReID,
    host: HostModule,
    images: np.ndarray,
    layout: str,
    inputs: Inputs | None,
    rounding: float,
    *,
    ours: np.ndarray | None = None,
) -> Comparison:
    prepare = _prepare(model, inputs)
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
    outputs, expected = torch_stages(host, np.asarray(x), frozenset(names.values()))
    signs = np.random.default_rng(0).choice([-1.0, 1.0], expected.shape)
    (gradient,) = pull_back(jnp.asarray(host.gradient(np.asarray(x), signs), x.dtype))
    found, features, own_gradient = our_stages(
        model, images if ours is None else ours, names, signs
    )
    stages = _laid_out_alike(
        [
            Stage(name, value.shape, apart(found[name], value))
            for name, value in outputs.items()
            if name in found
        ],
        rounding,
    )
    shared = _shared(own, theirs, beginnings)
    changed = _changed(own, theirs, shared)
    begins = next((s.name for s in stages if not (s.difference or 0) <= rounding), None)
    return Comparison(
        changed,
        len(shared),
        stages,
        begins,
        any(shared[name].startswith(f"{begins}.") for name in changed),
        _features_apart(features, expected),
        np.inf if own_gradient is None else norm_of_rows(own_gradient, np.asarray(gradient)),
    )


def _laid_out_alike(stages: list[Stage], rounding: float) -> tuple[Stage, ...]:
    """Without the differences of parts inside of one that gives the same: of order, as windows'."""
    same = [s.name for s in stages if s.difference is not None and s.difference <= rounding]
    return tuple(
        stage._replace(difference=None)
        if stage.name not in same and any(stage.name.startswith(f"{name}.") for name in same)
        else stage
        for stage in stages
    )


def _prepare(model: ReID, inputs: Inputs | None) -> Callable[[Array], Array]:
    """What the module takes of images."""
    if inputs is not None:
        return inputs.prepared
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


def _features_apart(got: np.ndarray, expected: np.ndarray) -> float:
    if got.shape != expected.shape:
        return np.inf
    return max(apart(g, e) or 0.0 for g, e in zip(got, expected, strict=True))


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
