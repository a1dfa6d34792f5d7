"""MODEL as torch:module:factory: a PyTorch module of the user's, compared with PyTorch at once."""

import contextlib
import hashlib
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from jaxreid.cli.lines import wrapped
from jaxreid.cli.model.loaded import LoadedModel, Surroundings
from jaxreid.cli.model.named import hash_of_source, named_object
from jaxreid.constants import LONGEST_STORED_SIDE
from jaxreid.distributed import is_main_process
from jaxreid.errors import InputError, did_you_mean, reason_of

if TYPE_CHECKING:
    from jaxreid.data.source import ReidSource
    from jaxreid.evaluation import LoaderSettings

__all__ = ["UserModule", "opened", "refuse_unknown_size", "settled", "user_module"]

_COMPARED = 4  # images
_OF_INPUTS = ("channels_first", "colours", "mean", "scale", "std")
_OPTIONS = (*_OF_INPUTS, "output", "route", "size")


class UserModule(NamedTuple):
    """What torch:module:factory stands for.

    Attributes:
        module: a `torch.nn.Module`.
        options: of `jaxreid.models.from_torch`.
        size: (height, width) in pixels of its images, or None if nothing says so.
        source: SHA-256 of the file it is written in.
    """

    module: Any
    options: dict[str, Any]
    size: tuple[int, int] | None
    source: str

    @property
    def inputs(self) -> dict[str, Any]:
        """Those of the options that say how images become inputs."""
        return {name: value for name, value in self.options.items() if name in _OF_INPUTS}


@dataclass(frozen=True, eq=False)
class _Unsettled:
    """Stands for the embedding until there are images to compare it on."""

    spec: str
    module: Any
    options: dict[str, Any]
    around: Surroundings

    def __call__(self, images: Any) -> Any:
        raise AssertionError(f"{self.spec} was not settled")


def opened(spec: str, dtype: str, around: Surroundings) -> LoadedModel:
    """The module of torch:module:factory; not yet an embedding: see `settled`."""
    from jaxreid.models.torch_modules import Inputs
    from jaxreid.models.torch_modules.host import name_of

    if dtype != "float32":
        raise InputError("--dtype is for networks of jaxreid; a PyTorch module has its own")
    found = user_module(spec)
    facts: dict[str, Any] = {
        "function": spec,
        "class": name_of(found.module),
        "inputs": str(Inputs(**found.inputs)),
        "sha256": _hash_of(found.module.state_dict()),
        "source": found.source,
    }
    if found.size is not None:
        facts["training_size"] = list(found.size)
    stand_in = _Unsettled(spec, found.module, found.options, around)
    return LoadedModel(stand_in, facts, spec.rpartition(":")[2], found.size)


def refuse_unknown_size(loaded: LoadedModel) -> None:
    """Asks for --size where a PyTorch module does not say which images it takes."""
    if isinstance(loaded.embed, _Unsettled) and loaded.size is None:
        raise InputError(
            f"{loaded.embed.spec} does not say the size of its images: give --size HEIGHTxWIDTH (a "
            "module takes other sizes without a word, and its features are worse)"
        )


def settled(loaded: LoadedModel, source: "ReidSource", loader: "LoaderSettings") -> LoadedModel:
    """Makes the embedding of a PyTorch module and says how near it is to PyTorch's own.

    What is compared are the first images of a split. Any other model stays as it is.
    """
    stand_in = loaded.embed
    if not isinstance(stand_in, _Unsettled):
        return loaded
    import numpy as np

    from jaxreid.data.batches import Images
    from jaxreid.models import from_torch

    rows = np.arange(min(_COMPARED, len(source)))
    pixels = Images(source, loader.size, loader.filter, None)(rows)
    embed = from_torch(
        stand_in.module,
        images=pixels.astype(np.float32) / 255,
        report=_say if is_main_process() else None,
        **stand_in.options,
    )
    return loaded._replace(embed=stand_in.around.of_function(embed))


def user_module(spec: str) -> UserModule:
    """Reads torch:module:factory, or module:factory: a function without arguments, or the module.

    The function returns a `torch.nn.Module`, or a pair of it and a dict of the options of
    `jaxreid.models.from_torch`. What neither says of the pixels, timm's `pretrained_cfg` does.
    """
    try:
        import torch
    except ImportError as error:
        raise InputError(f"{spec} needs PyTorch, which cannot be imported: {error}") from error
    place = spec.removeprefix("torch:")
    if ":" not in place:
        raise InputError(f"{spec}: expected torch:module:factory, such as torch:my.networks:build")
    file, found = named_object(place, spec)
    if not isinstance(found, torch.nn.Module):
        found = _called(found, spec)
    module, options = found if isinstance(found, tuple) and len(found) == 2 else (found, {})
    if not isinstance(module, torch.nn.Module) or not isinstance(options, dict):
        raise InputError(
            f"{spec} gives a {type(found).__name__}; expected a torch.nn.Module, or a pair of one "
            "and a dict of from_torch's options"
        )
    for name in options:
        if name not in _OPTIONS:
            near = did_you_mean(str(name), _OPTIONS)
            raise InputError(
                f"{spec}: {name!r} is no option of a module; {near or 'expected '}"
                f"{'' if near else ', '.join(_OPTIONS)}"
            )
    options = {**_said_by_timm(module), **options}
    size = _checked_size(options.pop("size", None), spec)
    return UserModule(module, options, size, hash_of_source(file))


def _called(factory: Any, spec: str) -> Any:
    if not callable(factory):
        raise InputError(
            f"{spec} is a {type(factory).__name__}; expected a torch.nn.Module or a function that "
            "returns one"
        )
    try:
        # What it prints is no result of the command.
        with contextlib.redirect_stdout(sys.stderr):
            return factory()
    except InputError:
        raise
    # The user's own code may raise anything, and may end the process.
    except (Exception, SystemExit) as error:
        raise InputError(f"{spec} failed: {type(error).__name__}: {reason_of(error)}") from error


def _checked_size(size: Any, spec: str) -> tuple[int, int] | None:
    if size is None:
        return None
    sides = tuple(size) if isinstance(size, tuple | list) else ()
    if len(sides) != 2 or not all(type(x) is int and 0 < x <= LONGEST_STORED_SIDE for x in sides):
        raise InputError(
            f"{spec}: size must be (height, width), integers from 1 to {LONGEST_STORED_SIDE}, got "
            f"{size!r}"
        )
    return sides[0], sides[1]


def _said_by_timm(module: Any) -> dict[str, Any]:
    card = getattr(module, "pretrained_cfg", None)
    if not isinstance(card, dict):
        return {}
    said = {name: tuple(card[name]) for name in ("mean", "std") if card.get(name)}
    size = card.get("input_size")
    return {**said, "size": tuple(size[1:])} if size else said


def _hash_of(tensors: dict[str, Any]) -> str:
    """SHA-256 of a state dict, in the order of the names."""
    import torch

    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(f"{name}\0".encode())
        if not isinstance(value, torch.Tensor):
            digest.update(repr(value).encode())
            continue
        digest.update(f"{value.dtype}{list(value.shape)}\0".encode())
        flat = value.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _say(line: str) -> None:
    for part in wrapped(f"model {line}"):
        click.echo(part, err=True)
