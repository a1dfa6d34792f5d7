"""What stands before and around a network's names in a file: peeled off, and told."""

from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from jaxreid.errors import InputError, listed
from jaxreid.models.weights.accounting import Ignored, changes_feature
from jaxreid.models.weights.layouts import LAYOUTS, Layout, detect_layout
from jaxreid.models.weights.shapes.reading import MissingTensorError

__all__ = ["Peeled", "find_layout", "has_names_of", "looks_like", "peel", "renamed"]

# What data parallelism and torch.compile put before a module's names, wherever the module is.
_WRAPPERS = ("module", "_orig_mod")


class Peeled(NamedTuple):
    """Tensors by the names that a library gave them.

    Attributes:
        tensors: name -> array.
        peeled: what was taken off the names, from the outside: "module.", "model.", ...
        ignored: tensors of other networks than the one that the user named.
    """

    tensors: dict[str, np.ndarray]
    peeled: tuple[str, ...]
    ignored: tuple[Ignored, ...] = ()

    @property
    def where(self) -> str:
        """What to say before messages with names as they are below what was peeled, or ""."""
        containers = [part for part in self.peeled if part.rstrip(".") not in _WRAPPERS]
        return f"below {''.join(containers)!r}: " if containers else ""


def peel(
    tensors: Mapping[str, np.ndarray], layout: str | None, network: str | None = None
) -> Peeled:
    """Takes off what wrappers put before every name: `module.`, Lightning's `model.`, `net.`, ...

    A network is where a library knows its names and can read its shape off its tensors. Two
    networks are refused, and layers beside a wrapped backbone that would be lost.

    Args:
        tensors: name -> array.
        layout: whose names they are under the wrapper, if the user says so.
        network: which of several networks to take, by what its names begin with.
    """
    new, peeled = _without_wrappers(dict(tensors))
    ignored: list[Ignored] = []
    if network is not None:
        new, ignored = _only(new, network)
        peeled.append(f"{network}.")
    found = _containers(new, layout)
    if len(found) > 1:
        first = found[0].partition(".")[0]
        raise InputError(
            f"there are {len(found)} networks, whose names begin with "
            f"{', '.join(map(repr, found[:4]))}: pass the tensors of one of them, or name it "
            f"(--network {first})"
        )
    before = new
    new = _without_container(new, found[0], layout) if found else _without_common_beginning(new)
    if new is not before:
        peeled.append(found[0] if found else _taken_off(before, new))
    return Peeled(new, tuple(peeled), tuple(ignored))


def _taken_off(before: Mapping[str, object], after: Mapping[str, object]) -> str:
    """What the first name lost."""
    long, short = next(iter(before)), next(iter(after))
    return long.removesuffix(short)


