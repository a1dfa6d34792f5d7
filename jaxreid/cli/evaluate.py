"""`jaxreid evaluate`: what is left of a model's retrieval under attack."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jaxreid.cli.parameters import Numbers, Seeds, Words
from jaxreid.cli.processes import leads
from jaxreid.cli.progress import progress_bars
from jaxreid.cli.retrieval_options import OpenedTest, open_test, retrieval_options
from jaxreid.errors import InputError

if TYPE_CHECKING:
    from jaxreid.evaluation import Manifest, StoredImages
    from jaxreid.records import Condition, Result, RunFolder

__all__ = ["evaluate"]

_ATTACKS = ("noise", "ifgsm", "odfa", "sma", "fna")
_EPS = (1.0, 2.0, 3.0, 4.0, 5.0)


@click.command()
@click.argument("model")
@retrieval_options
@click.option(
    "--attacks",
    type=Words(),
    default=",".join(_ATTACKS),
    show_default=True,
    help="Names; paper for all of the paper's, all for all there are.",
)
@click.option(
    "--eps",
    type=Numbers(),
    help="Budgets: in 1/255 for linf, lengths in pixel range for l2.  [default: 1,2,3,4,5; "
    "none for l2]",
)
@click.option("--seeds", type=Seeds(), default="1", show_default=True, help="How many, or which.")
@click.option("--eight-bit", is_flag=True, help="Round adversarial images to 8 bits first.")
@click.option("--rerank", is_flag=True, help="Also rank after k-reciprocal re-ranking.")
@click.option(
    "--images",
    type=click.Path(file_okay=False, path_type=Path),
    help="Rank images that `jaxreid attack` wrote; they say which attack, dataset and size.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="The run folder; what it holds already is not done again.  [default: runs/MODEL-DATASET]",
)
@click.option("--title", help="How a report names the run.  [default: MODEL on DATASET]")
@click.option(
    "--examples",
    type=click.IntRange(0),
    default=6,
    show_default=True,
    help="Queries to show in a report, per attack.",
)
@click.option("--paper", is_flag=True, help="Print the figures of the paper beside ours.")
def evaluate(model: str, **options: Any) -> None:
    """Rank a gallery for clean and for attacked queries (or the gallery attacked), and compare.

    MODEL is a .safetensors or PyTorch file, hf:owner/name, the folder of a training, or
    module:function, your own JAX function from images [B,H,W,3] in [0, 1] to features [B,D].
    Results are written as they come; the same command again goes on where it was interrupted.

    \b
    Examples:
      jaxreid evaluate runs/baseline --dataset synthetic_reid --out runs/baseline-robustness
      jaxreid evaluate market.safetensors --dataset market1501 --attacks paper --paper
      jaxreid evaluate mymodel:embed --dataset market1501 --limit 100 --eps 5 --attacks sma,fna
      jaxreid evaluate market.safetensors --images adversarial/
    """  # noqa: D301
    from jaxreid.cli.tables import paper_table, results_table, wide_console

    if options["images"] is not None:
        opened, wanted, stored = _from_images(model, options)
    else:
        wanted, stored = _conditions(options), None
        opened = open_test(model, options["title"], options, rerank=options["rerank"])
    results, run = _run(opened, wanted, stored, options)
    if not leads():
        return
    console = wide_console()
    console.print(results_table(results, paper=options["paper"]))
    if options["paper"]:
        console.print(paper_table(opened.provenance.title, results))
    console.print(f"run folder: {run.path}", markup=False, highlight=False, soft_wrap=True)


def _conditions(options: dict[str, Any]) -> "list[Condition]":
    from jaxreid.evaluation import conditions

    if options["eps"] is None and options["norm"] == "l2":
        raise click.UsageError("--norm l2 needs --eps, lengths in pixel range such as 0.5,1,2")
    names = ("seeds", "norm", "steps", "step_size", "side", "guides", "distance", "restarts")
    return conditions(
        options["attacks"],
        options["eps"] or _EPS,
        eight_bit=options["eight_bit"],
        **{name: options[name] for name in names},
    )


# Options that a manifest answers: what is typed beside it must not be ignored in silence.
_ANSWERED = (
    *("attacks", "eps", "seeds", "norm", "steps", "step_size", "side", "guides", "distance"),
    *("restarts", "query_split", "gallery_split", "limit", "size"),
)


def _from_images(
    model: str, options: dict[str, Any]
) -> "tuple[OpenedTest, list[Condition], StoredImages]":
    """Everything that the manifest says, and the model to try the images on."""
    from jaxreid.evaluation import StoredImages, read_manifest
    from jaxreid.records import Condition

    context = click.get_current_context()
    for name in _ANSWERED:
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            flag = "--" + name.replace("_", "-")
            raise click.UsageError(f"{flag} is said by the manifest of --images")
    folder = options["images"]
    manifest = read_manifest(folder)
    filled = {**options, **_answers(folder, manifest, options["dataset"])}
    opened = open_test(model, options["title"], filled, rerank=options["rerank"])
    if opened.provenance.dataset != manifest.dataset:
        raise InputError(f"{folder} was made from other images than {filled['dataset']} holds now")
    opened = _marked_if_transferred(opened, manifest)
    condition = manifest.condition
    source = opened.query if condition.side == "query" else opened.gallery
    clean = Condition(distance=condition.distance)
    return opened, [clean, condition], StoredImages(folder, manifest, source)


def _marked_if_transferred(opened: OpenedTest, manifest: "Manifest") -> OpenedTest:
    """Images made to fool another model are another attack, of which no Condition tells."""
    other = manifest.model.get("sha256")
    if other == opened.provenance.model.get("sha256"):
        return opened
    click.echo("note: the images were made to fool another model: a transfer attack", err=True)
    settings = {**opened.provenance.settings, "images_made_for": other}
    provenance = dataclasses.replace(opened.provenance, settings=settings)
    return dataclasses.replace(opened, provenance=provenance)


def _answers(folder: Path, manifest: "Manifest", asked: str | None) -> dict[str, Any]:
    """The manifest's part of the options."""
    try:
        name, config = manifest.dataset["name"], manifest.dataset["config"]
        splits, settings = manifest.dataset["splits"], manifest.settings
        dataset = f"{name}/{config}" if config else name
        height, width = (int(side) for side in settings["size"])
        answers = {
            "dataset": dataset,
            "query_split": splits["query"],
            "gallery_split": splits["gallery"],
            "size": (height, width),
            "limit": settings["limit"],
        }
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{folder}/manifest.json is damaged: {error!r}") from None
    if asked not in (None, dataset):
        raise InputError(f"{folder} holds images of {dataset}, not of {asked}")
    return answers


def _run(
    opened: OpenedTest,
    wanted: "list[Condition]",
    stored: "StoredImages | None",
    options: dict[str, Any],
) -> "tuple[list[Result], RunFolder]":
    from jaxreid.cli.tables import gradient_note, result_line
    from jaxreid.evaluation import open_run, robustness
    from jaxreid.ranking import KReciprocal

    default = Path("runs") / f"{opened.model.name}-{opened.provenance.dataset['name']}"
    run = open_run(options["out"] or default, opened.provenance)

    def say(result: "Result") -> None:
        bars.say(result_line(result))
        note = gradient_note(
            result.nonfinite_gradients,
            result.zero_gradients,
            result.attacked,
            result.first_without_gradient,
        )
        if note:
            bars.say(f"warning: {note}")

    with progress_bars(shown=leads()) as bars:
        results = robustness(
            opened.model.embed,
            opened.query,
            opened.gallery,
            wanted,
            reading=opened.reading,
            run=run,
            limit=opened.provenance.settings["limit"],
            rerank=KReciprocal() if options["rerank"] else None,
            examples=options["examples"],
            stored=stored,
            progress=bars,
            on_result=say,
        )
    return results, run
