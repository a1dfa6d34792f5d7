"""`--camera`: which cameras an embedding is told, and what it says of them."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from jaxreid.cli.lines import wrapped
from jaxreid.cli.model.loaded import LoadedModel
from jaxreid.cli.parameters import Command, Kind, add_options
from jaxreid.errors import InputError

if TYPE_CHECKING:
    from jaxreid.data.source import ReidSource
    from jaxreid.records import Result
    from jaxreid.types import Embed

__all__ = ["camera_option", "row_notes", "told_cameras", "wrong_camera_lines"]

TRUE = "true"
"""Every image is seen by the camera that took it."""


def _read(text: str) -> str | int:
    word = text.strip().lower()
    if word in (TRUE, "none", "mean"):
        return word
    if word.isdecimal() and len(word) < 10:
        return int(word)
    raise ValueError(f"expected true, none, mean or a camera's number from 0, got {text!r:.40}")


_OPTION = click.option(
    "--camera",
    type=Kind("true|none|mean|ID", _read),
    help="Of networks with camera embeddings, which one images get: the true camera's, none, the "
    "mean of all, or one camera's, counted from 0.  [default: true]",
)


def camera_option(command: Command) -> Command:
    """Adds the option to a command."""
    return add_options(command, (_OPTION,))


def told_cameras(
    loaded: LoadedModel, asked: str | int | None, *, strict: bool = True
) -> tuple[LoadedModel, dict[str, Any]]:
    """The model as it is told cameras, and what of it is recorded beside results.

    Args:
        loaded: the model.
        asked: --camera.
        strict: whether a model that needs no cameras refuses the option.

    Raises:
        InputError: the option says something that the model does not have.
    """
    from jaxreid.cameras import MEAN_CAMERA, NO_CAMERA, seen_by, wanted_cameras

    count = wanted_cameras(loaded.embed)
    if not count:
        if asked is None or not strict:
            return loaded, {}
        raise InputError(
            f"--camera {asked} is for networks with camera embeddings; {loaded.name} asks for none"
        )
    mode = TRUE if asked is None else asked
    loaded = loaded._replace(facts={**loaded.facts, "cameras": count})
    if mode != TRUE:
        number = {"none": NO_CAMERA, "mean": MEAN_CAMERA}.get(str(mode), mode)
        if isinstance(number, int) and number >= count:
            raise InputError(
                f"--camera {mode}: the network has embeddings of {count} cameras, 0 to {count - 1}"
            )
        import numpy as np

        loaded = loaded._replace(embed=seen_by(loaded.embed, np.asarray(number, np.int32)))
    return loaded, {"camera": mode}


def row_notes(embed: "Embed", *sources: "ReidSource") -> Iterator[str]:
    """What is odd about the true cameras of these images, if the model has rows for more."""
    from jaxreid.cameras import wanted_cameras

    count = wanted_cameras(embed)
    seen = 1 + max((int(one.cameras.max()) for one in sources if len(one)), default=-1)
    if count > seen:
        yield (
            f"the network tells {count} cameras apart, and the images are of {seen}, 0 to "
            f"{seen - 1}: if its embeddings are of other cameras, images get wrong ones, and "
            "--camera mean or none gives none of them; if they are of cameras and views, jaxreid "
            "convert --cameras N says of how many cameras"
        )


def wrong_camera_lines(results: "Sequence[Result]") -> Iterator[str]:
    """How much a wrong camera changes, where clean results say it."""
    from jaxreid.constants import MAIN_PROTOCOL

    for result in results:
        wrong, right = result.wrong_camera, result.scores.get(MAIN_PROTOCOL)
        if wrong is None or right is None:
            continue
        yield from wrapped(
            f"cameras: with every query's camera wrong by one (of {wrong.cameras}), features "
            f"change by {100 * wrong.change:.0f} %, clean mAP is "
            f"{100 * wrong.mean_average_precision:.1f} % instead of "
            f"{100 * right.mean_average_precision:.1f} %, rank-1 {100 * wrong.rank1:.1f} % "
            f"instead of {100 * right.rank1:.1f} %"
        )
