"""This library's own names, for networks that no other library has: the paths of their modules."""

from collections.abc import Collection, Mapping

from jaxreid.errors import InputError
from jaxreid.models.kinds import KINDS
from jaxreid.models.weights.libraries.layout import Layout

__all__ = ["NATIVE"]

# A head's parts here; several where the network has several vectors.
_PARTS = {
    "reduction": ("reductions", "necks", "classifiers"),
    "embedding": ("projection", "neck", "classifier"),
    "classification": ("neck", "classifier", "necks", "classifiers"),
    "triplet": ("neck", "projection"),
    "linear": ("classifier",),
    "none": (),
}
# More than any network has: the names of the vectors' own modules are numbers.
_MOST = 64


def _names(part: str) -> str | tuple[str, ...]:
    if part.endswith("s"):
        return tuple(f"head.{part}.{index}" for index in range(_MOST))
    return f"head.{part}"


def _ask_for_the_header(names: Collection[str], named: bool, choices: Mapping[str, object]) -> None:
    raise InputError(
        "the names are those that jaxreid gives to networks which no other library has, and only "
        "the header that it wrote beside them says what they are: it is lost; take the file as "
        "jaxreid wrote it"
    )


NATIVE = Layout(
    recognises=lambda names: (
        any(name.startswith("head.necks.") for name in names)
        or ("head.neck.weight" in names and any(name.startswith("backbone.") for name in names))
    ),
    backbone="backbone",
    heads={head: {part: _names(part) for part in parts} for head, parts in _PARTS.items()},
    readers=(),
    kinds=tuple(KINDS),
    classifier_bias=None,
    check_names=_ask_for_the_header,
)
