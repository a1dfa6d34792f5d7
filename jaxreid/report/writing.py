"""Reports on disk: whole, or not at all."""

from collections.abc import Callable, Sequence
from pathlib import Path

import jaxreid
from jaxreid.errors import InputError, is_of_the_disk
from jaxreid.files import replacing_folder
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
    say: Callable[[str], object] | None = None,
) -> Path:
    """Writes report.html, which opens from disk and loads nothing, figures/ and results.csv.

    Args:
        runs: folders that `jaxreid evaluate` wrote; the first one is what others are compared with.
        out: folder of the report; `report` in the first run by default. A former report there is
            replaced.
        training: label (or None for the folder's name) and folder of trainings to draw, besides
            those that the runs name.
        command: that makes the report again, quoted for a shell; shown in it.
        say: is told what was left out, sentence by sentence.

    Returns:
        Path of report.html.

    Raises:
        InputError: a run is missing, empty, damaged or of another schema; a training has no log;
            `out` holds something else or cannot be written.
        OSError: the disk is full or broken.
    """
    opened = open_runs(runs)
    target = _target(out or opened[0].folder.path / "report")
    logs = find_logs(opened, training)
    for note in (*(run.note for run in opened), *(log.note for log in logs)):
        if note and say is not None:
            say(note)
    content = compose(opened, logs)
    commands = [run.folder.provenance.command for run in opened] + [command]
    html = render(content, version=jaxreid.__version__, commands=[c for c in commands if c])
    try:
        with replacing_folder(target) as folder:
            _write(content, html, folder)
    except OSError as error:
        if is_of_the_disk(error):
            raise
        raise InputError(f"cannot write the report to {target}: {_why(error)}") from None
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


def _why(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error)


def _target(named: Path) -> Path:
    try:
        target = named.resolve()
        exists, is_folder = target.exists(), target.is_dir()
    # Names that are too long, loops of links: whatever stops a look at the path.
    except (OSError, RuntimeError) as error:
        raise InputError(f"cannot write the report to {named}: {_why(error)}") from None
    if exists and not is_folder:
        raise InputError(f"{target} is a file; --out names a folder")
    if exists:
        _refuse_strangers(target)
    return target


def _refuse_strangers(target: Path) -> None:
    """Only a former report is replaced: a wrong --out must not cost anyone a folder of work."""
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
        raise InputError(f"{target} cannot be read: {_why(error)}") from None
    if strangers:
        raise InputError(
            f"{target} holds {strangers[0].name}, which is no part of a report; name another folder"
        )
