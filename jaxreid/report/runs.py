"""The runs of a report: folders of results, each under a label of its own."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jaxreid.errors import InputError
from jaxreid.records import Result, RunFolder
from jaxreid.report.text import label_of

__all__ = ["Run", "open_runs"]


@dataclass(frozen=True, eq=False)
class Run:
    """A run that has results.

    Attributes:
        label: names it in the report; no other run has the same.
        folder: where its arrays are.
        results: all of them, in the order in which they came.
        cut_off: lines of its results that an interruption cut off, and that are not among them.
    """

    label: str
    folder: RunFolder
    results: tuple[Result, ...]
    cut_off: int = 0

    @property
    def note(self) -> str:
        """A sentence on what is left out, or ""."""
        if not self.cut_off:
            return ""
        lines = "1 line was" if self.cut_off == 1 else f"{self.cut_off} lines were"
        return (
            f"{lines} cut off by an interruption in results.jsonl of {self.label}, and skipped: "
            "`jaxreid evaluate` does what is missing anew."
        )


def open_runs(paths: Sequence[Path]) -> list[Run]:
    """Opens runs; their titles become labels, with the folder's name where titles are equal.

    Args:
        paths: folders that `jaxreid evaluate` wrote; one that is named twice is opened once.

    Returns:
        At least one run, in the order of `paths`.

    Raises:
        InputError: no path is given, or a folder holds no run, no result or another schema.
    """
    try:
        unique = list({path.resolve(): path for path in paths}.values())
    except (OSError, RuntimeError) as error:
        raise InputError(f"a run folder cannot be read: {error}") from None
    if not unique:
        raise InputError("a report needs at least one run folder")
    opened = [_opened(path) for path in unique]
    labels = _labels([(folder.provenance.title, folder.path) for folder, _ in opened])
    return [
        Run(label, folder, tuple(results), folder.cut_off())
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
    folders = [label_of(path.resolve().name) for _, path in named]
    titles = [label_of(title) or folder for (title, _), folder in zip(named, folders, strict=True)]
    often = Counter(titles)
    labels: list[str] = []
    for title, folder in zip(titles, folders, strict=True):
        label = title if often[title] == 1 else f"{title} ({folder})"
        number = 2
        while label in labels:
            label = f"{title} ({folder}, {number})"
            number += 1
        labels.append(label)
    return labels
