"""What commands on a retrieval test begin with: its data set and model are opened."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from jaxreid.cli.backend import connect, set_up_compiler
from jaxreid.cli.lines import wrapped
from jaxreid.cli.model.cameras import row_notes, told_cameras
from jaxreid.cli.model.loaded import LoadedModel
from jaxreid.cli.model.loading import load_model
from jaxreid.cli.model.pipelines import (
    only_size,
    override_notes,
    pipeline_line,
    size_notes,
    size_text,
)
from jaxreid.cli.model.torch_module import settled
from jaxreid.cli.parameters import command_line
from jaxreid.cli.settings import RetrievalSettings
from jaxreid.constants import USUAL_FILTER
from jaxreid.distributed import is_main_process
from jaxreid.errors import InputError

if TYPE_CHECKING:
    from jaxreid.data.source import ReidSource
    from jaxreid.evaluation import LoaderSettings, RetrievalTest
    from jaxreid.evaluation.retrieval import Progress
    from jaxreid.records import Provenance

__all__ = ["OpenedTest", "open_test"]


@dataclass(frozen=True)
class OpenedTest:
    """Model and dataset, ready to be attacked, and where the metrics will come from."""

    settings: RetrievalSettings
    model: LoadedModel
    query: "ReidSource"
    gallery: "ReidSource"
    loader: "LoaderSettings"
    provenance: "Provenance"

    def folder(self, kind: str = "") -> Path:
        """Where a run goes if no place is named; one of a kind beside that of `evaluate`."""
        through = self.settings.through
        # No colon: not every file system has it.
        behind = f"-through-{through.replace(':', '')}" if through else ""
        name = f"{self.model.name}{behind}-{self.provenance.dataset['name']}"
        return Path("runs") / (f"{name}-{kind}" if kind else name)

    def retrieval_test(self, progress: "Progress") -> "RetrievalTest":
        """The test that is attacked and ranked; `progress` is called as it says."""
        from jaxreid.evaluation import RetrievalTest
        from jaxreid.ranking import KReciprocal

        return RetrievalTest(
            self.settings.defended(self.model.embed),
            self.query,
            self.gallery,
            loader=self.loader,
            limit=self.settings.limit,
            rerank=KReciprocal() if self.settings.rerank else None,
            cameras=self.settings.cameras,
            progress=progress,
        )


def open_test(
    settings: RetrievalSettings, *, whose: str = "--", divide_cpu: bool = True
) -> OpenedTest:
    """Opens the dataset, then the model: what is cheap to check comes first.

    What the user left open is as the model has it in the result's settings, and what is overridden
    is told.

    Args:
        settings: of the command.
        whose: stands before the name of what overrides the model.
        divide_cpu: whether a CPU is several devices, as pays for all but small batches.
    """
    from absl import logging

    from jaxreid.data.source import open_split

    logging.set_verbosity(logging.ERROR)
    name = settings.dataset
    if not name:
        raise click.UsageError("Missing option '--dataset'.")
    splits = {"query": settings.query_split, "gallery": settings.gallery_split}
    sources = {
        part: open_split(name, split, data_dir=settings.data_dir) for part, split in splits.items()
    }
    set_up_compiler()
    connect(vars(settings), divide_cpu=divide_cpu)
    loaded = load_model(settings.model, dtype=settings.dtype, **settings.around)
    loaded, camera = told_cameras(loaded, settings.camera)

    from jaxreid.evaluation import LoaderSettings, describe_dataset, provenance_of

    asked, settings = settings, settings.completed(loaded)
    _check_size(settings, loaded, whose)
    _say_pipeline(asked, settings, loaded, whose)
    _say_cameras(loaded, *sources.values())
    size = cast(tuple[int, int], settings.size)
    provenance = provenance_of(
        title=settings.title or _printable(f"{settings.named(loaded)} on {name}"),
        command=command_line(),
        model=loaded.facts,
        dataset=describe_dataset(name, splits, sources),
        settings={"size": size, **settings.recorded(), **camera},
    )
    loader = LoaderSettings(
        size,
        batch_size=settings.batch_size,
        filter=settings.filter or USUAL_FILTER,
        workers=settings.workers,
    )
    loaded = settled(loaded, sources["query"], loader)
    seen = settings.prepared(dict(sources), loader)
    return OpenedTest(settings, loaded, seen["query"], seen["gallery"], loader, provenance)


def _say_pipeline(
    asked: RetrievalSettings, settings: RetrievalSettings, model: LoadedModel, whose: str
) -> None:
    """What is done around the network, and what of it the user overrides."""
    if model.config is None or not is_main_process():
        return
    for line in pipeline_line(
        model.config,
        size=settings.size,
        filter=settings.filter or USUAL_FILTER,
        distance=settings.distance or "euclidean",
        flip=bool(settings.flip),
        unit_length=settings.unit_length,
    ):
        click.echo(line, err=True)
    for note in override_notes(model.config, model.size, vars(asked), whose=whose):
        click.echo(f"note: {note}", err=True)
    # Of an exported model the size is fixed, by whoever exported it.
    if asked.size is None and not model.fixed_size:
        for note in size_notes(model.config, str(settings.dataset)):
            click.echo("\n".join(wrapped(f"note: {note}")), err=True)


def _say_cameras(model: LoadedModel, *sources: "ReidSource") -> None:
    for note in row_notes(model.embed, *sources) if is_main_process() else ():
        click.echo("\n".join(wrapped(f"note: {note}")), err=True)


def _check_size(settings: RetrievalSettings, model: LoadedModel, whose: str) -> None:
    """Refuses a size that the network does not take, before images are read."""
    own = None if model.config is None else only_size(model.config)
    own = model.size if model.fixed_size else own
    if own is not None and tuple(own) != settings.size:
        asked, only = size_text(settings.size), size_text(own)
        way_out = f"jaxreid convert --resize {only} makes it one that resizes others inside"
        if model.fixed_size:
            way_out = f"export it anew, with jaxreid convert --size {asked}"
        raise InputError(
            f"{whose}size {asked}: {model.name} takes images of {only} only; {way_out}"
        )


def _printable(text: str) -> str:
    """A file's name may hold what no screen and no UTF-8 file does."""
    return "".join(one if one.isprintable() else "?" for one in text)
