"""`jaxreid universal`: learns what, laid on any image, spoils the ranking of a model."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from jaxreid.budgets import read_budget
from jaxreid.cli.parameters import BUDGET, EPOCHS, SEED, TITLE, Place, Whole, real
from jaxreid.cli.progress import progress_bars
from jaxreid.cli.retrieval import OpenedTest, open_test
from jaxreid.cli.retrieval_options import IN_ONE_PROCESS, learning_options
from jaxreid.cli.settings import RetrievalSettings
from jaxreid.cli.surrogates import model_label
from jaxreid.errors import InputError
from jaxreid.locks import held

if TYPE_CHECKING:
    from jaxreid.evaluation import Perturbation, Recipe
    from jaxreid.records import Provenance

__all__ = ["universal"]

# What of the shared settings has no meaning here: one process, whose batches are the recipe's.
_FIXED: dict[str, Any] = {**IN_ONE_PROCESS, "batch_size": 64, "limit": None}
_SUFFIX = ".safetensors"
_SHOWN = 5  # images in the picture
_MOST_PEOPLE, _MOST_REPLAYS, _STRONGEST = 10_000, 1000, 1e6


@dataclass(frozen=True, kw_only=True)
class _Settings(RetrievalSettings):
    """What was asked for, typed; names are those of the options."""

    out: Path
    objective: Literal["ap", "sma", "fna", "generator"]
    eps: float | str
    epochs: int
    people: int
    images: int
    smoothness: float
    replays: int
    seed: int

    def recipe(self) -> "Recipe":
        """What is learned by; an InputError says what is wrong with it."""
        from jaxreid.evaluation import Recipe

        recipe = Recipe(
            objective=self.objective,
            eps=read_budget(self.eps, name="--eps"),
            epochs=self.epochs,
            identities=self.people,
            images=self.images,
            smoothness=self.smoothness,
            replays=self.replays,
            seed=self.seed,
        )
        recipe.check()
        if self.out.suffix != _SUFFIX:
            raise InputError(f"--out {self.out}: expected the name of a {_SUFFIX} file")
        if not self.out.parent.is_dir():
            raise InputError(f"--out {self.out}: there is no folder {self.out.parent}")
        return recipe

    def recorded(self) -> dict[str, Any]:
        """The same, with what is learned by."""
        return {**super().recorded(), **dataclasses.asdict(self.recipe())}


@click.command()
@click.argument("model")
@learning_options
@click.option("--split", default="train", show_default=True, help="The split to learn from.")
@click.option(
    "--objective",
    type=click.Choice(["ap", "sma", "fna", "generator"]),
    default="ap",
    show_default=True,
    help="ap: one change against the average precision; sma: away from the clean features; fna: "
    "away from the person, towards the furthest other; generator: a network that draws a change "
    "of each image.",
)
@click.option("--eps", type=BUDGET, default="10", show_default=True, help="Budget in 1/255.")
@click.option(
    "--epochs", type=EPOCHS, default=10, show_default=True, help="Passes over the people."
)
@click.option(
    "--people",
    type=Whole(2, _MOST_PEOPLE),
    default=16,
    show_default=True,
    help="People in a batch.",
)
@click.option(
    "--images",
    type=Whole(2, _MOST_PEOPLE),
    default=4,
    show_default=True,
    help="Images of each of them.",
)
@click.option(
    "--smoothness",
    type=real(0, _STRONGEST),
    default="0",
    show_default=True,
    help="Weight of the total variation that objective ap pays for; 200 is that of MUAP.",
)
@click.option(
    "--replays",
    type=Whole(1, _MOST_REPLAYS),
    default=1,
    show_default=True,
    help="Updates from each batch, which is read and embedded clean once for all of them.",
)
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of start and order.")
@click.option("--title", type=TITLE, help="Of the record.  [default: MODEL on DATASET]")
@click.option(
    "--out",
    type=Place(dir_okay=False),
    required=True,
    help="The file, .safetensors; its picture, .png and .svg, lies beside it.",
)
def universal(split: str, **options: Any) -> None:
    """Learn one change for all images, or a network that draws one for each, against MODEL.

    MODEL is what `jaxreid evaluate` takes. The attacker has the network and images of other people,
    pays once, and then changes any image at no cost: `jaxreid evaluate --perturbation FILE` says
    what that leaves of this model, or of any other, on any data. Interrupted, the same command goes
    on after the last epoch that was done.

    \b
    Examples:
      jaxreid universal runs/plain --dataset market1501 --out muap.safetensors
      jaxreid universal runs/plain --dataset market1501 --objective generator \\
          --epochs 40 --out generator.safetensors
      jaxreid evaluate runs/other --dataset msmt17 \\
          --perturbation muap.safetensors,generator.safetensors
    """  # noqa: D301
    settings = _Settings(**_FIXED, **options, query_split=split, gallery_split=split)
    settings.recipe()
    # Two that learn into one file would each go on from the other's state.
    with held(settings.out, beside=True):
        opened = open_test(settings)
        found = _learned(opened, settings)
    click.echo(
        f"{found.name}: eps {found.recipe.eps:g}/255, {found.size[0]}x{found.size[1]}", err=True
    )
    for suffix in (_SUFFIX, ".png", ".svg"):
        click.echo(str(settings.out.with_suffix(suffix)))


def _learned(opened: OpenedTest, settings: _Settings) -> "Perturbation":
    """What the file holds already, or is learned now and written."""
    from jaxreid.evaluation import (
        Perturbation,
        learn_perturbation,
        load_perturbation,
        save_perturbation,
        unit_length,
    )
    from jaxreid.evaluation.universal.unfinished import Unfinished

    recipe, provenance = settings.recipe(), opened.provenance
    marks = {
        **provenance.settings,
        "model": _which(provenance),
        "images": provenance.dataset,
    }
    if settings.out.exists():
        found = load_perturbation(settings.out)
        _refuse_other(found, provenance, settings.out)
        return found
    embed = opened.model.embed
    kept = Unfinished(settings.out.with_suffix(f".unfinished{_SUFFIX}"), marks)
    with progress_bars() as bars:
        tensors = learn_perturbation(
            unit_length(embed) if opened.settings.distance == "cosine" else embed,
            opened.query,
            recipe,
            loader=opened.loader,
            unfinished=kept,
            progress=bars,
        )
    size = opened.loader.size
    found = Perturbation(recipe, model_label(opened.model), size, provenance, tensors)
    _draw(found, opened, settings.out)
    save_perturbation(found, settings.out)
    kept.remove()
    return found


def _refuse_other(found: "Perturbation", now: "Provenance", path: Path) -> None:
    """Refuses to take a file for one that was learned otherwise, or to overwrite it."""
    before = found.provenance
    if _which(before) != _which(now):
        how = f"on {found.made_on}"
    elif (before.dataset, before.settings) != (now.dataset, now.settings):
        how = "otherwise"
    else:
        return
    raise InputError(f"--out {path} holds a perturbation that was learned {how}; name another file")


def _which(provenance: "Provenance") -> list[str]:
    """What tells models apart."""
    return [str(provenance.model.get(name)) for name in ("sha256", "function")]


def _draw(found: "Perturbation", opened: OpenedTest, path: Path) -> None:
    import jax
    import numpy as np

    from jaxreid.data.batches import Images
    from jaxreid.evaluation.scoring import evenly_spaced
    from jaxreid.evaluation.universal.perturbation import changed_rows
    from jaxreid.report.changes import draw_changes

    rows = evenly_spaced(len(opened.query), _SHOWN)
    pixels = Images(opened.query, opened.loader.size, opened.loader.filter, None)(rows)
    changed = np.asarray(jax.jit(changed_rows)(found.changing(opened.loader.size), pixels))
    clean = pixels.astype(np.float32) / 255
    eps = found.recipe.in_pixels
    draw_changes(list(clean), list(changed), eps=eps, name=path.stem).save(path.parent)
