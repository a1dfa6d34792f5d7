"""Reports on disk: whole, or not at all."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import jaxreid
from jaxreid.errors import InputError
from jaxreid.files import staging
from jaxreid.report.content import Content, compose
from jaxreid.report.page import render
from jaxreid.report.runs import open_runs
from jaxreid.report.strips import rank_list_strip
from jaxreid.report.tables import as_csv
from jaxreid.report.training import find_logs

__all__ = ["write_report"]

_PAGE, _FIGURES, _TABLE = "report.html", "figures", "results.csv"


def write_report(
    runs: Sequence[Path],
    *,
    out: Path | None = None,
    training: Sequence[tuple[str | None, Path]] = (),
    command: str = "",
) -> Path:
    """Writes report.html, which opens from disk and loads nothing, figures/ and results.csv.

    Args:
        runs: folders that `jaxreid evaluate` wrote; the first one is what others are compared with.
        out: folder of the report; `report` in the first run by default. A former report there is
            replaced.
        training: label (or None for the folder's name) and folder of trainings to draw, besides
            those that the runs name.
        command: that makes the report again, quoted for a shell; shown in it.

    Returns:
        Path of report.html.

    Raises:
        InputError: a run is missing, empty, damaged or of another schema; a training has no log;
            `out` holds something else or cannot be written.
    """
    opened = open_runs(runs)
    target = (out or opened[0].folder.path / "report").resolve()
    _check_target(target)
    content = compose(opened, find_logs(opened, training))
    commands = [run.folder.provenance.command for run in opened] + [command]
    html = render(content, version=jaxreid.__version__, commands=[c for c in commands if c])
    try:
        with _replacing_folder(target) as folder:
            _write(content, html, folder)
    except OSError as error:
        raise InputError(f"cannot write the report to {target}: {error.strerror}") from None
    return (out or opened[0].folder.path / "report") / _PAGE


def _write(content: Content, html: str, folder: Path) -> None:
    figures = folder / _FIGURES
    figures.mkdir()
    for picture in content.pictures:
        (figures / f"{picture.name}.svg").write_text(picture.svg, encoding="utf-8")
        (figures / f"{picture.name}.png").write_bytes(picture.png)
    for run_number, run in enumerate(content.runs, 1):
        for number, shown in enumerate(run.examples, 1):
            strip = figures / f"rank-lists-run{run_number}-{number}.png"
            strip.write_bytes(rank_list_strip(shown))
    (folder / _TABLE).write_text(as_csv(content.every_group), encoding="utf-8")
    (folder / _PAGE).write_text(html, encoding="utf-8")


def _check_target(target: Path) -> None:
    """Only a former report is replaced: a wrong --out must not cost anyone a folder of work."""
    if not target.exists():
        return
    if not target.is_dir():
        raise InputError(f"{target} is a file; --out names a folder")
    try:
        strangers = [
            path for path in target.iterdir() if path.name not in (_PAGE, _FIGURES, _TABLE)
        ]
        if (target / _FIGURES).is_dir():
            strangers += [
                path
                for path in (target / _FIGURES).iterdir()
                if path.suffix not in (".png", ".svg") or path.is_dir()
            ]
    except OSError as error:
        raise InputError(f"{target} cannot be read: {error.strerror}") from None
    if strangers:
        raise InputError(
            f"{target} holds {strangers[0].name}, which is no part of a report; name another folder"
        )


@contextlib.contextmanager
def _replacing_folder(target: Path) -> Iterator[Path]:
    """A temporary folder beside a path that takes its place if the block succeeds."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with staging(target) as temporary:
        new, old = temporary / "new", temporary / "old"
        new.mkdir()
        yield new
        if target.exists():
            target.rename(old)
        try:
            new.rename(target)
        except OSError:
            if old.exists():
                old.rename(target)
            raise
