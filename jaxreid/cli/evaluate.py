"""`jaxreid evaluate`: what is left of a model's retrieval under attack."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jaxreid.cli.budgets import AttackCommand, Budgets, Title
from jaxreid.cli.parameters import ROWS, Place, Seeds, Words
from jaxreid.cli.progress import progress_bars
from jaxreid.cli.retrieval_options import OpenedTest, open_test, retrieval_options
from jaxreid.constants import LONGEST_STORED_SIDE
from jaxreid.distributed import is_main_process
from jaxreid.errors import InputError

if TYPE_CHECKING:
    from jaxreid.evaluation import Manifest, StoredImages
    from jaxreid.evaluation.matches import Cameras
    from jaxreid.records import Condition, Result, RunFolder

__all__ = ["evaluate"]

_ATTACKS = ("noise", "ifgsm", "odfa", "sma", "fna")
_EPS = (1.0, 2.0, 3.0, 4.0, 5.0)


@click.command(cls=AttackCommand)
@click.argument("model")
@retrieval_options
@click.option(
    "--attacks",
    type=Words(),
    default=",".join(_ATTACKS),
    show_default=True,
    help="Names, see below; paper for all of the paper's, all for all there are.",
)
@click.option(
    "--eps",
    type=Budgets(),
    help="Budgets: in 1/255 for linf (5 and 5/255 are the same), lengths in pixel range for l2.  "
    "[default: 1,2,3,4,5; none for l2]",
)
@click.option(
    "--seeds",
    type=Seeds(),
    help="How many, or which, of the attacks that draw something.  [default: 3 of noise, of "
    "attacks of one step, and at the largest budget; 1 elsewhere]",
)
@click.option("--eight-bit", is_flag=True, help="Round adversarial images to 8 bits first.")
@click.option("--rerank", is_flag=True, help="Also rank after k-reciprocal re-ranking.")
@click.option(
    "--cameras",
    type=click.Choice(["differ", "ignore"]),
    default="differ",
    show_default=True,
    help="What a match is: an image of the person from another camera than the query's, or, for "
    "images without camera labels, any but the query's own file.",
)
@click.option(
    "--images",
    type=Place(file_okay=False),
    help="Rank images that `jaxreid attack` wrote; they say which attack, dataset and size.",
)
@click.option(
    "--out",
    type=Place(file_okay=False),
    help="The run folder; what it holds already is not done again.  [default: runs/MODEL-DATASET]",
)
@click.option(
    "--title", type=Title(), help="How a report names the run.  [default: MODEL on DATASET]"
)
@click.option(
    "--examples",
    type=ROWS,
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
      jaxreid evaluate runs/baseline --dataset synthetic_reid --out runs/robust
      jaxreid evaluate market.safetensors --dataset market1501 --attacks paper \\
          --as-paper --paper
      jaxreid evaluate mymodel:embed --dataset market1501 --limit 100 --eps 5 \\
          --attacks sma,fna
      jaxreid evaluate market.safetensors --images adversarial/
    """  # noqa: D301
    from jaxreid.cli.tables import paper_table, results_table, wide_console

    if options["images"] is not None:
        opened, wanted, stored = _from_images(model, options)
    else:
        wanted, stored = _conditions(options), None
        opened = open_test(model, options["title"], options, **_settings(options))
    results, run = _run(opened, wanted, stored, options)
    if not is_main_process():
        return
    console = wide_console()
    console.print(results_table(results, paper=options["paper"]))
    if options["paper"]:
        console.print(paper_table(opened.provenance.title, results))
    path = click.format_filename(run.path)
    console.print(f"run folder: {path}", markup=False, highlight=False, soft_wrap=True)


def _settings(options: dict[str, Any]) -> dict[str, Any]:
    """What figures depend on beside the model, the data and their Condition."""
    # Only where it is not the usual: folders of earlier versions do not say it.
    cameras = {"cameras": options["cameras"]} if options["cameras"] != "differ" else {}
    return {"rerank": options["rerank"], **cameras}


def _conditions(options: dict[str, Any]) -> "list[Condition]":
    from jaxreid.evaluation import conditions

    if options["eps"] is None and options["norm"] == "l2":
        raise click.UsageError("--norm l2 needs --eps, lengths in pixel range such as 0.5,1,2")
    names = ("seeds", "norm", "steps", "step_size", "side", "guides", "distance", "restarts")
    return conditions(
        options["attacks"],
        options["eps"] or _EPS,
        eight_bit=options["eight_bit"],
        as_paper=options["as_paper"],
        **{name: options[name] for name in names},
    )


