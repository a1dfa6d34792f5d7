"""What `jaxreid evaluate` and `jaxreid attack` share: model, dataset and how they are looked at."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from jaxreid.cli.attack_options import (
    AttackCommand,
    audit_options,
    retrieval_options,
    run_options,
)
from jaxreid.cli.backend import connect, set_up_compiler
from jaxreid.cli.loading import LoadedModel, default_size, load_model
from jaxreid.cli.parameters import command_line
from jaxreid.cli.torch_module import settled
from jaxreid.constants import Distance, Goal, Knowledge, Norm, Side

if TYPE_CHECKING:
    from jaxreid.data.source import ReidSplit
    from jaxreid.evaluation import LoaderSettings, RetrievalTest
    from jaxreid.evaluation.retrieval import Progress
    from jaxreid.evaluation.scoring import Cameras
    from jaxreid.records import Condition, Provenance

__all__ = [
    "AttackCommand",
    "OpenedTest",
    "RetrievalSettings",
    "RunSettings",
    "audit_options",
    "open_test",
    "retrieval_options",
    "run_options",
]


@dataclass(frozen=True, kw_only=True)
class RetrievalSettings:
    """What a user asked of `evaluate` or `attack`: MODEL and the options, by their names.

    What each of them means, its help says; `rerank`, `cameras`, `title` and
    `knowledge` are `evaluate`'s alone.
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
    distance: Distance
    flip: bool
    size: tuple[int, int] | None
    dtype: Literal["float32", "bfloat16"]
    batch_size: int
    limit: int | None
    workers: int
    coordinator: str | None
    processes: int | None
    process: int | None
    distributed: Literal["auto", "off"]
    rerank: bool = False
    cameras: "Cameras" = "differ"
    title: str | None = None
    knowledge: tuple[Knowledge, ...] = ("gallery",)

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
            distance=self.distance,
            restarts=self.restarts,
            eight_bit=eight_bit,
            as_paper=self.as_paper,
            goal=self.goal,
            target=self.target or "",
            knowledge=self.knowledge,
        )

    def recorded(self) -> dict[str, Any]:
        """What metrics depend on beside the model, the data, the size and their Condition."""
        return {"flip": self.flip, "dtype": self.dtype, "limit": self.limit}


@dataclass(frozen=True, kw_only=True)
class RunSettings(RetrievalSettings):
    """What a user asked of a command that writes a run folder: of `evaluate` or `audit`."""

    out: Path | None
    examples: int

    def recorded(self) -> dict[str, Any]:
        """The same, so that both commands may share a folder."""
        # Only where it is not the usual: folders of earlier versions do not say it.
        cameras = {"cameras": self.cameras} if self.cameras != "differ" else {}
        return {**super().recorded(), "rerank": self.rerank, **cameras}

    def folder(self, opened: "OpenedTest") -> Path:
        """Where the run goes."""
        default = Path("runs") / f"{opened.model.name}-{opened.provenance.dataset['name']}"
        return self.out or default


@dataclass(frozen=True)
class OpenedTest:
    """Model and dataset, ready to be attacked, and where the metrics will come from."""

    settings: RetrievalSettings
    model: LoadedModel
    query: "ReidSplit"
    gallery: "ReidSplit"
    loader: "LoaderSettings"
    provenance: "Provenance"

    def retrieval_test(self, progress: "Progress") -> "RetrievalTest":
        """The test that is attacked and ranked; `progress` is called as it says."""
        from jaxreid.evaluation import RetrievalTest
        from jaxreid.ranking import KReciprocal

        return RetrievalTest(
            self.model.embed,
            self.query,
            self.gallery,
            loader=self.loader,
            limit=self.settings.limit,
            rerank=KReciprocal() if self.settings.rerank else None,
            cameras=self.settings.cameras,
            progress=progress,
        )


def open_test(settings: RetrievalSettings) -> OpenedTest:
    """Opens the dataset, then the model: what is cheap to check comes first."""
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
    loaded = load_model(settings.model, dtype=settings.dtype, flip=settings.flip)

    from jaxreid.evaluation import LoaderSettings, describe_dataset, provenance_of

    size = settings.size or default_size(name, loaded)
    provenance = provenance_of(
        title=settings.title or _printable(f"{loaded.name} on {name}"),
        command=command_line(),
        model=loaded.facts,
        dataset=describe_dataset(name, splits, sources),
        settings={"size": size, **settings.recorded()},
    )
    loader = LoaderSettings(size, batch_size=settings.batch_size, workers=settings.workers)
    loaded = settled(loaded, sources["query"], loader)
    return OpenedTest(settings, loaded, sources["query"], sources["gallery"], loader, provenance)


def _printable(text: str) -> str:
    """A file's name may hold what no screen and no UTF-8 file does."""
    return "".join(one if one.isprintable() else "?" for one in text)
