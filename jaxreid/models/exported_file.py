"""The file of a model without its code: a ZIP archive, not compressed, read with suspicion.

It holds card.json and, for each kind of machine, a StableHLO program with its derivative, as
`jax.export` writes them, and the weights that are its first inputs. Nothing in it is run as Python.
"""

import contextlib
import hashlib
import json
import math
import struct
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from jaxreid.errors import InputError, reason_of
from jaxreid.models.weights.files.formats import (
    CARD,
    EXPORTED,
    HEAD,
    PROGRAM,
    TORCH,
    kind_of_file,
    other_download,
)
from jaxreid.types import Array

__all__ = ["WEIGHTS", "Card", "Machine", "digest_of", "is_exported", "opened", "read_program"]

Machine = Literal["cpu", "accelerators"]

FORMAT = 1
WEIGHTS = "weights"
"""Name of the part MACHINE.weights."""
_LARGEST_CARD = 1 << 20
# What the reader of archives raises where bytes are wrong; encrypted ones are a RuntimeError.
_BROKEN = (zipfile.BadZipFile, EOFError, RuntimeError, ValueError, OverflowError, struct.error)


class Card(NamedTuple):
    """What the file says beside its programs.

    Attributes:
        size: (height, width) in pixels of the images.
        batch: images that a program takes at once.
        features: numbers of a feature, D.
        cameras: how many cameras the programs tell apart; 0 where they take none.
        network: the configuration, as the header of a file of weights holds it.
        jax: version that wrote the file.
        programs: machine -> SHA-256 of its program and weights.
        format: of the file.
    """

    size: tuple[int, int]
    batch: int
    features: int
    cameras: int
    network: str
    jax: str
    programs: dict[str, str]
    format: int = FORMAT


def digest_of(parts: Mapping[str, bytes]) -> str:
    """SHA-256 of a program and its weights."""
    digest = hashlib.sha256()
    for part in (PROGRAM, WEIGHTS):
        digest.update(parts[part])
    return digest.hexdigest()


def is_exported(path: Path) -> bool:
    """Whether a file is called as exported models are."""
    return path.suffix == EXPORTED


@contextlib.contextmanager
def opened(path: Path) -> Iterator[tuple[zipfile.ZipFile, Card]]:
    """The archive and its card."""
    try:
        archive = zipfile.ZipFile(path)
    except OSError as error:
        raise InputError(f"{path} is no exported model: {reason_of(error)}") from None
    except _BROKEN as error:
        with path.open("rb") as file:
            head = file.read(HEAD)
        broken = (
            f": truncated or broken ({reason_of(error)})" if kind_of_file(head) == TORCH else ""
        )
        what = other_download(head) or broken or " is no exported model: it is no ZIP archive"
        raise InputError(f"{path}{what}") from None
    with archive:
        # What is not compressed is no longer than the file.
        if any(part.compress_type != zipfile.ZIP_STORED for part in archive.infolist()):
            raise InputError(f"{path} is no exported model: parts of it are compressed")
        yield archive, _card(path, archive)


def _part(path: Path, archive: zipfile.ZipFile, name: str, most: int | None = None) -> bytes:
    """A part of the archive, which keeps a checksum of each; of `most` bytes."""
    try:
        if most is not None and archive.getinfo(name).file_size > most:
            raise InputError(f"{path}: {name} is larger than that of any model")
        return archive.read(name)
    except InputError:
        raise
    except KeyError:
        raise InputError(f"{path} is no exported model: it has no {name}") from None
    except (OSError, *_BROKEN) as error:
        raise InputError(
            f"{path}: {name} is damaged ({reason_of(error)}); take another copy"
        ) from None


def read_program(
    path: Path, archive: zipfile.ZipFile, card: Card, machine: str
) -> tuple[jax.export.Exported, tuple[Array, ...]]:
    """The program for a kind of machine and its weights, checked against the card."""
    names = {part: f"{machine}.{part}" for part in (PROGRAM, WEIGHTS)}
    content = {part: _part(path, archive, name) for part, name in names.items()}
    if digest_of(content) != card.programs[machine]:
        raise InputError(f"{path}: {' or '.join(names.values())} is damaged; take another copy")
    try:
        program = jax.export.deserialize(bytearray(content[PROGRAM]))
        weights = _split(content[WEIGHTS], program.in_avals[:-2])
    except Exception as error:  # flatbuffers' and XLA's: whatever another version makes them raise
        raise InputError(
            f"{path} was exported by jax {card.jax} and cannot be read by jax {jax.__version__}: "
            f"{reason_of(error)}"
        ) from None
    given, result = program.in_avals[-2:], program.out_avals
    shapes = [(card.batch, *card.size, 3), (card.batch,), (card.batch, card.features)]
    if len(program.in_avals) < 2 or [one.shape for one in (*given, *result)] != shapes:
        raise InputError(f"{path}: its program for {machine} does not compute what {CARD} says")
    return program, weights


def _split(content: bytes, shapes: Sequence[jax.core.AbstractValue]) -> tuple[Array, ...]:
    """Arrays that lie behind one another."""
    found, begin = [], 0
    for aval in shapes:
        one = cast(jax.core.ShapedArray, aval)
        values = np.frombuffer(content, one.dtype, math.prod(one.shape), offset=begin)
        found.append(jnp.asarray(values.reshape(one.shape)))
        begin += values.nbytes
    if begin != len(content):
        raise ValueError(f"{len(content)} bytes of weights, the program takes {begin}")
    return tuple(found)


def _card(path: Path, archive: zipfile.ZipFile) -> Card:
    """The card of a file that anybody may have written."""
    content = _part(path, archive, CARD, most=_LARGEST_CARD)
    try:
        fields: dict[str, Any] = json.loads(content)
        if fields.get("format") != FORMAT:
            raise InputError(
                f"{path} has format {fields.get('format')!r}; this release reads {FORMAT}"
            )
        card = Card(**{**fields, "size": tuple(fields["size"])})
        numbers = (*card.size, card.batch, card.features)
        if len(card.size) != 2 or any(type(n) is not int or n < 1 for n in numbers):
            raise ValueError(f"sizes {numbers}")
        if type(card.cameras) is not int or card.cameras < 0:
            raise ValueError(f"cameras {card.cameras}")
        if not isinstance(card.programs, dict) or not card.programs:
            raise ValueError("no programs")
    except InputError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InputError(f"{path}: {CARD} does not describe a model: {error}") from None
    return card
