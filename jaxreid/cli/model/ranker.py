"""ranker:module:function: a service of the user's own, of which jaxreid sees rank lists alone."""

from typing import TYPE_CHECKING, Any

from jaxreid.cli.model.loaded import LoadedModel, Surroundings
from jaxreid.cli.model.named import hash_of_source, named_object
from jaxreid.errors import InputError

if TYPE_CHECKING:
    from jaxreid.types import Array

__all__ = ["opened_ranker"]

_PREFIX = "ranker:"


class _NoFeatures:
    """In place of an embedding, which nobody outside of the service has."""

    def __init__(self, spec: str) -> None:
        self._spec = spec

    def __call__(self, images: "Array") -> "Array":
        raise InputError(
            f"{self._spec} gives rank lists and no features: `jaxreid blackbox` attacks it"
        )


def opened_ranker(spec: str, dtype: str, around: Surroundings) -> LoadedModel:
    """The function of ranker:module:function, which is not called yet."""
    place = spec.removeprefix(_PREFIX)
    if ":" not in place:
        raise InputError(f"{spec}: expected {_PREFIX}module:function, such as {_PREFIX}shop:search")
    if dtype != "float32" or any(asked is not None for asked in around):
        raise InputError(
            f"--dtype, --flip and --unit-length are for models; {spec} computes as it likes"
        )
    module, function = named_object(place, spec)
    if not callable(function):
        raise InputError(f"{spec} is a {type(function).__name__}; expected images -> lists")
    facts: dict[str, Any] = {"function": spec, "sha256": hash_of_source(module)}
    name = place.partition(":")[2]
    return LoadedModel(_NoFeatures(spec), facts, name, None, ranker=function)
