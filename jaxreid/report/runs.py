"""The runs of a report: folders of results, each under a label of its own."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jaxreid.errors import InputError
from jaxreid.records import Result, RunFolder

__all__ = ["Run", "open_runs"]


@dataclass(frozen=True, eq=False)
class Run:
    """A run that has results.

    Attributes:
        label: names it in the report; no other run has the same.
        folder: where its arrays are.
        results: all of them, in the order in which they came.
    """

    label: str
    folder: RunFolder
    results: tuple[Result, ...]


def open_runs(paths: Sequence[Path]) -> list[Run]:
    """Opens runs; their titles become labels, with the folder's name where titles are equal.

    Args:
        paths: folders that `jaxreid evaluate` wrote; one that is named twice is opened once.

    Returns:
        At least one run, in the order of `paths`.

    Raises:
        InputError: no path is given, or a folder holds no run, no result or another schema.
    """
    unique = list({path.resolve(): path for path in paths}.values())
    if not unique:
        raise InputError("a report needs at least one run folder")
    opened = [_opened(path) for path in unique]
    labels = _labels([(folder.provenance.title, folder.path) for folder, _ in opened])
    return [
        Run(label, folder, tuple(results))
        for label, (folder, results) in zip(labels, opened, strict=True)
    ]


def _opened(path: Path) -> tuple[RunFolder, list[Result]]:
    try:
        folder = RunFolder.open(path)
        results = folder.results()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    if not results:
        raise InputError(
            f"{path} has no results yet; run its `jaxreid evaluate` until the first one"
        )
    return folder, results


def _labels(named: Sequence[tuple[str, Path]]) -> list[str]:
    """Title; or title and folder; or both and a number: the first that tells the runs apart."""
    titles = [str(title).strip() or path.resolve().name for title, path in named]
    often = Counter(titles)
    labels: list[str] = []
    for title, (_, path) in zip(titles, named, strict=True):
        label = title if often[title] == 1 else f"{title} ({path.resolve().name})"
        number = 2
        while label in labels:
            label = f"{title} ({path.resolve().name}, {number})"
            number += 1
        labels.append(label)
    return labels
