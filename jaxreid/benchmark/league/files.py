"""Small JSON files that a league of defenses keeps beside its runs."""

import json
from pathlib import Path
from typing import Any

from jaxreid.errors import InputError, reason_of
from jaxreid.files import replacing

__all__ = ["read_object", "write_object"]


def read_object(path: Path) -> dict[str, Any]:
    """Reads a JSON object; an InputError names the file that holds none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read: {reason_of(error)}") from None
    if not isinstance(found, dict):
        raise InputError(f"{path}: expected a JSON object, got {type(found).__name__}")
    return found


def write_object(path: Path, content: dict[str, Any]) -> None:
    """Writes a JSON object, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
