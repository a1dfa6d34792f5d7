"""Run folders: their provenance, which results may share one, and which process may write."""

import contextlib
import dataclasses
import datetime
import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxreid.data.source import ReidSource
from jaxreid.distributed import is_main_process
from jaxreid.errors import InputError, is_of_the_disk, reason_of
from jaxreid.files import clear_abandoned
from jaxreid.locks import held
from jaxreid.records import Provenance, RunFolder
from jaxreid.sharding import from_first_process

__all__ = ["describe_dataset", "held_by_run", "open_run", "provenance_of"]

_PACKAGES = ("jaxreid", "jax", "jaxlib", "flax", "numpy")
# Bytes of the message in which the first process sends its error to the others.
_LONGEST = 4096
_FAULTS = (InputError, OSError)


def describe_dataset(
    name: str, splits: Mapping[str, str], sources: Mapping[str, ReidSource]
) -> dict[str, Any]:
    """Says what was ranked, with a hash that another preparation of the same images shares.

    Args:
        name: such as `market1501` or `cuhk03_np/labeled`.
        splits: "query" and "gallery" -> name of the split used as such.
        sources: "query" and "gallery" -> that split.

    Returns:
        What JSON can hold.
    """
    base, _, config = name.partition("/")
    cameras = np.concatenate([np.asarray(source.cameras) for source in sources.values()])
    return {
        "name": base,
        "config": config,
        "splits": dict(splits),
        "images": {part: len(source) for part, source in sources.items()},
        "identities": {part: _people(source) for part, source in sources.items()},
        "cameras": len(np.unique(cameras)),
        "sha256": _fingerprint(sources),
    }


def _people(source: ReidSource) -> int:
    identities = np.unique(np.asarray(source.identities))
    return int((identities > 0).sum())


def _fingerprint(sources: Mapping[str, ReidSource]) -> str:
    digest = hashlib.sha256()
    for part in sorted(sources):
        source = sources[part]
        digest.update("\0".join([part, *source.file_names, ""]).encode(errors="surrogatepass"))
        # Prepared splits know a checksum of every image; of other sources only names are hashed.
        for name in ("identities", "cameras", "checksums"):
            column = getattr(source, name, np.zeros(0))
            digest.update(np.ascontiguousarray(column, np.int64).tobytes())
        # The same bytes, read otherwise than by default, are other images.
        if not getattr(source, "upright", True):
            digest.update(b"as stored")
    return digest.hexdigest()


def provenance_of(
    *,
    title: str,
    command: str,
    model: Mapping[str, Any],
    dataset: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> Provenance:
    """Adds the machine, the versions and the time to what was asked for.

    Args:
        title: how a report names the run.
        command: the command line, quoted for a shell.
        model: what is evaluated, with its "sha256".
        dataset: from `describe_dataset`.
        settings: what results depend on beside their Condition.

    Returns:
        Provenance.
    """
    devices = jax.devices()
    return Provenance(
        title=title,
        command=command,
        model=_plain(model),
        dataset=_plain(dataset),
        settings=_plain(settings),
        versions={
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in _PACKAGES},
        },
        devices=f"{len(devices)} x {devices[0].device_kind}",
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What comes back from JSON: tuples become lists, so that equal settings compare equal."""
    plain: dict[str, Any] = json.loads(json.dumps(dict(fields)))
    return plain


def open_run(path: Path, provenance: Provenance) -> RunFolder:
    """Makes a run folder, or opens one whose results come from the same model, data and settings.

    Args:
        path: the folder; made if it is missing.
        provenance: of the results to come.

    Returns:
        The run; its results so far are kept, and its provenance names all commands so far.

    Raises:
        InputError: the folder's results come from something else, it has another schema, or it
            cannot be written.
        OSError: the disk is full or broken.
    """
    if not is_main_process():
        # Only the first process writes, and the others may not see its folder.
        return RunFolder(path, provenance)
    try:
        if (path / "run.json").exists():
            before = RunFolder.open(path).provenance
            _refuse_others(path, before, provenance)
            commands = dict.fromkeys([*before.command.splitlines(), provenance.command])
            provenance = dataclasses.replace(
                provenance, command="\n".join(commands), created=before.created
            )
        elif (path / "results.jsonl").exists():
            raise InputError(
                f"{path} has results.jsonl and no run.json, which says what its results come "
                "from; name another folder"
            )
        return RunFolder.create(path, provenance)
    except OSError as error:
        if is_of_the_disk(error):
            raise
        raise InputError(f"cannot write to {path}: {reason_of(error)}") from None


def _refuse_others(path: Path, before: Provenance, now: Provenance) -> None:
    different = []
    for what, old, new in (
        ("model", {"sha256": before.model.get("sha256")}, {"sha256": now.model.get("sha256")}),
        ("dataset", before.dataset, now.dataset),
        ("settings", before.settings, now.settings),
    ):
        different += [
            f"{what} {name} is {_short(old, name)}, now {_short(new, name)}"
            for name in dict.fromkeys([*old, *new])
            if old.get(name) != new.get(name)
        ]
    if different:
        raise InputError(
            f"{path} holds results of something else: {'; '.join(different)}; name another folder"
        )


def _short(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    return f"{value[:12]}..." if name == "sha256" and isinstance(value, str) else repr(value)


@contextlib.contextmanager
def held_by_run(folder: Path, *, beside: bool = False) -> Iterator[None]:
    """Holds a folder as `jaxreid.locks.held` does: the first process for all of its run.

    Temporary files that crashed runs left in it and in its parts are removed. Every process of the
    run calls this; where the first one is refused, all of them raise the same error at once.

    Args:
        folder: made with its parents, if the lock lies in it.
        beside: whether the lock lies beside the folder; see `jaxreid.locks.held`.

    Yields:
        None, while the folder is held.

    Raises:
        InputError: another run holds it (the message says which), or it cannot be written.
        OSError: the disk is full or broken.
    """
    with contextlib.ExitStack() as stack:
        refused: Exception | None = None
        if is_main_process():
            try:
                stack.enter_context(held(folder, beside=beside))
                if not beside:
                    _clear(folder)
            except _FAULTS as error:
                refused = error
        refused = _as_first_process(refused)
        if refused is not None:
            raise refused from None
        yield


def _clear(folder: Path) -> None:
    """Removes temporary files of crashed runs from a folder and its parts."""
    clear_abandoned(folder, held=True)
    for part in folder.iterdir():
        if part.is_dir() and not part.is_symlink():
            clear_abandoned(part, held=True)


def _as_first_process(refused: Exception | None) -> Exception | None:
    """The error of the first process, on every process."""
    if jax.process_count() == 1:
        return refused
    # One byte for the kind, then the message.
    text = b""
    if refused is not None:
        kind = next(number for number, fault in enumerate(_FAULTS) if isinstance(refused, fault))
        text = bytes([kind]) + str(refused).encode(errors="backslashreplace")[: _LONGEST - 1]
    sent = np.zeros(_LONGEST, np.uint8)
    sent[: len(text)] = np.frombuffer(text, np.uint8)
    length, sent = from_first_process((np.int32(len(text)), sent))
    if not length:
        return None
    kind, *message = bytes(np.asarray(sent)[:length].astype(np.uint8))
    return _FAULTS[kind](bytes(message).decode(errors="replace"))
