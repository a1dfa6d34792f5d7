"""What `jaxreid evaluate` and `jaxreid attack` share: model, dataset and how they are looked at."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, cast

import click

from jaxreid.cli.attack_options import (
    AttackCommand,
    audit_options,
    certify_options,
    ers_options,
    retrieval_options,
    run_options,
)
from jaxreid.cli.backend import connect, set_up_compiler
from jaxreid.cli.cameras import told_cameras
from jaxreid.cli.corruption_options import corrupted, recorded_corruption
from jaxreid.cli.loading import LoadedModel, default_size, load_model
from jaxreid.cli.parameters import command_line
from jaxreid.cli.pipelines import only_size, say_pipeline, size_text
from jaxreid.cli.torch_module import settled
from jaxreid.constants import USUAL_FILTER, Distance, Filter, Goal, Knowledge, Norm, Side
from jaxreid.distributed import is_main_process
from jaxreid.errors import InputError

if TYPE_CHECKING:
    from jaxreid.data.source import ReidSource
    from jaxreid.evaluation import LoaderSettings, RetrievalTest
    from jaxreid.evaluation.retrieval import Progress
    from jaxreid.evaluation.scoring import Cameras
    from jaxreid.records import Condition, Provenance
    from jaxreid.types import Embed

__all__ = [
    "AttackCommand",
    "OpenedTest",
    "RetrievalSettings",
    "RunSettings",
    "audit_options",
    "certify_options",
    "ers_options",
    "open_test",
    "retrieval_options",
    "run_options",
]


@dataclass(frozen=True, kw_only=True)
class RetrievalSettings:
    """What a user asked of `evaluate` or `attack`: MODEL and the options, by their names.

    What each of them means, its help says; `rerank`, `cameras`, `title`, `through` and
    `knowledge` are not every command's. `surrogates` is the name of `--surrogate`'s networks, once
    they are open.
    """

    model: str
    dataset: str | None
    data_dir: Path | None
    query_split: str
    gallery_split: str
    side: Literal["query", "gallery", "both"]
    guides: Side | None
    goal: Goal
    target: str | None
    norm: Norm
    steps: int
    step_size: float | str | None
    restarts: int
    as_paper: bool
    distance: Distance | None
    flip: bool | None
    unit_length: bool | None
    camera: str | int | None
    size: tuple[int, int] | None
    filter: Filter | None
    dtype: Literal["float32", "bfloat16"]
    batch_size: int
    limit: int | None
    workers: int
    coordinator: str | None
    processes: int | None
    process: int | None
    distributed: Literal["auto", "off"]
    boost: tuple[str, ...] | None = None
    surrogates: str = ""
    rerank: bool = False
    cameras: "Cameras" = "differ"
    title: str | None = None
    knowledge: tuple[Knowledge, ...] = ("gallery",)
    through: str | None = None

    @property
    def around(self) -> dict[str, bool | None]:
        """What is asked for around any network: options of `load_model`."""
        return {"flip": self.flip, "unit_length": self.unit_length}

    def completed(self, model: LoadedModel) -> Self:
        """These, and what the user left open as the model has it."""
        from jaxreid.models import Pipeline

        pipeline = model.pipeline or Pipeline()
        return dataclasses.replace(
            self,
            distance=self.distance or pipeline.distance,
            flip=pipeline.flip if self.flip is None else self.flip,
            # What is the model's own is no setting of the run.
            unit_length=None if self.unit_length == pipeline.unit_length else self.unit_length,
            filter=self.filter or pipeline.filter,
            size=self.size or default_size(str(self.dataset), model),
        )

    def conditions_of(
        self,
        attacks: Sequence[str],
        eps: Sequence[float | str],
        *,
        seeds: Sequence[int] | None,
        eight_bit: bool,
    ) -> "list[Condition]":
        """What `jaxreid.evaluation.conditions` makes of these; the clean condition comes first."""
        from jaxreid.evaluation import conditions

        return conditions(
            attacks,
            eps,
            seeds=seeds,
            norm=self.norm,
            steps=self.steps,
            step_size=self.step_size,
            side=self.side,
            guides=self.guides,
            # Before the model is open, so that others than its distance are refused at once.
            distance=self.distance or "euclidean",
            restarts=self.restarts,
            eight_bit=eight_bit,
            as_paper=self.as_paper,
            goal=self.goal,
            target=self.target or "",
            knowledge=self.knowledge,
            boost="+".join(self.boost or ()),
            surrogate=self.surrogates,
        )

    def named(self, model: LoadedModel) -> str:
        """The model and what stands before it, for titles."""
        return f"{model.name} through {self.through}" if self.through else model.name

    def recorded(self) -> dict[str, Any]:
        """What metrics depend on beside the model, the data, the size and their Condition."""
        # Only where it is not the usual: folders of earlier versions do not say it.
        kernel = {} if self.filter in (None, USUAL_FILTER) else {"filter": self.filter}
        usual = {"flip": bool(self.flip), "dtype": self.dtype, "limit": self.limit}
        length = {} if self.unit_length is None else {"unit_length": self.unit_length}
        before = {"through": self.through} if self.through else {}
        return {**usual, **kernel, **length, **before}

    def prepared(
        self, sources: "dict[str, ReidSource]", loader: "LoaderSettings"
    ) -> "dict[str, ReidSource]":
        """The splits, query and gallery, as the model is to see them."""
        return sources

    def defended(self, embed: "Embed") -> "Embed":
        """The model's embedding behind what stands before it."""
        from jaxreid.evaluation import through

        return through(embed, self.through) if self.through else embed


