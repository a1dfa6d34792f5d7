"""`jaxreid convert`: a checkpoint of another library in, checked weights out."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jaxreid.cli.backend import find_devices
from jaxreid.cli.lines import say
from jaxreid.cli.model.choices import LAYOUTS, source_options
from jaxreid.cli.model.pipelines import card_lines, pipeline_card, size_text, usual_size
from jaxreid.cli.parameters import CLASSES, DIMENSIONS, SEED, Place
from jaxreid.errors import InputError, listed, reason_of

if TYPE_CHECKING:  # at run time these import JAX, which starts only once the options are right
    from jaxreid.models import ModelConfig
    from jaxreid.models.weights import Conversion

__all__ = ["OF_WIDE", "WIDE", "convert"]

WIDE = "float64"
"""A type that files keep and commands do not compute in."""
OF_WIDE = (
    f"its {WIDE} is kept, and evaluate, attack and train need convert --dtype float32 (or the "
    "environment variable JAX_ENABLE_X64=1)"
)
"""What to do with weights of that type."""

_TARGETS = click.Choice([*map(str, LAYOUTS.choices), "torch", "safetensors", "exported"])
_HEADS = click.Choice(["classification", "reduction", "embedding", "triplet", "linear", "none"])
_DTYPES = click.Choice(["float32", "bfloat16", "float16"])


@click.command()
@click.argument("source")
@click.argument("target", type=Place(dir_okay=False))
@click.option(
    "--to",
    "target_layout",
    type=_TARGETS,
    metavar="NAME",
    help="Whose names to write, one of those that --from takes; torch and safetensors: SOURCE's "
    "own, bit for bit; exported: a model without its code. [default: by the network; for PyTorch "
    "SOURCE's]",
)
@click.option("--architecture", help="Refuse a file that holds another one, such as resnet50.")
@click.option("--head", type=_HEADS, help="Head of the network written. [default: the file's]")
@click.option("--classes", type=CLASSES, help="Training identities of a new head.")
@click.option("--dimensions", type=DIMENSIONS, help="Feature size of a new head that has one.")
@source_options
@click.option("--dtype", type=_DTYPES, help="Cast the weights. [default: keep their type]")
@click.option(
    "--allow-missing",
    multiple=True,
    metavar="NAMES",
    help="Tensors the file may lack, drawn anew: head, or a pattern. May be repeated.",
)
@click.option(
    "--allow-unused",
    multiple=True,
    metavar="NAMES",
    help="Tensors of the file to ignore: head, or a pattern. May be repeated.",
)
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of tensors drawn anew.")
@click.option("--force", is_flag=True, help="Replace TARGET if it exists.")
def convert(source: str, target: Path, force: bool, **options: Any) -> None:
    """Check a checkpoint tensor by tensor and write it to TARGET (.safetensors or .pth).

    SOURCE is a .safetensors or PyTorch file, or hf:owner/name on the Hugging Face hub. Every
    tensor must be used exactly once; PyTorch files are read without running code in them. A TARGET
    of .pth or .pt is a state dict for torch.load, without what jaxreid knows beside it; one of
    .exported (--to exported) is the compiled model, which `jaxreid evaluate` and `attack` take
    wherever JAX is, without knowing the network.

    \b
    Examples:
      jaxreid convert resnet50.safetensors backbone.safetensors
      jaxreid convert checkpoint.pth.tar market.safetensors --from adv-reid
      jaxreid convert market.safetensors torch.safetensors --to adv-reid
      jaxreid convert market.safetensors torch.pth --to fast-reid
      jaxreid convert model_final.pth same.safetensors --to safetensors
      jaxreid convert market.safetensors market.exported --to exported
      jaxreid convert hf:timm/resnet50.tv_in1k start.safetensors \\
          --head classification --classes 751 --allow-missing head \\
          --allow-unused head
    """  # noqa: D301
    _check_target(source, target, force)
    find_devices()
    from jaxreid.models import weights
    from jaxreid.models.exported import is_exported

    to, exports = options["target_layout"], is_exported(target)
    if (to == "exported" and not exports) or (exports and to not in (None, "exported")):
        raise InputError(f"{target}: a target of exported ends in .exported, and no other does")
    if exports:
        from jaxreid.cli.model.exported import export_model

        done = export_model(source, target, options)
    else:
        done = weights.convert(source, target, **options)
    _report(target, options["target_layout"], done)


def _check_target(source: str, target: Path, force: bool) -> None:
    """Before a long file is read: it must be possible to write the other."""
    try:
        if not target.exists():
            if not target.parent.is_dir():
                raise InputError(f"{target}: there is no folder {target.parent}")
            return
        if not target.is_file():
            raise InputError(f"{target} is no file; TARGET names a .safetensors file")
        if os.path.exists(source) and target.samefile(source):
            raise InputError(f"{target} is SOURCE itself; write to another file")
    except OSError as error:
        raise InputError(f"{target} cannot be written: {reason_of(error)}") from None
    if not force:
        raise InputError(f"{target} exists; --force replaces it")


def _report(target: Path, target_layout: str | None, done: "Conversion") -> None:
    from jaxreid.models.kinds import architecture_name
    from jaxreid.models.weights.accounting import ALLOWED, changes_feature, summary

    config = done.config
    head = config.head + (f" ({config.classes} classes)" if config.has_logits else "")
    say(
        f"{click.format_filename(target)}: {architecture_name(config.backbone)}, head {head}, "
        f"{done.numbers / 1e6:.2f} M numbers; names of {done.source_layout} -> "
        f"{done.target_layout}; size of the images: {size_text(config.size)}"
    )
    for line in card_lines(pipeline_card(config)):
        click.echo(line)
    for note in (*_notes(config, done.source_layout), *_notes_on_return(target_layout, done)):
        say(f"note: {note}")
    if WIDE in done.types and target.suffix == ".safetensors":
        say(f"note: {OF_WIDE}")
    if done.peeled:
        say(f"taken off around the network: {', '.join(done.peeled)}")
    if done.ignored:
        say(f"left out: {'; '.join(summary(done.ignored))}")
    allowed = [name for name, reason in done.ignored if reason == ALLOWED]
    lost = [name for name in allowed if changes_feature(name)]
    if lost:
        say(f"note: left out by --allow-unused: {listed(lost)}")


def _notes_on_return(wanted: str | None, done: "Conversion") -> list[str]:
    """What the code of another library has otherwise, where the file is written for that."""
    if wanted in (None, "torch", "safetensors", "exported"):
        return []
    # Of these, whatever the library, `_notes` tells.
    told = {("last_stride", 1), ("pool", "ceil"), ("pooling", "gem"), ("stem_relu", False)}
    return [
        f"{field} is {here} here, and {there} in networks of {done.target_layout} with these "
        "names; no tensor says so, PyTorch code must"
        for field, here, there in done.unlike
        if (field, here) not in told
    ]


def _camera_note(config: "ModelConfig") -> str:
    """Whose the rows of the camera embeddings are taken to be, and what hangs on it."""
    from jaxreid.models import Pipeline

    around = config.pipeline or Pipeline()
    rows = config.backbone.cameras - around.first_camera
    taken = f"each of {rows} camera embeddings is taken for a camera; --cameras N says of how many"
    if around.views > 1:
        taken = (
            f"{rows} camera embeddings are taken for those of {rows // around.views} cameras with "
            f"{around.views} views each, of which images get the mean; --cameras says of how many"
        )
    return (
        f"{taken} they are, if of several views each (rows camera * views + view). With a wrong "
        "number images get other cameras' embeddings, which changed features of networks with "
        "random weights by 63 to 68 % (TransReID) and 37 to 41 % (CLIP-ReID)"
    )


def _notes(config: "ModelConfig", layout: str) -> list[str]:
    """What no tensor of the file says, and PyTorch code that loads it has to be written for."""
    from jaxreid.models.kinds import kind_of

    backbone = config.backbone
    notes = []
    if backbone.cameras:
        notes.append(_camera_note(config))
    if (size := usual_size(config)) is not None:
        notes.append(
            f"{size_text(size)} is the size of its library's usual images; no tensor says it, and "
            "--size does, as of networks for vehicles (256x256)"
        )
    if getattr(backbone, "last_stride", None) == 1:
        notes.append("the last stage has stride 1; no tensor says so, PyTorch code must")
    if getattr(backbone, "pool", None) == "ceil":
        notes.append("the stem pools as fast-reid does, torch.nn.MaxPool2d(3, 2, ceil_mode=True)")
    elif layout.startswith("fast-reid"):
        notes.append(
            "the stem pools as fast-reid's did until 2020-11-06, torch.nn.MaxPool2d(3, 2, 1); "
            "--pool ceil, as since then, changes the feature by 3 to 7 %"
        )
    if getattr(backbone, "pooling", None) == "gem":
        notes.append("the last map is pooled by GeM with p = 3; no tensor says so")
    if getattr(backbone, "stem_relu", None) is False:
        notes.append("no ReLU follows the stem, as in reid-strong-baseline")
    if getattr(backbone, "activation", "relu") == "silu":
        notes.append(
            "SiLU follows the norms, torch.nn.SiLU(); no tensor says so, PyTorch code must"
        )
    if kind_of(backbone) == "osnet" and config.head in ("linear", "none"):
        notes.append(
            "the file has no fc layer: the feature is the mean over the last map, not the 512 "
            "numbers after fc that torchreid's OSNets give"
        )
    return notes