def _without_wrappers(
    tensors: dict[str, np.ndarray],
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Without the parts of names that wrappers add, and which those were."""
    short = {
        ".".join(part for part in name.split(".") if part not in _WRAPPERS): value
        for name, value in tensors.items()
    }
    if len(short) != len(tensors):
        return tensors, []
    parts = {part for name in tensors for part in name.split(".")}
    return short, [f"{wrapper}." for wrapper in _WRAPPERS if wrapper in parts]


def _only(
    tensors: dict[str, np.ndarray], network: str
) -> tuple[dict[str, np.ndarray], list[Ignored]]:
    """The tensors of one network, and those beside it."""
    beginning = f"{network}."
    chosen = {n.removeprefix(beginning): v for n, v in tensors.items() if n.startswith(beginning)}
    if not chosen:
        first = sorted({name.partition(".")[0] for name in tensors})
        raise InputError(f"no network is named {network!r}: the names begin with {listed(first)}")
    reason = f"beside the network that was named ({network})"
    return chosen, [Ignored(n, reason) for n in tensors if not n.startswith(beginning)]


def find_layout(tensors: Mapping[str, np.ndarray]) -> str | None:
    """The first library that recognises the names and reads a network off the tensors, or None."""
    for layout, table in LAYOUTS.items():
        if table.recognises(set(tensors)) and _holds(table, tensors):
            return layout
    return None


def looks_like(tensors: Mapping[str, np.ndarray], layout: str) -> str:
    """Says whose names a file seems to have if they are another library's than `layout`, or ""."""
    try:
        found = find_layout(peel(tensors, None).tensors)
    except InputError:
        return ""
    # timm names its ResNets as torchvision does.
    if found is None or {found, layout} in ({layout}, {"timm", "torchvision"}):
        return ""
    return f"; the file has the names of {found}: leave --from out, or give --from {found}"


def has_names_of(tensors: Mapping[str, np.ndarray], layout: str) -> bool:
    """Whether a file may be one of a library that the user names.

    Names without a beginning of their own, as torchreid's without a classifier, only their shapes
    tell.
    """
    table = LAYOUTS[layout]
    return table.recognises(set(tensors)) or (not table.backbone and _holds(table, tensors))


def _holds(table: Layout, tensors: Mapping[str, np.ndarray]) -> bool:
    """Whether one of a library's readers finds a network of its kind."""
    shapes = table.shapes_of(tensors)
    for read in table.readers:
        try:
            if read(shapes, {}) is not None:
                return True
        except MissingTensorError:
            continue
        # It is of this kind, and something else is wrong or has to be chosen.
        except InputError:
            return True
    return False


def _containers(tensors: Mapping[str, np.ndarray], layout: str | None) -> list[str]:
    """What stands before the names of each network, such as "model."."""
    found = {
        container
        for name, value in tensors.items()
        if _sees_images(value) and changes_feature(name)
        for container in [_container_of(name, tensors, layout)]
        if container is not None
    }
    return sorted(found)


def _sees_images(value: np.ndarray) -> bool:
    """Whether it is a convolution of RGB, the one in which a network begins."""
    return value.ndim == 4 and value.shape[1] == 3 and value.shape[2] > 1


def _container_of(stem: str, tensors: Mapping[str, np.ndarray], layout: str | None) -> str | None:
    """The shortest beginning of a name below which lies a network with this first convolution."""
    for beginning in _beginnings(stem):
        below = _below(tensors, beginning)
        if layout in LAYOUTS:
            if _holds(LAYOUTS[layout], below):
                return beginning
        elif find_layout(below) is not None:
            return beginning
    return None


def _beginnings(name: str) -> Iterator[str]:
    parts = name.split(".")
    return (".".join([*parts[:count], ""]) if count else "" for count in range(len(parts) - 1))


def _below(tensors: Mapping[str, np.ndarray], beginning: str) -> dict[str, np.ndarray]:
    return {
        name.removeprefix(beginning): value
        for name, value in tensors.items()
        if name.startswith(beginning)
    }


def _without_common_beginning(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Without what all names begin with, if the rest is named as a known library does."""
    rest = tensors
    while not _recognised(rest):
        beginnings = {name.partition(".")[0] for name in rest}
        if len(beginnings) != 1 or not all("." in name for name in rest):
            return tensors
        rest = {name.partition(".")[2]: value for name, value in rest.items()}
    return rest


def _recognised(names: Collection[str]) -> bool:
    try:
        return bool(detect_layout(names))
    except InputError:
        return False


def _without_container(
    tensors: dict[str, np.ndarray], container: str, layout: str | None
) -> dict[str, np.ndarray]:
    beside = [n for n in tensors if not n.startswith(container) and changes_feature(n)]
    if beside and layout is None:
        raise InputError(
            f"the backbone's names begin with {container!r}, and {listed(beside)} stand beside it, "
            f"where no known library ({', '.join(LAYOUTS)}) has them: rename them as one does"
        )
    new = {name.removeprefix(container): value for name, value in tensors.items()}
    # Where two would have one name, all keep theirs.
    return new if container and len(new) == len(tensors) else tensors


def renamed(tensors: Mapping[str, np.ndarray], layout: str) -> dict[str, np.ndarray]:
    """Gives tensors that a library renamed their names of today."""
    new: dict[str, np.ndarray] = {}
    for name, value in tensors.items():
        now = name
        for old, since in LAYOUTS[layout].renamed.items():
            if name.startswith(old):
                now = since + name.removeprefix(old)
        if now != name and now in tensors:
            raise InputError(f"{name} and {now} are two names of one tensor")
        new[now] = value
    return new
