"""Perturbations as files: tensors, and beside them what they were learned by and from."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from jaxreid.errors import InputError
from jaxreid.evaluation.universal.perturbation import Perturbation
from jaxreid.evaluation.universal.recipe import Recipe
from jaxreid.models.weights.storage import read, write
from jaxreid.records import Provenance
from jaxreid.records.parsing import read_object, typed

__all__ = ["load_perturbation", "save_perturbation"]

_SCHEMA = 1
_KEY = "jaxreid_perturbation"
_MOST_BYTES = 1 << 30
_EXPECTED = "expected what `jaxreid universal` writes"


def save_perturbation(perturbation: Perturbation, path: Path) -> None:
    """Writes a perturbation as .safetensors, whole or not at all.

    Args:
        perturbation: what was learned.
        path: of the file, with the suffix .safetensors.

    Raises:
        InputError: another suffix, no such folder, or a place that may not be written.
        OSError: the disk is full or broken.
    """
    fields = {
        "schema": _SCHEMA,
        "recipe": dataclasses.asdict(perturbation.recipe),
        "made_on": perturbation.made_on,
        "size": perturbation.size,
        "provenance": dataclasses.asdict(perturbation.provenance),
    }
    write(path, perturbation.tensors, {_KEY: json.dumps(fields)})


def load_perturbation(path: Path) -> Perturbation:
    """Reads what `save_perturbation` wrote.

    Args:
        path: of the file.

    Returns:
        The perturbation, checked.

    Raises:
        InputError: the file is missing, no perturbation, of another version, or damaged; the
            message names the field.
    """
    stored = read(path, max_bytes=_MOST_BYTES)
    said = stored.metadata.get(_KEY)
    if said is None:
        raise InputError(f"{path} holds no perturbation; {_EXPECTED}")
    try:
        fields: dict[str, Any] = read_object(said)
        if fields.get("schema") != _SCHEMA:
            raise InputError(
                f"schema is {fields.get('schema')!r:.40}, and this version reads {_SCHEMA}"
            )
        found = Perturbation(
            recipe=typed(Recipe, fields.get("recipe"), "recipe"),
            made_on=typed(str, fields.get("made_on"), "made_on"),
            size=typed(tuple[int, int], fields.get("size"), "size"),
            provenance=typed(Provenance, fields.get("provenance"), "provenance"),
            tensors=stored.tensors,
        )
        found.check()
    except InputError as error:
        raise InputError(f"{path} is damaged: {error}; {_EXPECTED}") from None
    return found
