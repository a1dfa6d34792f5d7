"""BatchNorm layers of their own for clean images, beside those of the attacked ones."""

from typing import Any, NamedTuple

from flax import nnx

from jaxreid.errors import InputError
from jaxreid.models import BatchNorm

__all__ = ["Auxiliary", "auxiliary_of", "learned", "overlaid", "parts_of", "those_of"]

_State = nnx.State[Any, Any]


class Auxiliary(NamedTuple):
    """The second BatchNorm layers of a network, which clean images pass in training.

    Statistics and factors of both kinds of images differ; one layer for both is right for neither.
    Xie et al., "Adversarial Examples Improve Image Recognition" (AdvProp), CVPR 2020,
    https://arxiv.org/abs/1911.09665, keep the clean images' layers as the network's. Here those of
    the attacked images are: a network that is to resist is evaluated, and saved, with them.

    Attributes:
        params: scale and bias of every BatchNorm, at their paths in the network.
        stats: its running mean and variance, likewise.
    """

    params: _State
    stats: _State


def auxiliary_of(model: nnx.Module) -> Auxiliary:
    """Copies all BatchNorm layers of a network.

    Args:
        model: the network; it is not changed.

    Returns:
        The Auxiliary, of which nothing is learned yet.

    Raises:
        InputError: the network has no BatchNorm.
    """
    norms = {path for path, layer in nnx.iter_graph(model) if isinstance(layer, BatchNorm)}
    if not norms:
        raise InputError("BatchNorm layers for clean images: the network has no BatchNorm")
    flat = [pair for pair in nnx.to_flat_state(nnx.state(model)) if pair[0][:-1] in norms]
    params = {path: leaf for path, leaf in flat if isinstance(leaf, nnx.Param)}
    stats = {path: leaf for path, leaf in flat if path not in params}
    return Auxiliary(nnx.from_flat_state(params), nnx.from_flat_state(stats))


def overlaid(whole: _State, own: _State) -> _State:
    """A state in which the leaves of another stand at their paths."""
    return nnx.from_flat_state({**dict(nnx.to_flat_state(whole)), **dict(nnx.to_flat_state(own))})


def those_of(whole: _State, own: _State) -> _State:
    """The leaves of a state at the paths of another."""
    leaves = dict(nnx.to_flat_state(whole))
    return nnx.from_flat_state({path: leaves[path] for path, _ in nnx.to_flat_state(own)})


def learned(params: _State, auxiliary: Auxiliary | None) -> Any:
    """All that an optimiser updates: the parameters, and the auxiliary ones if there are any."""
    return params if auxiliary is None else (params, auxiliary.params)


def parts_of(everything: Any, auxiliary: Auxiliary | None) -> tuple[_State, _State | None]:
    """The inverse of `learned`: the parameters, and the auxiliary ones or None."""
    return (everything, None) if auxiliary is None else everything
