"""Caveats: results that do not compare, and signs of a weak or a broken attack."""

import itertools
from collections.abc import Iterator, Sequence

from jaxreid.budgets import exact
from jaxreid.constants import MAIN_PROTOCOL, UNDEFENDED, USUAL_FILTER
from jaxreid.records import Result
from jaxreid.report.audits import raised_flags
from jaxreid.report.groups import Group
from jaxreid.report.runs import Curve, Run
from jaxreid.report.style import PROTOCOLS, percent
from jaxreid.report.summary import Summary
from jaxreid.report.wording import listed

__all__ = ["find_caveats"]

# mAP may rise by this share with a larger budget before it is called a sign of a weak attack.
_RISE = 0.02
# A quarter of a grey level: what rounding to 8 bits or in float32 may add to a budget.
_OVER = 0.25
_SAME_STEP = 0.01
# What chance may put one attack below the worst case by: another seed than its own.
_LOWER = 0.001
# What follows no network's gradient, and so knows of no defense.
_UNGUIDED = ("clean", "noise")
_ITERATED = {"fgsm": ("ifgsm", "mifgsm"), "fgsm_multi": ("ifgsm_multi", "mifgsm_multi")}


def find_caveats(summary: Summary) -> list[str]:
    """Checks the results for what would make them misleading: sentences in plain text.

    None means that no check failed, not that none could.
    """
    runs, groups = summary.runs, summary.groups
    found = [*raised_flags(runs), *(run.note for run in runs if run.note), *_datasets(runs)]
    found += [*_cameras(runs), *_camera_inputs(runs), *_sizes(runs), *_pipelines(runs)]
    found += [*_corruptions(runs), *_defenses(runs)]
    for group in groups:
        for curve in group.curves:
            found += _of_curve(group, curve)
        for label in group.labels:
            found += _order(group, label)
    found += [*_worst_cases(summary), *_protocols(groups[0]), *_seeds(groups)]
    return list(dict.fromkeys(found))


def _worst_cases(summary: Summary) -> Iterator[str]:
    """What is no worst case, or no more than a first look at it."""
    evaded = [run for run in summary.by_run.values() if run.group.panel.goal == "evade"]
    attacked = [run for run in evaded if run.outcomes]
    without = [run.label for run in attacked if run.worst_case is None]
    if without:
        whose = f" of {listed(without)}" if len(without) < len(attacked) else ""
        yield (
            f"No worst case was computed{whose}: the figure of an attack is an upper bound of what "
            "is left. `jaxreid evaluate --attacks worst` computes it."
        )
    quick = [run.label for run in attacked if run.worst_case and run.worst_case.is_quick]
    if quick:
        yield f"The worst case of {listed(quick)} was searched quickly, for a first look."
    for run in attacked:
        worst = run.worst_case
        if worst is None:
            continue
        for one in [one for one in run.outcomes if one.remaining < worst.remaining - _LOWER][:1]:
            yield (
                f"{run.label}: {one.name} leaves less ({percent(one.remaining)}) than what was "
                f"called the worst case ({percent(worst.remaining)}): the search for it was too "
                "weak."
            )


def _datasets(runs: Sequence[Run]) -> Iterator[str]:
    names = {run.label: str(run.folder.provenance.dataset.get("name", "")) for run in runs}
    if len({name for name in names.values() if name}) > 1:
        listed = ", ".join(f"{label} on {name}" for label, name in names.items())
        yield f"The runs use different datasets, so their figures do not compare: {listed}."


def _cameras(runs: Sequence[Run]) -> Iterator[str]:
    """Runs that rank by another rule than the usual one, which few published results do."""
    rules = {run.label: run.folder.provenance.settings.get("cameras", "differ") for run in runs}
    blind = [label for label, rule in rules.items() if rule == "ignore"]
    if blind:
        yield (
            f"{', '.join(blind)}: ranked without camera labels, so that images of one camera may "
            "match; compare with nothing that was ranked across cameras."
        )


def _corruptions(runs: Sequence[Run]) -> Iterator[str]:
    """Images that were corrupted before anything else was done to them."""
    for run in runs:
        settings = run.folder.provenance.settings
        if (corruption := settings.get("corruption")) is not None:
            sides = settings.get("corrupted", "query")
            whose = "query and gallery" if sides == "both" else sides
            yield (
                f'{run.label}: the {whose} images were corrupted ({corruption}), so "clean" '
                "means not attacked."
            )


def _defenses(runs: Sequence[Run]) -> Iterator[str]:
    """What stood before the network, and whether who attacked knew of it."""
    for run in runs:
        if (defense := run.folder.provenance.settings.get("through")) is None:
            continue
        yield f"{run.label}: all images were ranked through {defense}."
        guided = [one.condition for one in run.results if one.condition.attack not in _UNGUIDED]
        if guided and all(condition.surrogate == UNDEFENDED for condition in guided):
            yield (
                f"{run.label}: no attack climbed through {defense}, so its figures are of an "
                "attacker who does not know of it; --attacker adaptive does."
            )


