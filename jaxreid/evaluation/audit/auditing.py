"""A whole audit: figures, then every check, then the card of the model."""

import datetime
from collections.abc import Callable
from typing import Any, NamedTuple

from jaxreid.constants import MAIN_PROTOCOL, Distance, Norm
from jaxreid.distributed import is_main_process
from jaxreid.errors import InputError
from jaxreid.evaluation.audit.attacks import Effort, attack_flags, run_attacks
from jaxreid.evaluation.audit.climbs import Searched, searched
from jaxreid.evaluation.audit.collapse import collapse_flags
from jaxreid.evaluation.audit.flags import KINDS
from jaxreid.evaluation.audit.passes import backward_flags, forward_flags
from jaxreid.evaluation.audit.pipeline import (
    eight_bit_flag,
    preprocessing_flag,
    resized_share,
    scoring_flag,
)
from jaxreid.evaluation.audit.sample import Sample, sample_of
from jaxreid.evaluation.grid import conditions
from jaxreid.evaluation.retrieval import RetrievalTest
from jaxreid.evaluation.rounding import in_pixels
from jaxreid.evaluation.sweep import robustness
from jaxreid.records import (
    Card,
    Condition,
    Figure,
    Flag,
    Result,
    RunFolder,
    ThreatModel,
)

__all__ = ["EFFORTS", "Audited", "audit_model", "wanted_conditions"]

_PUBLISHED = ("odfa", "sma", "fna", "nna")

EFFORTS = {
    "standard": Effort(sample=64, steps=100, starts=3, queries=1000),
    "quick": Effort(sample=32, steps=20, starts=2, queries=200),
}
"""How much an audit computes on its sample."""


class Audited(NamedTuple):
    """What is looked at, and what is known of it beside its features.

    Attributes:
        test: the retrieval test; queries are attacked.
        distance: "euclidean" or "cosine".
        trained: (height, width) that the model says it was trained on; None where nothing does.
        flip: whether the embedding averages over the image and its mirror image.
        surrogate: another model on the same queries and gallery, for transfer; None for none.
    """

    test: RetrievalTest
    distance: Distance = "euclidean"
    trained: tuple[int, int] | None = None
    flip: bool = False
    surrogate: RetrievalTest | None = None


def audit_model(
    audited: Audited,
    run: RunFolder,
    *,
    eps: float | str,
    norm: Norm = "linf",
    quick: bool = False,
    on_flag: Callable[[Flag], None] | None = None,
    **options: Any,
) -> Card:
    """Measures the worst case of a model, looks for reasons to distrust it, and writes its card.

    Clean images, published attacks and the worst case are written into the run folder as
    `robustness` does, and are not computed again where they are there. The checks have runs of
    their own, on a few evenly spaced queries. The card comes last, as card.json.

    Args:
        audited: what is looked at.
        run: the folder.
        eps: budget; in 1/255 for linf, a length in pixel range for l2.
        norm: "linf" or "l2".
        quick: whether to take the quick ensemble and short runs.
        on_flag: called with each flag as soon as it is known.
        **options: of `robustness`: examples, on_result, on_member.

    Returns:
        The card.

    Raises:
        InputError: a budget of 0, nothing to find or to attack, images or features that fail.
        OSError: the folder cannot be written.
    """
    wanted = wanted_conditions(eps, norm, audited.distance, quick=quick)
    effort = EFFORTS["quick" if quick else "standard"]
    test, found = audited.test, dict[str, Flag]()

    def note(*flags: Flag) -> None:
        for flag in flags:
            found[flag.name] = flag
            if on_flag is not None:
                on_flag(flag)

    sample = sample_of(test, audited.distance, effort.sample)
    note(*_of_the_passes(audited, sample))
    results = robustness(test, wanted, run=run, **options)
    clean, worst = results[0], results[-1]
    note(*_of_the_attack(audited, sample, worst.condition, effort))
    note(eight_bit_flag(clean, worst), scoring_flag(clean, worst, flip=audited.flip))
    card = _card(run, results, len(sample.positions), [found[name] for name in KINDS])
    if is_main_process():
        card.save(run.path)
    return card


def wanted_conditions(
    eps: float | str, norm: Norm, distance: Distance, *, quick: bool
) -> list[Condition]:
    """Clean images, published attacks and an ensemble on one threat model.

    Args:
        eps: budget, as `conditions` has it.
        norm: "linf" or "l2".
        distance: "euclidean" or "cosine".
        quick: whether to take the quick ensemble.

    Returns:
        Conditions; the clean one comes first and the ensemble last.

    Raises:
        InputError: a budget that is none, or of 0: nothing is attacked then.
    """
    ensemble = "worst-quick" if quick else "worst"
    found = conditions([*_PUBLISHED, ensemble], [eps], norm=norm, distance=distance)
    if found[-1].eps == 0:
        raise InputError("eps is 0, at which nothing is attacked; name a budget above 0")
    return found


def _of_the_passes(audited: Audited, sample: Sample) -> list[Flag]:
    test = audited.test
    clean, size = test.clean(audited.distance), test.loader.size
    resized = resized_share(test.source("query"), sample.positions, size)
    return [
        *forward_flags(sample),
        *backward_flags(sample),
        *collapse_flags(clean.query, clean.gallery, sample.positions, distance=audited.distance),
        preprocessing_flag(audited.trained, size, resized),
    ]


def _of_the_attack(
    audited: Audited, sample: Sample, condition: Condition, effort: Effort
) -> list[Flag]:
    norm, distance = condition.norm, condition.distance

    def setting(test: RetrievalTest, queries: Sample) -> Searched:
        clean = test.clean(distance)
        return searched(queries, clean.query, clean.gallery, distance, norm)

    surrogate = audited.surrogate
    other = None
    if surrogate is not None:
        other = setting(surrogate, sample_of(surrogate, distance, effort.sample))
    eps, _ = in_pixels(condition)
    test = audited.test
    runs = run_attacks(setting(test, sample), eps, effort, surrogate=other, progress=test.progress)
    return attack_flags(runs)


def _card(run: RunFolder, results: list[Result], sample: int, flags: list[Flag]) -> Card:
    clean, *attacks, worst = results
    condition, said = worst.condition, run.provenance
    figures = {result.condition.attack: _figure(result) for result in attacks}
    everything = {condition.attack: _figure(worst), **figures}
    return Card(
        title=said.title,
        command=said.command,
        model=said.model,
        dataset=said.dataset,
        settings=said.settings,
        threat=ThreatModel(
            condition.norm,
            condition.eps,
            condition.side,
            condition.distance,
            condition.knowledge,
            condition.goal,
        ),
        versions=said.versions,
        devices=said.devices,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        clean=_figure(clean),
        attacks=figures,
        worst=_figure(worst),
        ensemble=condition.attack,
        best_known=min(everything, key=lambda name: everything[name].mean_average_precision),
        sample=sample,
        flags=tuple(flags),
    )


def _figure(result: Result) -> Figure:
    score = result.scores[MAIN_PROTOCOL]
    return Figure(score.mean_average_precision, score.rank1)
