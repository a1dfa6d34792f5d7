"""JSON files that say which schema they follow, and JSON text that is cut off."""

import json
from pathlib import Path
from typing import Any

from jaxreid.errors import InputError

__all__ = ["is_cut_off", "read_object", "read_versioned", "refuse_special"]

# Endings of which one completes a JSON text that was cut anywhere, but for brackets that are still
# open: where the cut is inside a string, and where it is outside of one.
_IN_TEXT = tuple(
    f'{pad}"{rest}' for pad in ("", "\\", "0", "00", "000", "0000") for rest in ("", ": 0")
)
_WORDS = ("true", "false", "null", "NaN", "Infinity")
_OUTSIDE = (
    *("", "0", ": 0", '"": 0'),
    *(word[at:] for word in _WORDS for at in range(1, len(word))),
)


def read_object(text: str) -> dict[str, Any]:
    """Reads one JSON object.

    Args:
        text: the object, and nothing else.

    Returns:
        Its fields.

    Raises:
        InputError: it is no JSON, another value, or too deeply nested.
    """
    try:
        fields = json.loads(text)
    except RecursionError:
        raise InputError("it is not JSON that anyone wrote: its brackets nest too deeply") from None
    except ValueError as error:
        raise InputError(f"it is not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise InputError(f"it is a {type(fields).__name__}, expected an object {{...}}")
    return fields


def is_cut_off(text: str) -> bool:
    """Whether a text is the beginning of a JSON object, as an interrupted write leaves it.

    Args:
        text: that is no whole JSON object.

    Returns:
        True if something can be added that makes it one; False for text damaged otherwise.
    """
    if not text.startswith("{") or _is_object(text):
        return False
    closing: list[str] = []
    quoted = escaped = False
    for letter in text:
        if quoted:
            quoted, escaped = escaped or letter != '"', not escaped and letter == "\\"
        elif letter == '"':
            quoted = True
        elif letter in "{[":
            closing.append("}" if letter == "{" else "]")
        elif letter in "}]" and (not closing or closing.pop() != letter):
            return False
    end = "".join(reversed(closing))
    return any(_is_object(text + more + end) for more in (_IN_TEXT if quoted else _OUTSIDE))


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def refuse_special(path: Path) -> None:
    """Refuses pipes and devices, which may never end or never begin.

    Args:
        path: of a file to read.

    Raises:
        InputError: it is there and is neither a file nor a folder.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        raise InputError(f"{path} cannot be read: it is no regular file")


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
    refuse_special(path)
    try:
        fields = read_object(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not JSON: {error}; {instead}") from None
    except InputError as error:
        raise InputError(f"{path} is damaged: {error}; {instead}") from None
    found = fields.get("schema")
    if type(found) is not int or found != schema:
        raise InputError(
            f"{path} has schema {found!r:.40}, and this version of jaxreid reads {schema}; "
            f"{instead}"
        )
    return fields
