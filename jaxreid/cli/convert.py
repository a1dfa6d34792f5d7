"""`jaxreid convert`: a checkpoint of another library in, checked weights out."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jaxreid.cli.backend import find_devices
from jaxreid.cli.parameters import CLASSES, DIMENSIONS, SEED, SIZE, Place, Whole, real
from jaxreid.errors import InputError, reason_of

if TYPE_CHECKING:  # at run time these import JAX, which starts only once the options are right
    from jaxreid.models import ModelConfig
    from jaxreid.models.weights import Conversion

__all__ = ["convert"]

_LAYOUTS = click.Choice(
    ["adv-reid", "torchvision", "timm", "torchreid", "fast-reid", "strong-baseline"]
)
_HEADS = click.Choice(["classification", "reduction", "embedding", "triplet", "linear", "none"])
_POOLS = click.Choice(["padded", "ceil"])
_DTYPES = click.Choice(["float32", "bfloat16", "float16"])


@click.command()
@click.argument("source")
@click.argument("target", type=Place(dir_okay=False))
@click.option("--from", "layout", type=_LAYOUTS, help="Who named the tensors. [default: detected]")
@click.option(
    "--to", "target_layout", type=_LAYOUTS, help="Whose names to write. [default: by the head]"
)
@click.option("--architecture", help="Refuse a file that holds another one, such as resnet50.")
@click.option("--head", type=_HEADS, help="Head of the network written. [default: the file's]")
@click.option("--classes", type=CLASSES, help="Training identities of a new head.")
@click.option("--dimensions", type=DIMENSIONS, help="Feature size of a new triplet head.")
@click.option("--last-stride", type=Whole(1, 2), help="Stride of a ResNet's last stage.")
@click.option("--pool", type=_POOLS, help="Of a ResNet's stem. [default: the library's]")
@click.option(
    "--stem-relu/--no-stem-relu",
    default=None,
    help="Whether a ReLU follows a ResNet's stem. [default: the library's]",
)
@click.option(
    "--sie-factor",
    type=real(0, 100),
    help="What multiplies camera embeddings (TransReID 3, CLIP-ReID 1 or 3); no tensor says it.",
)
@click.option(
    "--semantic-weight",
    type=real(0, 1),
    help="Of SOLIDER's semantic control (published: 0.2); no tensor says it.",
)
@click.option(
    "--size",
    "training_size",
    type=SIZE,
    help="Of the images it was trained on: what evaluate and attack take by default.",
)
@click.option("--image-size", type=SIZE, help="A ViT's images; resamples its positions.")
@click.option("--resize", type=SIZE, help="Resize images to this inside the network.")
@click.option("--mean", type=real(0, 1), nargs=3, help="Of pixels in [0, 1]. [default: ImageNet's]")
@click.option("--std", type=real(0, 1), nargs=3, help="Of pixels in [0, 1]. [default: ImageNet's]")
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
    """Check a checkpoint tensor by tensor and write it to TARGET (.safetensors).

    SOURCE is a .safetensors or PyTorch file, or hf:owner/name on the Hugging Face hub. Every
    tensor must be used exactly once; PyTorch files are read without running code in them.

    \b
    Examples:
      jaxreid convert resnet50.safetensors backbone.safetensors
      jaxreid convert checkpoint.pth.tar market.safetensors --from adv-reid
      jaxreid convert market.safetensors torch.safetensors --to adv-reid
      jaxreid convert hf:timm/resnet50.tv_in1k start.safetensors \\
          --head classification --classes 751 --allow-missing head \\
          --allow-unused head
    """  # noqa: D301
    _check_target(source, target, force)
    find_devices()
    from jaxreid.models import weights

    done = weights.convert(source, target, **options)
    _report(target, done)


def _check_target(source: str, target: Path, force: bool) -> None:
    """Before a long file is read: it must be possible to write the other."""
    try:
        if not target.exists():
            return
        if not target.is_file():
            raise InputError(f"{target} is no file; TARGET names a .safetensors file")
        if os.path.exists(source) and target.samefile(source):
            raise InputError(f"{target} is SOURCE itself; write to another file")
    except OSError as error:
        raise InputError(f"{target} cannot be written: {reason_of(error)}") from None
    if not force:
        raise InputError(f"{target} exists; --force replaces it")


def _report(target: Path, done: "Conversion") -> None:
    from jaxreid.models.kinds import architecture_name
    from jaxreid.models.weights.layouts import listed
    from jaxreid.models.weights.names import changes_feature

    config = done.config
    head = config.head + (f" ({config.classes} classes)" if config.has_logits else "")
    size = "x".join(map(str, config.size)) if config.size else "not known (--size stores it)"
    click.echo(
        f"{click.format_filename(target)}: {architecture_name(config.backbone)}, head {head}, "
        f"{done.numbers / 1e6:.2f} M numbers; names of {done.source_layout} -> "
        f"{done.target_layout}; size of the images: {size}"
    )
    for note in _notes(config):
        click.echo(f"note: {note}")
    lost = [name for name in done.ignored if changes_feature(name)]
    if lost:
        click.echo(f"note: left out by --allow-unused: {listed(lost)}")


def _notes(config: "ModelConfig") -> list[str]:
    """What no tensor of the file says, and PyTorch code that loads it has to be written for."""
    from jaxreid.models.kinds import kind_of

    backbone = config.backbone
    notes = []
    if getattr(backbone, "last_stride", None) == 1:
        notes.append("the last stage has stride 1; no tensor says so, PyTorch code must")
    if getattr(backbone, "pool", None) == "ceil":
        notes.append("the stem pools as fast-reid does, torch.nn.MaxPool2d(3, 2, ceil_mode=True)")
    if getattr(backbone, "stem_relu", None) is False:
        notes.append("no ReLU follows the stem, as in reid-strong-baseline")
    if kind_of(backbone) == "osnet" and config.head in ("linear", "none"):
        notes.append(
            "the file has no fc layer: the feature is the mean over the last map, not the 512 "
            "numbers after fc that torchreid's OSNets give"
        )
    return notes
