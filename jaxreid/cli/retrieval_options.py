"""Options that commands on a retrieval test share, and the table of attacks in help."""

from collections.abc import Callable
from typing import Any

import click

from jaxreid import constants
from jaxreid.cli.backend import process_options
from jaxreid.cli.model.cameras import camera_option
from jaxreid.cli.parameters import (
    BATCH,
    BUDGET,
    DISTANCE,
    FILTER,
    IMAGES,
    RESTARTS,
    ROWS,
    SIZE,
    STEPS,
    TITLE,
    WORKERS,
    Command,
    Place,
    add_options,
    data_dir_option,
    dtype_option,
)
from jaxreid.cli.surrogates import boost_option

__all__ = [
    "AS_PUBLISHED",
    "IN_ONE_PROCESS",
    "AttackCommand",
    "adaptive_options",
    "audit_options",
    "black_box_options",
    "certify_options",
    "corruption_test_options",
    "ers_options",
    "learning_options",
    "retrieval_options",
    "run_options",
]

AS_PUBLISHED: dict[str, Any] = {
    "side": "query",
    "guides": None,
    "goal": "evade",
    "target": None,
    "steps": constants.STEPS,
    "step_size": None,
    "restarts": 1,
    "as_paper": False,
}
"""Settings of single attacks for commands that leave no choice of them."""

IN_ONE_PROCESS: dict[str, Any] = {
    **AS_PUBLISHED,
    "norm": "linf",
    "coordinator": None,
    "processes": None,
    "process": None,
    "distributed": "off",
}
"""The same, for commands that run in one process."""

_SIDES = click.Choice(["query", "gallery"])

_DATASET = (
    click.option("--dataset", help="A prepared dataset, such as market1501."),
    data_dir_option,
)
_DATA = (
    *_DATASET,
    click.option(
        "--query-split", default="query", show_default=True, help="The split of the queries."
    ),
    click.option(
        "--gallery-split",
        default="gallery",
        show_default=True,
        help="The split that is ranked for each query.",
    ),
)
_WHO = (
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
)
_NORM = (
    click.option(
        "--norm",
        type=click.Choice(["linf", "l2"]),
        default="linf",
        show_default=True,
        help="What eps limits: the change of every pixel, or the length of the whole change.",
    ),
)
_HOW = (
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
)
_DISTANCE = (
    click.option(
        "--distance",
        type=DISTANCE,
        help="For cosine, features get unit length inside the attack, too.  [default: the "
        "model's; euclidean]",
    ),
)
_FLIP = (
    click.option(
        "--flip/--no-flip",
        default=None,
        help="Average features over the image and its mirror.  [default: the model's; no]",
    ),
)
_LENGTH = (
    click.option(
        "--unit-length/--no-unit-length",
        default=None,
        help="Divide features by their length.  [default: the model's; no]",
    ),
)
_SEEN = (
    camera_option,
    click.option(
        "--size", type=SIZE, help="Of images.  [default: the training's; 64x32 or 256x128]"
    ),
    click.option(
        "--filter",
        type=FILTER,
        help="Kernel by which they are resized.  [default: the model's; bilinear]",
    ),
    dtype_option,
)
_WORKERS = (
    click.option(
        "--workers",
        type=WORKERS,
        default=0,
        show_default=True,
        help="Processes that decode; 0 for threads.",
    ),
)
_READING = (
    *_SEEN,
    click.option(
        "--batch-size",
        type=BATCH,
        default=64,
        show_default=True,
        help="Images at a time, over all devices.",
    ),
    click.option("--limit", type=IMAGES, help="Queries to take, evenly spaced: a quick look."),
    *_WORKERS,
)

_AROUND = (*_DISTANCE, *_FLIP, *_LENGTH, *_READING)

_RERANK = (click.option("--rerank", is_flag=True, help="Also rank after k-reciprocal re-ranking."),)
_CAMERAS = (
    click.option(
        "--cameras",
        type=click.Choice(["differ", "ignore"]),
        default="differ",
        show_default=True,
        help="What a match is: an image of the person from another camera than the query's, or, "
        "for images without camera labels, any but the query's own file.",
    ),
)
_TITLE = (
    click.option(
        "--title", type=TITLE, help="How a report names the run.  [default: MODEL on DATASET]"
    ),
)


def _folder(name: str) -> tuple[Callable[[Command], Command], ...]:
    """What a match is, and the run folder, by default one of this name."""
    help = f"The run folder; what it holds already is not done again.  [default: runs/{name}]"
    out = click.option("--out", type=Place(file_okay=False), help=help)
    return (*_CAMERAS, out, *_TITLE)


_EXAMPLES = (
    click.option(
        "--examples",
        type=ROWS,
        default=6,
        show_default=True,
        help="Queries to show in a report, per attack.",
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
    command = boost_option(process_options(command))
    return add_options(command, (*_DATA, *_WHO, *_NORM, *_HOW, *_AROUND))


def audit_options(command: Command) -> Command:
    """Adds those of them that say what is attacked: how it is, an audit decides."""
    return add_options(process_options(command), (*_DATA, *_NORM, *_AROUND))


def certify_options(command: Command) -> Command:
    """Adds those that say what is certified: features of unit length, by Euclidean distance."""
    return _unit_length_options(command, "MODEL-DATASET-certified")


def ers_options(command: Command) -> Command:
    """Adds the same to a command that attacks such features."""
    return _unit_length_options(command, "MODEL-DATASET-ers")


def _unit_length_options(command: Command, name: str) -> Command:
    return add_options(process_options(command), (*_DATA, *_FLIP, *_READING, *_folder(name)))


def black_box_options(command: Command) -> Command:
    """Adds those of a command that runs in one process and attacks what it cannot look into."""
    return add_options(command, (*_DATA, *_AROUND))


def corruption_test_options(command: Command) -> Command:
    """Adds those of a command that runs in one process and attacks nothing."""
    return add_options(command, (*_DATA, *_AROUND, *_folder("MODEL-DATASET-corrupted")))


def adaptive_options(command: Command) -> Command:
    """Adds the same to a command that says itself how it attacks."""
    return add_options(command, (*_DATA, *_AROUND, *_folder("MODEL-DATASET-adaptive")))


def learning_options(command: Command) -> Command:
    """Adds those of a command that learns from the images of one split."""
    return add_options(command, (*_DATASET, *_DISTANCE, *_FLIP, *_LENGTH, *_SEEN, *_WORKERS))


def run_options(command: Command) -> Command:
    """Adds those of commands that write a run folder."""
    return add_options(command, (*_RERANK, *_folder("MODEL-DATASET"), *_EXAMPLES))
