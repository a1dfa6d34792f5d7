"""Whether a run may go on under a configuration: only if it would have gone the same way."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from jaxreid.errors import InputError

__all__ = ["as_json", "check_agreement", "differences"]

# Fields that say how a run is done, not what comes of it.
_FREE = (
    "dataset.data_dir",
    "dataset.workers",
    "dataset.cache",
    "evaluation.batch_size",
    "checkpoint.",
    "log_every_steps",
)


def as_json(config: ConfigDict) -> dict[str, Any]:
    """A configuration as JSON holds it: lists for tuples.

    Args:
        config: any.

    Returns:
        Nested dictionaries.
    """
    return json.loads(json.dumps(config.to_dict()))


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
    wrong = [line for line in differences(before, now) if not line.startswith(_FREE)]
    if wrong:
        raise InputError(
            f"{where} holds a run of another configuration ({'; '.join(wrong)}); restore these "
            "fields to go on with it, or name another work directory"
        )
