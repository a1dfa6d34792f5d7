"""Where a network lies in what a training saved: the whole, or a key such as "state_dict"."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from jaxreid.errors import InputError, listed
from jaxreid.models.weights.accounting import Ignored

__all__ = ["Nested", "state_dict_of"]

# Where training scripts put the network that they test: adv-reid, torchreid and Lightning,
# fast-reid and DeiT, DINO (whose student is not what it tests).
_TEACHER = "teacher"
_KEYS = ("net", "state_dict", "model", "model_state", "model_state_dict", _TEACHER)
_OF_TRAINING = re.compile(r"optim|sched|scaler|loss|criterion|center|rng|callback|loop")
_DEEPEST = 8


class Nested(NamedTuple):
    """A state dict, and what was around it.

    Attributes:
        tensors: name -> tensor, of whatever type they were.
        peeled: the keys below which it lay, from the outside.
        ignored: keys beside it, each with what it holds.
    """

    tensors: dict[str, Any]
    peeled: tuple[str, ...]
    ignored: tuple[Ignored, ...]


def state_dict_of(
    content: object, source: str, is_tensor: Callable[[Any], bool], network: str | None = None
) -> Nested:
    """Finds the state dict in what a file holds; of several networks the one that is tested.

    Args:
        content: what the file holds.
        source: the file, for messages.
        is_tensor: whether a value is a tensor.
        network: the key of the network to take, if the user says so.
    """
    peeled: list[str] = []
    ignored: list[Ignored] = []
    while True:
        if not isinstance(content, Mapping):
            raise InputError(f"{source}: expected a state dict, found {type(content).__name__}")
        key = _key_of(content, source, is_tensor, None if network in peeled else network)
        if key is None or len(peeled) == _DEEPEST:
            break
        ignored += _beside(content, key, is_tensor)
        peeled.append(key)
        content = content[key]
    others = [str(key) for key, value in content.items() if not is_tensor(value)]
    if others:
        raise InputError(f"{source}: the state dict holds other things than tensors: {others[:8]}")
    tensors = {str(key): value for key, value in content.items()}
    return Nested(tensors, tuple(peeled), tuple(ignored))


def _key_of(
    content: Mapping[Any, Any],
    source: str,
    is_tensor: Callable[[Any], bool],
    network: str | None,
) -> str | None:
    """The key of the network to descend into; None where the tensors lie here."""
    # Only a word can be said as --network.
    networks = [
        key
        for key, value in content.items()
        if isinstance(key, str) and _is_network(value, is_tensor)
    ]
    if network is not None and network in networks:
        return network
    known = [key for key in _KEYS if key in networks]
    # A teacher is a moving average of what stands beside it.
    if len(rivals := [key for key in known if key != _TEACHER]) > 1:
        raise InputError(_several(source, rivals))
    if known:
        return known[0]
    if any(is_tensor(value) for value in content.values()):
        return None
    networks = [key for key in networks if not _OF_TRAINING.search(key)]
    if len(networks) == 1:
        return str(networks[0])
    if networks:
        raise InputError(_several(source, networks))
    raise InputError(f"{source}: {_without_network(content)}")


def _several(source: str, networks: Sequence[str]) -> str:
    return (
        f"{source}: there are {len(networks)} networks, {listed(networks)}: name one of them "
        f"(--network {networks[0]})"
    )


def _is_network(value: object, is_tensor: Callable[[Any], bool], depth: int = 0) -> bool:
    """Whether tensors lie in it by name, or below one of the known keys."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        return False
    if any(is_tensor(one) for one in value.values()):
        return True
    return depth < _DEEPEST and any(
        _is_network(value[key], is_tensor, depth + 1) for key in _KEYS if key in value
    )


def _beside(
    content: Mapping[Any, Any], chosen: str, is_tensor: Callable[[Any], bool]
) -> list[Ignored]:
    """What stands beside the chosen network and holds tensors, or may do; no number, no word."""
    ignored = []
    for key, value in content.items():
        if key == chosen:
            continue
        training = _OF_TRAINING.search(str(key))
        if isinstance(key, str) and not training and _is_network(value, is_tensor):
            ignored.append(Ignored(str(key), f"another network (--network {key} takes it instead)"))
        elif isinstance(value, Mapping):
            ignored.append(Ignored(str(key), "state of a training"))
        elif _holds_tensors(value, is_tensor):
            reason = "state of a training" if training else "beside the network's state dict"
            ignored.append(Ignored(str(key), reason))
    return ignored


def _holds_tensors(value: object, is_tensor: Callable[[Any], bool]) -> bool:
    """Whether it is a tensor, or a list or dict in which one lies, however deep."""
    seen: set[int] = set()
    left = [value]
    while left:
        one = left.pop()
        if is_tensor(one):
            return True
        # What a file refers to many times is looked at once.
        if isinstance(one, Mapping | list | tuple) and id(one) not in seen:
            seen.add(id(one))
            left += one.values() if isinstance(one, Mapping) else one
    return False


def _without_network(content: Mapping[Any, Any]) -> str:
    """What a file without a state dict holds, for a message."""
    for key in _KEYS:
        if isinstance(content.get(key), Mapping):
            return _without_network(content[key])
    states = [str(key) for key, value in content.items() if _is_optimizer(value)]
    if _is_optimizer(content) or states:
        where = f" (key {states[0]!r})" if states else ""
        return (
            f"it holds the state of an optimiser{where} and no weights; name the file into which "
            "the training wrote its state_dict"
        )
    keys = ", ".join(map(str, list(content)[:8]))
    return (
        f"found no state dict: expected tensors, or one of the keys {', '.join(_KEYS)}; "
        f"the file has {keys or 'nothing'}"
    )


def _is_optimizer(value: object) -> bool:
    return isinstance(value, Mapping) and {"state", "param_groups"} <= set(value)