@dataclass(frozen=True, kw_only=True)
class RunSettings(RetrievalSettings):
    """What a user asked of a command that writes a run folder: of `evaluate` or `audit`."""

    out: Path | None
    examples: int
    corruption: str | None = None
    corrupted: Literal["query", "gallery", "both"] = "query"

    def recorded(self) -> dict[str, Any]:
        """The same, so that both commands may share a folder."""
        # Nor this.
        cameras = {"cameras": self.cameras} if self.cameras != "differ" else {}
        corruption = recorded_corruption(self)
        return {**super().recorded(), "rerank": self.rerank, **cameras, **corruption}

    def prepared(
        self, sources: "dict[str, ReidSource]", loader: "LoaderSettings"
    ) -> "dict[str, ReidSource]":
        """The same, corrupted as the options say."""
        return corrupted(sources, self, loader)

    def folder(self, opened: "OpenedTest") -> Path:
        """Where the run goes."""
        # No colon: not every file system has it.
        behind = f"-through-{self.through.replace(':', '')}" if self.through else ""
        name = f"{opened.model.name}{behind}-{opened.provenance.dataset['name']}"
        return self.out or Path("runs") / name


@dataclass(frozen=True)
class OpenedTest:
    """Model and dataset, ready to be attacked, and where the metrics will come from."""

    settings: RetrievalSettings
    model: LoadedModel
    query: "ReidSource"
    gallery: "ReidSource"
    loader: "LoaderSettings"
    provenance: "Provenance"

    def folder(self, kind: str) -> Path:
        """Where a run of a kind goes if no place is named: beside what attacks are found in."""
        return Path("runs") / f"{self.model.name}-{self.provenance.dataset['name']}-{kind}"

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


def open_test(settings: RetrievalSettings, *, whose: str = "--") -> OpenedTest:
    """Opens the dataset, then the model: what is cheap to check comes first.

    What the user left open is as the model has it in the result's settings, and what is overridden
    is told; `whose` stands before the name of what overrides it.
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
    connect(vars(settings))
    loaded = load_model(settings.model, dtype=settings.dtype, **settings.around)
    loaded, camera = told_cameras(loaded, settings.camera)

    from jaxreid.evaluation import LoaderSettings, describe_dataset, provenance_of

    asked, settings = settings, settings.completed(loaded)
    _check_size(settings, loaded, whose)
    if is_main_process():
        say_pipeline(asked, settings, loaded, whose)
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


def _check_size(settings: RetrievalSettings, model: LoadedModel, whose: str) -> None:
    """Refuses a size that the network does not take, before images are read."""
    own = None if model.config is None else only_size(model.config)
    own = model.size if model.fixed_size else own
    if own is not None and tuple(own) != settings.size:
        raise InputError(
            f"{whose}size {size_text(settings.size)}: {model.name} takes images of "
            f"{size_text(own)} only; jaxreid convert --resize {size_text(own)} makes it one that "
            "resizes others inside"
        )


def _printable(text: str) -> str:
    """A file's name may hold what no screen and no UTF-8 file does."""
    return "".join(one if one.isprintable() else "?" for one in text)
