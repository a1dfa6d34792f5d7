"""JSON files that say which schema they follow."""

import json
from pathlib import Path
from typing import Any

from jaxreid.errors import InputError

__all__ = ["read_versioned"]


def read_versioned(path: Path, schema: int, *, instead: str) -> dict[str, Any]:
    """Reads a JSON object with a field "schema".

    Args:
        path: the file.
        schema: what the field has to be.
        instead: what to do about a file of another schema, for the message.

    Returns:
        All fields, "schema" among them.

    Raises:
        InputError: the file is not JSON, no object, or of another schema.
        OSError: the file cannot be read; what was expected there, the caller knows.
    """
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}") from None
    found = fields.get("schema") if isinstance(fields, dict) else None
    if found != schema:
        raise InputError(
            f"{path} has schema {found!r}, and this version of jaxreid reads {schema}; {instead}"
        )
    return fields
