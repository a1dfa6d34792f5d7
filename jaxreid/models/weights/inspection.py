"""What a file holds, told without refusing it: for whoever wants to know why it is refused."""

import json
import math
import os
import re
from collections import Counter
from pathlib import Path
from typing import Any, Literal, NamedTuple, Unpack, cast

from jaxreid.errors import InputError
from jaxreid.models.config import ModelConfig
from jaxreid.models.weights.accounting import Ignored
from jaxreid.models.weights.choices import Choices
from jaxreid.models.weights.names import looks_like
from jaxreid.models.weights.recognition import HEADER, Plan, checksum_of, plan
from jaxreid.models.weights.storage import Checkpoint, file_digest, read
from jaxreid.models.weights.transfer import import_tensors, shapes_in

__all__ = ["Inspection", "inspect"]

# What stands in for an answer that the user has not given, so that the rest can be told.
_SUPPOSED: dict[str, Any] = {
    "sie_factor": 1,
    "semantic_weight": 0.2,
    "pool": "padded",
    "pooling": "gem",
    "stem_relu": True,
    "last_stride": 1,
}
_STATISTICS = ("mean", "var")


class Inspection(NamedTuple):
    """What a file holds.

    Attributes:
        bytes: of the file; None for one on the hub.
        sha256: of the file; None for one on the hub.
        tensors: in the file.
        types: name of a type -> tensors of it.
        checksum: whether a file of ours is as it was written: "right", "wrong" or "none".
        layout: key of LAYOUTS, whose names the tensors have; None where nobody's.
        found_by: what told the layout: "header", "names" or "user".
        peeled: what stood around the network's names, from the outside.
        config: the network; None where none is known by these names.
        parameters: numbers of the network that are learnt.
        statistics: numbers of the network that BatchNorm has of its training images.
        ignored: tensors without which the feature is the same, each with the reason.
        problems: why `convert` refuses the file: what is missing, left over, of another shape, not
            finite.
        asked: what `convert` asks for, since no tensor shows it.
        supposed: choices that stand in for the answers, in config.
    """

    bytes: int | None
    sha256: str | None
    tensors: int
    types: dict[str, int]
    checksum: Literal["right", "wrong", "none"]
    layout: str | None
    found_by: Literal["header", "names", "user"]
    peeled: tuple[str, ...]
    config: ModelConfig | None
    parameters: int
    statistics: int
    ignored: tuple[Ignored, ...]
    problems: tuple[str, ...]
    asked: tuple[str, ...]
    supposed: dict[str, Any]


def inspect(
    source: str | os.PathLike[str], *, layout: str | None = None, **choices: Unpack[Choices]
) -> Inspection:
    """Reads a checkpoint and says what it holds, and why `convert` would refuse it.

    Args:
        source: path of a .safetensors or PyTorch file, or "hf:owner/name".
        layout: who named the tensors, a key of LAYOUTS; found by header or names by default.
        **choices: what tensors do not show; see Choices.

    Returns:
        What was found. A network that is damaged, incomplete or in question is described as far
        as it can be.

    Raises:
        InputError: the file cannot be read as a checkpoint at all.
    """
    checkpoint = read(source, network=choices.get("network"))
    problems: list[str] = []
    checksum = _checksum(checkpoint, problems)
    if checksum == "wrong":
        checkpoint = _as_it_is(checkpoint)
    own = HEADER in checkpoint.metadata and layout is None
    found, asked, supposed = _planned(checkpoint, layout, choices, problems)
    parameters, statistics = (0, 0) if found is None else _numbers(found.config)
    ignored = () if found is None else _sorted_in(found, problems)
    if problems and found is not None and layout is not None:
        problems[-1] += looks_like(checkpoint.tensors, layout)
    size, digest = _of_the_file(source)
    return Inspection(
        bytes=size,
        sha256=digest,
        tensors=len(checkpoint.tensors),
        types=dict(Counter(value.dtype.name for value in checkpoint.tensors.values())),
        checksum=checksum,
        layout=None if found is None else found.layout,
        found_by="header" if own else "names" if layout is None else "user",
        peeled=() if found is None else found.peeled,
        config=None if found is None else found.config,
        parameters=parameters,
        statistics=statistics,
        ignored=ignored,
        problems=tuple(problems),
        asked=tuple(asked),
        supposed=supposed,
    )


def _of_the_file(source: str | os.PathLike[str]) -> tuple[int | None, str | None]:
    if str(source).startswith("hf:"):
        return None, None
    return file_digest(Path(source))


def _checksum(checkpoint: Checkpoint, problems: list[str]) -> Literal["right", "wrong", "none"]:
    try:
        found = checksum_of(checkpoint)
    except InputError:
        # Whoever plans with this header says what is wrong with it.
        return "none"
    if found == "wrong":
        problems.append("its content does not match its checksum: it is damaged, or was changed")
    return found


def _as_it_is(checkpoint: Checkpoint) -> Checkpoint:
    """A file without its checksum, as those of format 1."""
    fields = json.loads(checkpoint.metadata[HEADER])
    del fields["checksum"]
    header = json.dumps({**fields, "format": 1}, sort_keys=True)
    return checkpoint._replace(metadata={**checkpoint.metadata, HEADER: header})


def _planned(
    checkpoint: Checkpoint, layout: str | None, choices: Choices, problems: list[str]
) -> tuple[Plan | None, list[str], dict[str, Any]]:
    """The network, with something supposed for each question; what was asked; what was supposed."""
    asked: list[str] = []
    supposed: dict[str, Any] = {}
    while True:
        try:
            given = cast(Choices, {**choices, **supposed})
            return plan(checkpoint, layout, given), asked, supposed
        except InputError as error:
            message = str(error)
        answer = _answer(message, layout, {*supposed, *(n for n, v in choices.items() if v)})
        if answer is None:
            problems.append(message)
            return None, asked, supposed
        asked.append(message)
        if "layout" in answer:
            layout = answer["layout"]
        else:
            supposed |= answer


def _answer(message: str, layout: str | None, given: set[str]) -> dict[str, Any] | None:
    """Something that might be said to a question, which names its option; None to a refusal."""
    named = re.search(r"--from ([a-z][\w-]*)", message)
    if named and layout is None:
        return {"layout": named[1]}
    for name, value in _SUPPOSED.items():
        option = rf"--{name.replace('_', '-')}(?![\w-])"
        if re.search(option, message) and name not in given:
            return {name: value}
    return None


def _sorted_in(found: Plan, problems: list[str]) -> tuple[Ignored, ...]:
    """The tensors that the network does without; what is wrong with the others is appended."""
    try:
        imported = import_tensors(found.tensors, found.config, found.layout, strict=False)
    except InputError as error:  # the library has no names for this network
        problems.append(str(error))
        return found.ignored
    problems += imported.problems
    return (*found.ignored, *imported.ignored)


def _numbers(config: ModelConfig) -> tuple[int, int]:
    """How many numbers a network learns, and how many are statistics of images."""
    sizes = {path: math.prod(shape) for path, shape in shapes_in(config).items()}
    statistics = sum(size for path, size in sizes.items() if path[-1] in _STATISTICS)
    return sum(sizes.values()) - statistics, statistics
