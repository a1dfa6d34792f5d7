"""What may be said of a file on the command line: whose names it has, what no tensor shows."""

import click

from jaxreid.cli.parameters import DISTANCE, FILTER, SIZE, Command, Whole, add_options, real

__all__ = ["LAYOUTS", "source_options"]

LAYOUTS = click.Choice(
    [
        *("adv-reid", "torchvision", "timm", "torchreid", "fast-reid", "strong-baseline"),
        *("clip-reid", "solider"),
        *("transreid", "transreid-ssl"),
        *("fast-reid-v0.1", "fast-reid-mgn", "jaxreid"),
    ]
)
"""Whose names tensors may have."""
_POOLS = click.Choice(["padded", "ceil"])
_POOLINGS = click.Choice(["average", "gem", "gem-learnt"])

_SHAPE = (
    click.option("--last-stride", type=Whole(1, 2), help="Stride of a ResNet's last stage."),
    click.option("--pool", type=_POOLS, help="Of a ResNet's stem. [default: the library's]"),
    click.option(
        "--pooling",
        type=_POOLINGS,
        help="Of the last map, where no tensor says it. [default: found]",
    ),
    click.option(
        "--stem-relu/--no-stem-relu",
        default=None,
        help="Whether a ReLU follows a ResNet's stem. [default: the library's]",
    ),
    click.option(
        "--sie-factor",
        type=real(0, 100),
        help="What multiplies camera embeddings (TransReID 3, CLIP-ReID 1 or 3); no tensor says "
        "it.",
    ),
    click.option(
        "--semantic-weight",
        type=real(0, 1),
        help="Of SOLIDER's semantic control (published: 0.2); no tensor says it.",
    ),
    click.option("--stride", type=Whole(1, 64), help="Pixels between a ViT's patches (12 or 16)."),
    click.option("--image-size", type=SIZE, help="Of its positions; others are resampled to it."),
)
# Of each the default is what the library does.
_PIPELINE = (
    click.option(
        "--size",
        "training_size",
        type=SIZE,
        help="Of the images it was trained on: what evaluate and attack take by default.",
    ),
    click.option("--filter", type=FILTER, help="Kernel by which images are resized to it."),
    click.option("--resize", type=SIZE, help="Resize images to this inside the network."),
    click.option("--crop", type=SIZE, help="Cut this centre out of images inside the network."),
    click.option("--colours", type=click.Choice(["RGB", "BGR"]), help="Order of its channels."),
    click.option("--mean", type=real(0, 1), nargs=3, help="Of pixels in [0, 1]."),
    click.option("--std", type=real(0, 1), nargs=3, help="Of pixels in [0, 1]."),
    click.option(
        "--neck-feature",
        type=click.Choice(["before", "after"]),
        help="Whether the feature is taken before the neck's BatchNorm or after it.",
    ),
    click.option(
        "--unit-length/--no-unit-length",
        default=None,
        help="Whether features are divided by their length.",
    ),
    click.option(
        "--flip/--no-flip", default=None, help="Whether the mirror image's feature is averaged in."
    ),
    click.option("--distance", type=DISTANCE, help="By which features are compared."),
    click.option(
        "--first-camera",
        type=Whole(0, 1),
        help="Row of camera embeddings of the first camera: 1 where they are counted from 1.",
    ),
    click.option(
        "--cameras",
        type=Whole(1, 1 << 14),
        help="Of how many cameras camera embeddings are, if of several views each (rows camera * "
        "views + view); no tensor says it. [default: one row each]",
    ),
)


def source_options(command: Command) -> Command:
    """Adds what may be said of a file: who named its tensors, and what they do not show."""
    detected = click.option(
        "--from",
        "layout",
        type=LAYOUTS,
        metavar="NAME",
        help=f"Who named the tensors: {', '.join(map(str, LAYOUTS.choices))}. [default: detected]",
    )
    network = click.option(
        "--network",
        metavar="NAME",
        help="Which of several in the file: its key, or what its names begin with (teacher, "
        "model_ema).",
    )
    return add_options(command, (detected, network, *_SHAPE, *_PIPELINE))
