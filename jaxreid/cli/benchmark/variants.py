"""What of a network that is timed is not its architecture's own."""

from typing import Any

import click

from jaxreid.cli.parameters import Command, Whole, add_options, real

__all__ = ["VARIANT", "network_words", "variant_options"]

VARIANT = ("stride", "last_stride", "pool", "cameras", "semantic_weight", "head")
"""Names of `jaxreid.benchmark.networks.Variant`, and of the options that give them."""


def variant_options(command: Command) -> Command:
    """Adds the options of VARIANT but for the stride, which `network_options` has."""
    options = [
        click.option(
            "--last-stride",
            type=Whole(1, 2),
            help="Of a ResNet's last stage.  [default: the architecture's]",
        ),
        click.option(
            "--pool",
            type=click.Choice(["padded", "ceil"]),
            help="Of a ResNet's or MGN's stem.  [default: the architecture's]",
        ),
        click.option(
            "--cameras",
            type=Whole(1, 1 << 14),
            help="Embeddings of cameras that a vision transformer adds; images are of them in "
            "turn.  [default: none]",
        ),
        click.option(
            "--semantic-weight",
            type=real(0, 1),
            help="Of SOLIDER's control of a Swin transformer.  [default: no control]",
        ),
        click.option(
            "--head",
            type=click.Choice(["none", "embedding"]),
            default="none",
            show_default=True,
            help="embedding: a layer of 512 numbers behind the pooling, as torchreid's.",
        ),
    ]
    return add_options(command, options)


def network_words(options: dict[str, Any]) -> str:
    """The architecture, and what else was said of the network."""
    said = {name: options[name] for name in VARIANT if options[name] not in (None, "none")}
    words = [f"{name.replace('_', ' ')} {value}" for name, value in said.items()]
    return ", ".join([options["architecture"], *words])
