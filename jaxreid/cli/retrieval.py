"""What `jaxreid evaluate` and `jaxreid attack` share: model, dataset and how they are looked at."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from jaxreid import constants
from jaxreid.cli.backend import connect, process_options, set_up_compiler
from jaxreid.cli.loading import LoadedModel, default_size, load_model
from jaxreid.cli.parameters import (
    BATCH,
    BUDGET,
    IMAGES,
    RESTARTS,
    SIZE,
    STEPS,
    WORKERS,
    Command,
    add_options,
    command_line,
    data_dir_option,
    dtype_option,
)
from jaxreid.constants import Distance, Goal, Norm, Side

if TYPE_CHECKING:
    from jaxreid.data.source import ReidSplit
    from jaxreid.evaluation import LoaderSettings, RetrievalTest
    from jaxreid.evaluation.retrieval import Progress
    from jaxreid.evaluation.scoring import Cameras
    from jaxreid.records import Condition, Provenance

__all__ = ["AttackCommand", "OpenedTest", "RetrievalSettings", "open_test", "retrieval_options"]

_SIDES = click.Choice(["query", "gallery"])

_OPTIONS = (
    click.option("--dataset", help="A prepared dataset, such as market1501."),
    data_dir_option,
    click.option(
        "--query-split", default="query", show_default=True, help="The split of the queries."
    ),
    click.option(
        "--gallery-split",
        default="gallery",
        show_default=True,
        help="The split that is ranked for each query.",
    ),
    click.option(
        "--side",
        type=click.Choice(["query", "gallery", "both"]),
        default="query",
        show_default=True,
        help="The set that is attacked; both is for the worst case: the gallery, then the queries "
        "in what is left of it.",
    ),
    click.option(
        "--guides",
        type=_SIDES,
        help="The set whose features guide the attack.  [default: the attacked one]",
    ),
    click.option(
        "--goal",
        type=click.Choice(["evade", "impersonate"]),
        default="evade",
        show_default=True,
        help="Not to be found, or to be found as another person.",
    ),
    click.option(
        "--target",
        metavar="random|ID",
        help="Whom to impersonate: another person for each query, or an identity.  "
        "[default: random]",
    ),
    click.option(
        "--norm",
        type=click.Choice(["linf", "l2"]),
        default="linf",
        show_default=True,
        help="What eps limits: the change of every pixel, or the length of the whole change.",
    ),
    click.option(
        "--steps", type=STEPS, default=constants.STEPS, show_default=True, help="Gradient steps."
    ),
    click.option(
        "--step-size",
        type=BUDGET,
        help="In the unit of eps, and written like it.  [default: 1; l2: 2.5 eps / steps]",
    ),
    click.option(
        "--restarts",
        type=RESTARTS,
        default=1,
        show_default=True,
        help="Starts; each image keeps the one that went furthest.",
    ),
    click.option(
        "--as-paper",
        is_flag=True,
        help="Guides and signs of the paper's own code where ours decides otherwise: own image "
        "and padding among the pushing guides, ODFA's sign, furthest by Euclidean distance.",
    ),
    click.option(
        "--distance",
        type=click.Choice(["euclidean", "cosine"]),
        default="euclidean",
        show_default=True,
        help="For cosine, features get unit length inside the attack, too.",
    ),
    click.option("--flip", is_flag=True, help="Average features over the image and its mirror."),
    click.option(
        "--size", type=SIZE, help="Of images.  [default: the training's; 64x32 or 256x128]"
    ),
    dtype_option,
    click.option(
        "--batch-size",
        type=BATCH,
        default=64,
        show_default=True,
        help="Images at a time, over all devices.",
    ),
    click.option("--limit", type=IMAGES, help="Queries to take, evenly spaced: a quick look."),
    click.option(
        "--workers",
        type=WORKERS,
        default=0,
        show_default=True,
        help="Processes that decode; 0 for threads.",
    ),
)


class AttackCommand(click.Command):
    """A command whose help ends with the table of attacks."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Lists the attacks."""
        from jaxreid.attacks import ATTACKS

        names = {name: attack.title for name, attack in ATTACKS.items()}
        with formatter.section("Attacks"):
            formatter.write_dl([*names.items(), *constants.ENSEMBLES.items()])


def retrieval_options(command: Command) -> Command:
    """Adds the shared options to a command."""
    return add_options(process_options(command), _OPTIONS)


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
    knowledge: tuple[str, ...] = ("gallery",)

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
            knowledge=self.knowledge,  # type: ignore[arg-type]
        )

    def recorded(self) -> dict[str, Any]:
        """What metrics depend on beside the model, the data, the size and their Condition."""
        return {"flip": self.flip, "dtype": self.dtype, "limit": self.limit}


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
    return OpenedTest(settings, loaded, sources["query"], sources["gallery"], loader, provenance)


def _printable(text: str) -> str:
    """A file's name may hold what no screen and no UTF-8 file does."""
    return "".join(one if one.isprintable() else "?" for one in text)
