"""Attacks that are made to work elsewhere: `--boost`, and on other networks, `--surrogate`."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import click

from jaxreid.cli.model.loading import load_model
from jaxreid.cli.model.pipelines import filter_text, only_size, size_text
from jaxreid.cli.parameters import WORDS, Command, add_options
from jaxreid.distributed import is_main_process
from jaxreid.errors import InputError

if TYPE_CHECKING:
    from jaxreid.cli.model.loaded import LoadedModel
    from jaxreid.cli.retrieval import OpenedTest
    from jaxreid.evaluation import LoaderSettings, RetrievalTest

__all__ = ["Surrogates", "boost_option", "model_label", "open_surrogate", "surrogate_option"]

_BOOST = click.option(
    "--boost",
    type=WORDS,
    help="What makes single attacks work on other networks, too: momentum mi, ni or vmi; diverse "
    "inputs di, si, admix or sia; smooth gradients ti. Several together, as di,mi,ti.",
)
_SURROGATE = click.option(
    "--surrogate",
    type=WORDS,
    metavar="MODEL,...",
    help="Networks that single attacks take gradients and guides from, several as one, while MODEL "
    "ranks: what an attacker can do who does not have it.",
)


def boost_option(command: Command) -> Command:
    """Adds `--boost` to a command."""
    return add_options(command, (_BOOST,))


def surrogate_option(command: Command) -> Command:
    """Adds `--surrogate` to a command."""
    return add_options(command, (_SURROGATE,))


class Surrogates:
    """The networks of `--surrogate`, loaded, as the one stand-in that attacks see.

    Args:
        specs: as MODEL of `jaxreid evaluate`.
        opened: the test of the network that ranks.

    Attributes:
        name: of the stand-in, in conditions: the same for the same weights.
    """

    def __init__(self, specs: Sequence[str], opened: "OpenedTest") -> None:
        self._cosine = opened.settings.distance == "cosine"
        self._models = [open_surrogate(spec, opened, say=_note) for spec in specs]
        self.name = "+".join(map(model_label, self._models))

    def test(self, test: "RetrievalTest") -> "RetrievalTest":
        """What `robustness` takes under the name, beside the test of the network that ranks."""
        from jaxreid.evaluation import surrogate_test

        embeds = [model.embed for model in self._models]
        return surrogate_test(embeds, test, cosine=self._cosine)


def open_surrogate(spec: str, opened: "OpenedTest", *, say: Callable[[str], None]) -> "LoadedModel":
    """Another model, to be attacked in place of the opened one, on the opened one's images.

    An InputError says that it cannot take them, or that it is the same one; `say` is called with
    what of them is not as it was made for.
    """
    from jaxreid.cli.model.cameras import row_notes, told_cameras
    from jaxreid.cli.model.torch_module import settled

    settings = opened.settings
    other = load_model(spec, dtype="float32", **settings.around)
    other = settled(other, opened.query, opened.loader)
    other, _ = told_cameras(other, settings.camera, strict=False)
    for note in _as_the_model_sees(other, spec, opened.loader):
        say(f"note: {note}")
    for note in row_notes(other.embed, opened.query, opened.gallery):
        say(f"note: --surrogate {spec}: {note}")
    facts = opened.model.facts
    if all(other.facts.get(name) == facts.get(name) for name in ("sha256", "function")):
        raise InputError(f"--surrogate {spec} is the model itself; expected another one")
    return other


def _as_the_model_sees(other: "LoadedModel", spec: str, loader: "LoaderSettings") -> Iterator[str]:
    """What of the images of a test, which are the model's, is not as the surrogate was made for.

    An InputError says that it cannot take them at all.
    """
    if (config := other.config) is None:
        return
    takes = other.size if other.fixed_size else config.size
    size, own = size_text(loader.size), size_text(takes)
    differs = takes is not None and tuple(takes) != tuple(loader.size)
    if differs and other.fixed_size:
        raise InputError(
            f"--surrogate {spec} takes images of {own} only, the model's are of {size}: export it "
            f"anew, with jaxreid convert --size {size}"
        )
    if differs and only_size(config):
        raise InputError(
            f"--surrogate {spec} takes images of {own} only, the model's are of {size}: jaxreid "
            f"convert --resize {own} makes a surrogate of it that resizes them itself"
        )
    if differs:
        yield f"--surrogate {spec} was made for images of {own}, and sees the model's, of {size}"
    kernel = loader.filter if other.pipeline is None else other.pipeline.filter
    if kernel != loader.filter:
        yield (
            f"--surrogate {spec} has images resized by {filter_text(kernel)}, and sees the "
            f"model's, by {filter_text(loader.filter)}"
        )


def _note(text: str) -> None:
    if is_main_process():
        click.echo(text, err=True)


def model_label(model: "LoadedModel") -> str:
    """A name that tells models apart, and says which."""
    return f"{model.name}-{model.facts.get('sha256', '')[:8]}".rstrip("-")
