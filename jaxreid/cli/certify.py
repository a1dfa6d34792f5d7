"""`jaxreid certify`: what is certain of a ranking by smoothed features."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jaxreid.cli.parameters import Kind, Whole, json_option, real
from jaxreid.cli.progress import progress_bars
from jaxreid.cli.retrieval import OpenedTest, open_test
from jaxreid.cli.retrieval_options import AS_PUBLISHED, certify_options
from jaxreid.cli.settings import RunSettings
from jaxreid.distributed import is_main_process

if TYPE_CHECKING:
    from jaxreid.evaluation import Asked
    from jaxreid.records import Certificate

__all__ = ["certify"]

# What a certificate does not depend on: its features have unit length, and nobody is guided.
_FIXED: dict[str, Any] = {
    **AS_PUBLISHED,
    "norm": "l2",
    "distance": None,
    "unit_length": None,
    "examples": 0,
}
_MOST_SAMPLES, _LONGEST = 10_000_000, 1e4
_SMALLEST = 1e-6
# Radii in units of sigma, if none are asked for.
_SHARES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4)


def _radii(text: str) -> tuple[float, ...]:
    """Lengths, in any order."""
    try:
        radii = sorted({float(part) for part in text.split(",")})
    except ValueError:
        radii = []
    # NaN fails every comparison.
    if not radii or not all(0 <= radius <= _LONGEST for radius in radii):
        raise ValueError(f"expected lengths such as 0,0.1,0.25, up to {_LONGEST:g}, got {text!r}")
    return tuple(radii)


@dataclass(frozen=True, kw_only=True)
class _Settings(RunSettings):
    """What was asked for, typed; names are those of the options."""

    sigma: float
    samples: int
    gallery_samples: int
    radii: tuple[float, ...] | None
    confidence: float
    attack: bool
    as_json: bool

    @property
    def asked(self) -> "Asked":
        from jaxreid.evaluation import Asked

        # Without the last bits, so that they are written as short as they are meant.
        usual = tuple(float(f"{share * self.sigma:.6g}") for share in _SHARES)
        radii = usual if self.radii is None else self.radii
        return Asked(self.sigma, radii, self.samples, self.gallery_samples, self.confidence)

    def recorded(self) -> dict[str, Any]:
        """The same, and what the stored features depend on."""
        drawn = ("sigma", "samples", "gallery_samples")
        return {**super().recorded(), **{name: getattr(self, name) for name in drawn}}


@click.command()
@click.argument("model")
@certify_options
@click.option(
    "--sigma",
    type=real(_SMALLEST, _LONGEST),
    default="0.1",
    show_default=True,
    help="Standard deviation of the noise, in pixel range.",
)
@click.option(
    "--samples",
    type=Whole(1, _MOST_SAMPLES),
    default=1000,
    show_default=True,
    help="Noisy copies of every query: the more, the less is lost to chance.",
)
@click.option(
    "--gallery-samples",
    type=Whole(1, _MOST_SAMPLES),
    default=100,
    show_default=True,
    help="Noisy copies of every gallery image, whose mean is what is searched.",
)
@click.option(
    "--radii",
    type=Kind("A,B,...", _radii),
    help="L2 lengths of the change of a query, in pixel range.  [default: "
    f"{','.join(f'{share:g}' for share in _SHARES)} times sigma]",
)
@click.option(
    "--confidence",
    type=real(_SMALLEST, 1 - _SMALLEST),
    default="0.999",
    show_default=True,
    help="Probability with which everything in the table holds at once.",
)
@click.option(
    "--attack",
    is_flag=True,
    help="Also attack through the noise, at each radius: how far the certificate is from that.",
)
@json_option
def certify(**options: Any) -> None:
    """Prove what no change of a query, up to a length, can do to its ranking.

    MODEL is what `jaxreid evaluate` takes. What is certified is the model smoothed by noise: the
    mean of features of unit length over noisy copies of an image, ranked by Euclidean distance.
    For each radius the table says which mAP and which rank-1 are certain, beside the clean ones of
    the smoothed model. Abstained are queries that find a match first, but whose number of samples
    is too small to be certain of it. Features, certificate.json and its figure are written into
    the run folder; the same command again goes on where it was interrupted.

    \b
    Example:
      jaxreid certify runs/noise --dataset synthetic_reid --sigma 0.1 \\
          --limit 100 --attack --out runs/certified
    """  # noqa: D301
    from jaxreid.cli.certificate_table import print_certificate
    from jaxreid.cli.tables import print_json

    settings = _Settings(**_FIXED, rerank=False, **options)
    opened = open_test(settings)
    certificate, folder = _run(opened, settings)
    if not is_main_process():
        return
    if settings.as_json:
        print_json(dataclasses.asdict(certificate))
    else:
        print_certificate(certificate, folder)


def _run(opened: OpenedTest, settings: _Settings) -> "tuple[Certificate, Path]":
    from jaxreid.cli.certificate_table import level_line, write_figure
    from jaxreid.evaluation import certify as certified
    from jaxreid.evaluation import held_by_run, open_run

    out = settings.out or opened.folder("certified")
    with progress_bars(shown=is_main_process()) as bars:
        test = opened.retrieval_test(bars)
        test.refuse_matchless()
        # Before its run.json is touched; to the end of this command.
        click.get_current_context().with_resource(held_by_run(out))
        certificate = certified(
            test,
            open_run(out, opened.provenance),
            settings.asked,
            attack=settings.attack,
            on_level=lambda level: bars.say(level_line(level)),
        )
    if is_main_process():
        write_figure(certificate, out)
    return certificate, out
