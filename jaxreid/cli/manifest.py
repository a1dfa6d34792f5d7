"""Options of a command that ranks images which `jaxreid attack` wrote: their manifest has them."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from jaxreid.cli.retrieval import OpenedTest, open_test
from jaxreid.cli.settings import RetrievalSettings
from jaxreid.constants import LONGEST_STORED_SIDE, USUAL_FILTER, Filter
from jaxreid.errors import InputError

if TYPE_CHECKING:
    from jaxreid.evaluation import Manifest, StoredImages
    from jaxreid.records import Condition

__all__ = ["from_images"]

_PARTS = ("query", "gallery")
# Options whose values the manifest has: typing them beside it is refused, not ignored.
_OF_MANIFEST = (
    *("attacks", "eps", "seeds", "quick", "knowledge", "goal", "target", "norm", "steps"),
    *("step_size", "side", "guides", "distance"),
    *(
        "restarts",
        "as_paper",
        "boost",
        "surrogate",
        "through",
        "attacker",
        "draws",
        "perturbation",
        "query_split",
        "gallery_split",
        "limit",
        "size",
        "filter",
    ),
)


def from_images(
    settings: RetrievalSettings, folder: Path
) -> "tuple[OpenedTest, list[Condition], StoredImages]":
    """Dataset, conditions and images as the manifest has them, and the model to try them on."""
    from jaxreid.evaluation import StoredImages, read_manifest
    from jaxreid.records import Condition

    context = click.get_current_context()
    for name in _OF_MANIFEST:
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            flag = "--" + name.replace("_", "-")
            raise click.UsageError(f"{flag} cannot be given with --images: the manifest has it")
    manifest = read_manifest(folder)
    options = _options_of(folder, manifest, settings.dataset)
    opened = open_test(dataclasses.replace(settings, **options), whose="the images' ")
    if opened.provenance.dataset != manifest.dataset:
        raise InputError(f"{folder} was made from other images than {options['dataset']} holds now")
    opened = _marked_if_transferred(opened, manifest)
    condition = manifest.condition
    source = opened.query if condition.side == "query" else opened.gallery
    clean = Condition(distance=condition.distance)
    return opened, [clean, condition], StoredImages(folder, manifest, source)


def _marked_if_transferred(opened: OpenedTest, manifest: "Manifest") -> OpenedTest:
    """Images that were made for another model are another attack, which the run has to record."""
    other, made = manifest.model.get("sha256"), dict[str, Any]()
    if other != opened.provenance.model.get("sha256"):
        made = {"images_made_for": other}
        click.echo("note: the images were made to fool another model: a transfer attack", err=True)
    camera = manifest.settings.get("camera")
    if camera != opened.provenance.settings.get("camera"):
        made["images_made_with_camera"] = camera
        if "images_made_for" not in made:
            click.echo(f"note: the images were made with --camera {camera}", err=True)
    if not made:
        return opened
    settings = {**opened.provenance.settings, **made}
    provenance = dataclasses.replace(opened.provenance, settings=settings)
    return dataclasses.replace(opened, provenance=provenance)


def _options_of(folder: Path, manifest: "Manifest", asked: str | None) -> dict[str, Any]:
    """The options whose values the manifest has, checked: somebody may have edited it."""
    from jaxreid.evaluation.defended import through_text

    described, settings = manifest.dataset, manifest.settings
    splits = _checked(folder, "dataset.splits", described.get("splits"), dict)
    name, config = (
        _checked(folder, f"dataset.{n}", described.get(n), str) for n in ("name", "config")
    )
    dataset = f"{name}/{config}" if config else name
    size = _checked(folder, "settings.size", settings.get("size"), list)
    sides = [_checked(folder, "settings.size", side, int) for side in size]
    if len(sides) != 2 or not all(1 <= side <= LONGEST_STORED_SIDE for side in sides):
        raise _damaged(folder, "settings.size", size)
    limit = settings.get("limit")
    if limit is not None and _checked(folder, "settings.limit", limit, int) < 1:
        raise _damaged(folder, "settings.limit", limit)
    kernel = settings.get("filter", USUAL_FILTER)
    if kernel not in get_args(Filter):
        raise _damaged(folder, "settings.filter", kernel)
    defense = settings.get("through")
    if defense is not None:
        defense = through_text(_checked(folder, "settings.through", defense, str))
    if asked not in (None, dataset):
        raise InputError(f"{folder} holds images of {dataset}, not of {asked}")
    return {
        **{f"{p}_split": _checked(folder, "dataset.splits", splits.get(p), str) for p in _PARTS},
        "dataset": dataset,
        "size": tuple(sides),
        "limit": limit,
        "filter": kernel,
        "through": defense,
        "distance": manifest.condition.distance,
    }


def _checked(folder: Path, field: str, value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise _damaged(folder, field, value)
    return value


def _damaged(folder: Path, field: str, value: Any) -> InputError:
    from jaxreid.checks import shown

    return InputError(f"{folder}/manifest.json is damaged: {field} is {shown(value)}")