_PARTS = ("query", "gallery")
# Options that a manifest answers: what is typed beside it must not be ignored in silence.
_ANSWERED = (
    *("attacks", "eps", "seeds", "norm", "steps", "step_size", "side", "guides", "distance"),
    *("restarts", "as_paper", "query_split", "gallery_split", "limit", "size"),
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
    opened = open_test(model, options["title"], filled, **_settings(options))
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
    told, settings = manifest.dataset, manifest.settings
    splits = _said(folder, "dataset.splits", told.get("splits"), dict)
    name, config = (_said(folder, f"dataset.{n}", told.get(n), str) for n in ("name", "config"))
    dataset = f"{name}/{config}" if config else name
    size = _said(folder, "settings.size", settings.get("size"), list)
    sides = [_said(folder, "settings.size", side, int) for side in size]
    if len(sides) != 2 or not all(1 <= side <= LONGEST_STORED_SIDE for side in sides):
        raise _damaged(folder, "settings.size", size)
    limit = settings.get("limit")
    if limit is not None and _said(folder, "settings.limit", limit, int) < 1:
        raise _damaged(folder, "settings.limit", limit)
    answers = {
        **{f"{p}_split": _said(folder, "dataset.splits", splits.get(p), str) for p in _PARTS},
        "dataset": dataset,
        "size": tuple(sides),
        "limit": limit,
    }
    if asked not in (None, dataset):
        raise InputError(f"{folder} holds images of {dataset}, not of {asked}")
    return answers


def _said(folder: Path, field: str, value: Any, kind: type) -> Any:
    """A value of a manifest, which somebody may have edited, if it has its type."""
    if type(value) is not kind:
        raise _damaged(folder, field, value)
    return value


def _damaged(folder: Path, field: str, value: Any) -> InputError:
    from jaxreid.checks import shown

    return InputError(f"{folder}/manifest.json is damaged: {field} is {shown(value)}")


def _look_for_matches(opened: OpenedTest, limit: int | None, cameras: "Cameras") -> None:
    """Refuses queries of which none has a match, before anything is written; counts some."""
    from jaxreid.evaluation import queries_without_match
    from jaxreid.evaluation.matches import refuse_matchless
    from jaxreid.evaluation.subsets import evenly_spaced

    without, count = queries_without_match(
        opened.query, opened.gallery, limit=limit, cameras=cameras
    )
    if count and without == count:
        ranked = evenly_spaced(len(opened.query), limit)
        refuse_matchless(opened.query, opened.gallery, ranked, cameras)
    if 0 < without < count and is_main_process():
        click.echo(
            f"note: {without:,} of {count:,} queries have no match in the gallery: they count 0 in "
            "market1501 and are left out in torchreid",
            err=True,
        )


def _tell_of_damage(run: "RunFolder") -> None:
    """Says what of a folder could not be read, and is left out or done anew."""
    if lost := run.cut_off():
        lines = "1 line" if lost == 1 else f"{lost} lines"
        click.echo(f"{lines} of results.jsonl cut off by an interruption: skipped", err=True)
    if damaged := run.damaged():
        click.echo(
            f"arrays of {damaged[0].key}{' and others' * (len(damaged) > 1)} are damaged: what of "
            "them is asked for is evaluated anew",
            err=True,
        )


def _run(
    opened: OpenedTest,
    wanted: "list[Condition]",
    stored: "StoredImages | None",
    options: dict[str, Any],
) -> "tuple[list[Result], RunFolder]":
    from jaxreid.cli.tables import gradient_note, result_line
    from jaxreid.evaluation import open_run, robustness
    from jaxreid.evaluation.holding import held_by_run
    from jaxreid.ranking import KReciprocal

    default = Path("runs") / f"{opened.model.name}-{opened.provenance.dataset['name']}"
    limit, cameras = opened.provenance.settings["limit"], options["cameras"]
    _look_for_matches(opened, limit, cameras)
    out = options["out"] or default
    # Before its run.json is touched; to the end of this command.
    click.get_current_context().with_resource(held_by_run(out))
    run = open_run(out, opened.provenance)
    if is_main_process():
        _tell_of_damage(run)

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

    with progress_bars(shown=is_main_process()) as bars:
        results = robustness(
            opened.model.embed,
            opened.query,
            opened.gallery,
            wanted,
            reading=opened.reading,
            run=run,
            limit=limit,
            rerank=KReciprocal() if options["rerank"] else None,
            cameras=cameras,
            examples=options["examples"],
            stored=stored,
            progress=bars,
            on_result=say,
        )
    return results, run
