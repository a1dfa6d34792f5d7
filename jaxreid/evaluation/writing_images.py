"""Adversarial images to disk: 8-bit PNGs and a manifest that says how they were made."""

import dataclasses
import hashlib
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxreid.data.decode import as_png
from jaxreid.distributed import is_main_process
from jaxreid.errors import InputError, is_of_the_disk, reason_of
from jaxreid.evaluation.attack_split import AttackedBatch, attack_split
from jaxreid.evaluation.grid import canonical
from jaxreid.evaluation.retrieval import Plan, RetrievalTest
from jaxreid.evaluation.runs import held_by_run
from jaxreid.evaluation.stored_images import (
    MANIFEST,
    MANIFEST_SCHEMA,
    WITHOUT_GRADIENT,
    Manifest,
    png_names,
)
from jaxreid.files import staging
from jaxreid.records import Condition, Provenance
from jaxreid.sharding import gathered

__all__ = ["refuse_filled", "write_images"]


def write_images(
    test: RetrievalTest,
    condition: Condition,
    destination: Path,
    provenance: Provenance,
) -> Manifest:
    """Attacks a side of a retrieval test and writes the images as 8-bit PNGs with a manifest.

    The images lie inside the budget: for linf they are rounded to the nearest of 256 levels, and
    where eps is no whole number, within its whole part; for l2 they are rounded towards the clean
    image. Distractors and junk are not attacked and not written; an image without a guide is
    written as it was.

    Args:
        test: the retrieval test; its progress counts the attacks, too.
        condition: the attack; eight_bit is set.
        destination: a folder that does not exist yet, or an empty one; it appears when all of it
            is there.
        provenance: model, dataset and settings for the manifest.

    Returns:
        What was written.

    Raises:
        InputError: the destination holds something, cannot be written or is another process's, or
            the attack fails.
        OSError: the disk is full or broken; nothing is left of what was written.
    """
    condition = canonical(dataclasses.replace(condition, eight_bit=True))
    if condition.is_ensemble:
        raise InputError(f"{condition.attack} is several attacks; expected one, such as nna")
    with held_by_run(destination, beside=True):
        refuse_filled(destination)
        return _write(test, condition, destination, provenance)


def _write(
    test: RetrievalTest,
    condition: Condition,
    destination: Path,
    provenance: Provenance,
) -> Manifest:
    plan = test.plan(condition)
    writes = is_main_process()
    try:
        with _temporary(destination if writes else None) as temporary:
            staged = temporary / "images"
            staged.mkdir()
            files = _written(plan, staged)
            manifest = Manifest(
                condition, provenance.model, provenance.dataset, provenance.settings, files
            )
            (staged / MANIFEST).write_text(_to_json(manifest, provenance), encoding="utf-8")
            if writes:
                # An empty folder gives way to the renamed one; others were refused above.
                staged.rename(destination)
    except OSError as error:
        message = f"cannot write to {destination}: {reason_of(error)}"
        if is_of_the_disk(error):
            raise OSError(error.errno, f"{message}; nothing is left there") from error
        raise InputError(message) from None
    return manifest


@contextmanager
def _temporary(destination: Path | None) -> Iterator[Path]:
    """A folder that the caller renames to the destination; without one, a throwaway folder."""
    if destination is not None:
        with staging(destination) as folder:
            yield folder
    else:
        with tempfile.TemporaryDirectory() as name:
            yield Path(name)


def refuse_filled(destination: Path) -> None:
    """Raises InputError where a destination exists and is not an empty folder."""
    if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
        raise InputError(f"{destination} exists and is not an empty folder; expected a new one")


def _written(plan: Plan, folder: Path) -> dict[str, dict[str, Any]]:
    """Writes the images, and says of each what the manifest says."""
    test, condition, targets, _ = plan
    source, total = test.source(condition.side), len(targets.indices)
    names = np.array(png_names(source.file_names), dtype=object)[targets.indices]
    describe = _Describer(plan)

    def report(done: int) -> None:
        if test.progress is not None:
            test.progress("attacks", done, total * condition.restarts)

    files: dict[str, dict[str, Any]] = {}
    for batch in attack_split(plan, progress=report):
        for row, picture, change, *steps in zip(*_of_all_processes(batch), strict=True):
            if row < 0:
                continue
            kinds = zip(WITHOUT_GRADIENT, map(int, steps), strict=True)
            encoded = as_png(picture)
            (folder / names[row]).parent.mkdir(parents=True, exist_ok=True)
            (folder / names[row]).write_bytes(encoded)
            files[names[row]] = {
                **describe(int(row)),
                "sha256": hashlib.sha256(encoded).hexdigest(),
                "largest_change": round(float(change)),
                **{kind: count for kind, count in kinds if count},
            }
    return files


def _of_all_processes(batch: AttackedBatch) -> list[np.ndarray]:
    """The fields of a batch, with the rows of all processes."""
    count = len(batch.rows) * jax.process_count()
    return [gathered([np.asarray(part)], count) for part in batch]


class _Describer:
    """Names an image and its guides."""

    def __init__(self, plan: Plan) -> None:
        test, condition, self._targets, self._guidance = plan
        self._names = test.source(condition.side).file_names
        self._guide_names = test.source(condition.guides).file_names

    def __call__(self, row: int) -> dict[str, Any]:
        source = self._names[int(self._targets.indices[row])]
        push = self._images(self._guidance.push, self._guidance.push_mask, row)
        return {"source": source, "push": push, "pull": self._pull(row)}

    def _pull(self, row: int) -> int | list[str] | None:
        """The identity whose mean pulls, the images that do, or None."""
        guides = self._guidance
        if guides.pull is None or guides.pull_mask is None or not guides.pull_mask[row].any():
            return None
        if guides.pulls_images:
            return self._images(guides.pull, guides.pull_mask, row)
        return int(guides.mean_identities[guides.pull[row, 0]])

    def _images(self, chosen: np.ndarray | None, mask: np.ndarray | None, row: int) -> list[str]:
        if chosen is None or mask is None:
            return []
        return [self._guide_names[i] for i in chosen[row][mask[row]].tolist()]


def _to_json(manifest: Manifest, provenance: Provenance) -> str:
    fields = {
        "schema": MANIFEST_SCHEMA,
        "condition": dataclasses.asdict(manifest.condition),
        "command": provenance.command,
        "versions": provenance.versions,
        "created": provenance.created,
        **{name: getattr(manifest, name) for name in ("model", "dataset", "settings", "files")},
    }
    return json.dumps(fields, indent=1) + "\n"
