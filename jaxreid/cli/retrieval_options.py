"""What `jaxreid evaluate` and `jaxreid attack` share: model, dataset and how they are looked at."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from jaxreid.cli.budgets import Budget
from jaxreid.cli.compilation import set_up_compiler
from jaxreid.cli.loading import LoadedModel, default_size, load_model
from jaxreid.cli.parameters import (
    BATCH,
    IMAGES,
    RESTARTS,
    STEPS,
    WORKERS,
    Size,
    add_options,
    command_line,
    data_dir_option,
)
from jaxreid.cli.processes import connect, process_options

if TYPE_CHECKING:
    from jaxreid.data.read.source import ReidSplit
    from jaxreid.evaluation import Reading
    from jaxreid.records import Provenance

__all__ = ["OpenedTest", "open_test", "retrieval_options"]

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
        "--side", type=_SIDES, default="query", show_default=True, help="The set that is attacked."
    ),
    click.option(
        "--guides",
        type=_SIDES,
        help="The set whose features guide the attack.  [default: the attacked one]",
    ),
    click.option(
        "--norm",
        type=click.Choice(["linf", "l2"]),
        default="linf",
        show_default=True,
        help="What eps limits: the change of every pixel, or the length of the whole change.",
    ),
    click.option("--steps", type=STEPS, default=15, show_default=True, help="Gradient steps."),
    click.option(
        "--step-size",
        type=Budget(),
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
        "--size", type=Size(), help="Of images.  [default: the training's; 64x32 or 256x128]"
    ),
    click.option(
        "--dtype",
        type=click.Choice(["float32", "bfloat16"]),
        default="float32",
        show_default=True,
        help="Of the network's computation.",
    ),
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


def retrieval_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the shared options to a command.

    Args:
        command: the function below.

    Returns:
        The same with options.
    """
    return add_options(process_options(command), _OPTIONS)


@dataclass(frozen=True)
class OpenedTest:
    """Model and dataset, ready to be attacked.

    Attributes:
        model: the model.
        query: the query split.
        gallery: the gallery split.
        reading: how images are read.
        provenance: where the figures will come from.
    """

    model: LoadedModel
    query: "ReidSplit"
    gallery: "ReidSplit"
    reading: "Reading"
    provenance: "Provenance"


def open_test(
    model: str, title: str | None, options: dict[str, Any], **settings: Any
) -> OpenedTest:
    """Opens the dataset, then the model: what is cheap to get wrong comes first.

    Args:
        model: MODEL as typed.
        title: of the run; named after model and dataset by default.
        options: values of the shared options.
        **settings: further settings that figures depend on, for the provenance.

    Returns:
        OpenedTest.

    Raises:
        InputError: the dataset is not prepared, there is no such model, or the other processes of
            the run are named wrongly.
    """
    from absl import logging

    from jaxreid.data.read.source import open_split

    logging.set_verbosity(logging.ERROR)
    name = options["dataset"]
    if not name:
        raise click.UsageError("Missing option '--dataset'.")
    splits = {"query": options["query_split"], "gallery": options["gallery_split"]}
    sources = {
        part: open_split(name, split, data_dir=options["data_dir"])
        for part, split in splits.items()
    }
    set_up_compiler()
    connect(options)
    loaded = load_model(model, dtype=options["dtype"], flip=options["flip"])

    from jaxreid.evaluation import Reading, describe_dataset, provenance_of

    size = options["size"] or default_size(name, loaded)
    provenance = provenance_of(
        title=title or _printable(f"{loaded.name} on {name}"),
        command=command_line(),
        model=loaded.facts,
        dataset=describe_dataset(name, splits, sources),
        settings={
            "size": size,
            "flip": options["flip"],
            "dtype": options["dtype"],
            "limit": options["limit"],
            **settings,
        },
    )
    reading = Reading(size, batch_size=options["batch_size"], workers=options["workers"])
    return OpenedTest(loaded, sources["query"], sources["gallery"], reading, provenance)


def _printable(text: str) -> str:
    """A file's name may hold what no screen and no UTF-8 file does."""
    return "".join(one if one.isprintable() else "?" for one in text)
