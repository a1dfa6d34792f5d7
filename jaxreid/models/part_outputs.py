"""What the parts of a network give while it runs, ours and a PyTorch module's, by their names."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxreid.errors import InputError
from jaxreid.models.reid import ReID
from jaxreid.models.torch_modules.host import HostModule
from jaxreid.types import Array

__all__ = ["apart", "our_stages", "torch_stages"]


def torch_stages(
    host: HostModule, x: np.ndarray, wanted: frozenset[str]
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Outputs of the module's parts, in the order in which they end, and its features."""
    import torch

    outputs: dict[str, np.ndarray] = {}
    # NumPy has no bfloat16.
    kept = torch.float64 if x.dtype == np.float64 else torch.float32

    def heard(name: str) -> Callable[..., None]:
        def keep(_part: Any, _given: Any, output: Any) -> None:
            if isinstance(output, torch.Tensor) and output.dtype.is_floating_point:
                # As it is now: what follows may write into it.
                outputs.setdefault(name, output.detach().to("cpu", kept).numpy().copy())

        return keep

    with contextlib.ExitStack() as hooks:
        for name, part in host.module.named_modules():
            if name in wanted:
                handle = part.register_forward_hook(heard(name))
                hooks.callback(handle.remove)
        with torch.no_grad():
            found = host.forward(torch.from_numpy(x.copy()).to(host.device, host.dtype))
    if x.dtype == np.float64 and found.dtype != torch.float64:
        raise InputError(f"{host.name} gives {found.dtype} of torch.float64")
    return outputs, found.detach().to("cpu", kept).numpy()


def our_stages(
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


def apart(got: np.ndarray, expected: np.ndarray) -> float | None:
    """max|f - f'| / max|f'|; None where no axes correspond.

    The least of the ways in which they may: NHWC, tokens first, ones added.
    """
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
    found = [float(np.abs(way - expected).max(initial=0)) / largest for way in fits]
    return min(found) if found else None
