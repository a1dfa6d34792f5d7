"""What the user asks of a command on a retrieval test, by the names of the options."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from jaxreid.cli.corruption_options import CorruptionSettings
from jaxreid.cli.model.loaded import LoadedModel
from jaxreid.cli.model.loading import default_size
from jaxreid.constants import USUAL_FILTER, Distance, Filter, Goal, Knowledge, Norm, Side

if TYPE_CHECKING:
    from jaxreid.data.source import ReidSource
    from jaxreid.evaluation import LoaderSettings
    from jaxreid.evaluation.scoring import Cameras
    from jaxreid.records import Condition
    from jaxreid.types import Embed

__all__ = ["RetrievalSettings", "RunSettings"]


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
class RunSettings(CorruptionSettings, RetrievalSettings):
    """What a user asked of a command that writes a run folder: of `evaluate` or `audit`."""

    out: Path | None
    examples: int

    def recorded(self) -> dict[str, Any]:
        """The same, so that both commands may share a folder."""
        # Nor this.
        cameras = {"cameras": self.cameras} if self.cameras != "differ" else {}
        usual = {**super().recorded(), "rerank": self.rerank}
        return {**usual, **cameras, **self.recorded_corruption()}

    def prepared(
        self, sources: "dict[str, ReidSource]", loader: "LoaderSettings"
    ) -> "dict[str, ReidSource]":
        """The same, corrupted as the options say."""
        return self.corrupts(sources, loader)
