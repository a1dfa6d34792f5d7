"""Whether a run may go on under a configuration: only if it would have gone the same way."""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jaxreid.errors import InputError
from jaxreid.training.config import TrainConfig
from jaxreid.training.fields import fields_of

__all__ = ["as_json", "check_agreement", "differences"]


def as_json(config: TrainConfig) -> dict[str, Any]:
    """A configuration as JSON holds it: lists for tuples.

    Args:
        config: any.

    Returns:
        Nested dictionaries.
    """
    return json.loads(json.dumps(dataclasses.asdict(config)))


def _flat(fields: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in fields.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Compares two configurations field by field.

    Args:
        before: from `as_json`.
        now: from `as_json`.

    Returns:
        One line per field that differs: its name, and both values.
    """
    old, new = dict(_flat(before)), dict(_flat(now))
    return [
        f"{name}: was {old.get(name, 'missing')!r}, is {new.get(name, 'missing')!r}"
        for name in sorted(old.keys() | new.keys())
        if name not in old or name not in new or old[name] != new[name]
    ]


def check_agreement(before: Mapping[str, Any], now: Mapping[str, Any], *, where: Path) -> None:
    """Refuses to go on under another configuration.

    Args:
        before: of the checkpoint.
        now: of this run.
        where: the work directory, for the message.

    Raises:
        InputError: a field differs that changes what comes out.
    """
    free = {name for name, field in fields_of(TrainConfig).items() if field.free}
    wrong = [line for line in differences(before, now) if line.partition(":")[0] not in free]
    if wrong:
        raise InputError(
            f"{where} holds a run of another configuration ({'; '.join(wrong)}); restore these "
            "fields to go on with it, or name another work directory"
        )