def _camera_inputs(runs: Sequence[Run]) -> Iterator[str]:
    """Networks that are told the camera of an image: what hangs on it, and who was not told."""
    modes = {run.label: run.folder.provenance.settings.get("camera") for run in runs}
    told = {"none": "no camera", "mean": "the mean of all cameras"}
    for label, mode in modes.items():
        if mode not in (None, "true"):
            yield (
                f"{label}: in place of its own camera every image was given "
                f"{told.get(str(mode), f'camera {mode}')}, with which its figures do not compare "
                "with published ones."
            )
    for run in runs:
        for result in run.results:
            wrong, right = result.wrong_camera, result.scores.get(MAIN_PROTOCOL)
            if wrong and right:
                yield (
                    f"{run.label} is told the camera of each image: with every query's wrong by "
                    f"one, features change by {percent(wrong.change)} and clean mAP is "
                    f"{percent(wrong.mean_average_precision)} instead of "
                    f"{percent(right.mean_average_precision)}."
                )


def _sizes(runs: Sequence[Run]) -> Iterator[str]:
    """Images of another size than in training, which alone lowers most scores."""
    for run in runs:
        trained = run.folder.provenance.model.get("training_size")
        used = run.folder.provenance.settings.get("size")
        if isinstance(trained, list) and isinstance(used, list) and trained != used:
            trained_size, size = ("x".join(map(str, one[:2])) for one in (trained, used))
            yield (
                f"{run.label} was evaluated on images of {size} pixels and trained on "
                f"{trained_size}."
            )


def _pipelines(runs: Sequence[Run]) -> Iterator[str]:
    """What was done otherwise than the model's own pipeline has it."""
    for run in runs:
        said = run.folder.provenance
        own = said.model.get("pipeline")
        if not isinstance(own, dict):
            continue
        used = {
            "filter": {said.settings.get("filter", USUAL_FILTER)},
            "flip": {said.settings.get("flip", False)},
            "unit_length": {said.settings.get("unit_length", own.get("unit_length"))},
            "distance": {result.condition.distance for result in run.results},
        }
        changed = [
            f"{name.replace('_', ' ')} {_word(value)} (the model's: {_word(own[name])})"
            for name, values in used.items()
            for value in sorted(values, key=str)
            if name in own and value != own[name]
        ]
        if changed:
            yield f"{run.label} overrides the pipeline of its model: {', '.join(changed)}."


def _word(value: object) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def _of_curve(group: Group, curve: Curve) -> Iterator[str]:
    name = f"{curve.name} of {curve.run}"
    changes = [(p.eps, max(one.largest_change for one in p.results)) for p in curve.points]
    over = [(eps, change) for eps, change in changes if change > eps + _OVER]
    if group.panel.norm == "linf" and over:
        eps, change = max(over, key=lambda pair: pair[1] - pair[0])
        yield f"{name} broke its budget: a pixel changed by {change:.2f}/255 at {exact(eps)}/255."
    spreads = [(p.eps, p.spread(group.protocol)) for p in curve.points]
    means = [(eps, spread.mean) for eps, spread in spreads if spread]
    for (small, before), (large, after) in itertools.pairwise(means):
        if after > before + _RISE and curve.attack != "noise":
            yield (
                f"{name} harms less at {group.panel.budget(large)} ({percent(after)}) than at "
                f"{group.panel.budget(small)} ({percent(before)}): an attack that gets stuck says "
                "little about robustness."
            )
            break
    results = [one for point in curve.points for one in point.results if one.unguided]
    if results:
        most = max(results, key=lambda one: one.unguided)
        yield (
            f"{name}: {most.unguided:,} of {most.attacked:,} images had no guide and stayed as "
            "they were, which lifts its figures."
        )
    yield from _without_gradient(name, [one for point in curve.points for one in point.results])


def _without_gradient(name: str, results: Sequence[Result]) -> Iterator[str]:
    kinds = {"nonfinite_gradients": "NaN or infinite", "zero_gradients": "zero"}
    for field, what in kinds.items():
        worst = max(results, key=lambda one: getattr(one, field), default=None)
        if worst is not None and getattr(worst, field):
            yield (
                f"{name}: the gradient was {what} at {getattr(worst, field):,} of "
                f"{worst.attacked:,} images ({worst.first_without_gradient} for one), whose "
                "pixels then do not move: that is no robustness."
            )


def _order(group: Group, label: str) -> Iterator[str]:
    left = {one.curve.attack: one.remaining for one in group.outcomes.get(label, ())}
    for single, iterated in _ITERATED.items():
        best = min((left[name] for name in iterated if name in left), default=None)
        if single in left and best is not None and left[single] < best - _SAME_STEP:
            yield (
                f"{label}: one large step (FGSM) harms more than many small ones, which is a "
                "sign of masked gradients."
            )
    others = [value for name, value in left.items() if name != "noise"]
    if "noise" in left and others and left["noise"] < min(others):
        yield f"{label}: noise harms more than every attack with gradients; something is broken."


def _protocols(group: Group) -> Iterator[str]:
    """The two protocols integrate precision differently, and attacks bring that out."""
    for label in group.labels:
        worst = next(iter(group.outcomes.get(label, ())), None)
        spreads = [worst.point.spread(protocol) for protocol in PROTOCOLS] if worst else []
        means = [spread.mean for spread in spreads if spread]
        if worst and len(means) == 2 and max(means) > 1.25 * min(means) > 0:
            yield (
                f"Under {worst.name} the protocols differ: mAP of {label} is "
                f"{percent(means[0])} by Market-1501's and {percent(means[1])} by torchreid's. "
                "Compare only figures of one protocol."
            )
            return


def _seeds(groups: Sequence[Group]) -> Iterator[str]:
    counts = {len(p.results) for group in groups for curve in group.curves for p in curve.points}
    if counts == {1}:
        yield "Each attack ran with one seed: how much chance moves the figures is not known."
