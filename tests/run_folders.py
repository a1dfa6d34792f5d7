"""Run folders as `jaxreid evaluate` would write them, from arithmetic instead of a network."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxreid.records import (
    Card,
    Condition,
    Examples,
    FeatureMap,
    Figure,
    Flag,
    Impersonation,
    Member,
    PerQuery,
    Provenance,
    Result,
    RunFolder,
    Score,
    ThreatModel,
    Verification,
    VerificationCurve,
    WorstCase,
)
from jaxreid.report.runs import Run

HEIGHT, WIDTH, RANKS = 32, 16, 4
RATES = ("0.01", "0.001", "0.0001")
MEMBERS = ("odfa", "fna", "average-precision", "first-match", "square")
STRENGTH = {"noise": 0.01, "ifgsm": 0.5, "sma": 0.4, "odfa": 0.61, "fna": 0.6}


def provenance(title: str, **settings) -> Provenance:
    return Provenance(
        title=title,
        command="jaxreid evaluate --model 'weights <1>.npz' --dataset synthetic_reid "
        "--attacks noise,ifgsm,sma,odfa,fna --eps 1,5 --out runs/x",
        model={"architecture": "resnet50", "sha256": "0" * 64},
        dataset={"name": "synthetic_reid", "query": 24},
        settings=settings,
        versions={"jax": "0.10.2"},
        devices="1 x cpu",
        created="2020-06-14T00:00:00+00:00",
    )


def per_query(level: float, identities: int = 6, count: int = 24) -> PerQuery:
    average = np.clip(level * np.linspace(0.8, 1.2, count), 0, 1)
    return PerQuery(
        identities=np.arange(count) % identities + 1,
        cameras=np.arange(count) % 3,
        valid=np.arange(count) != count - 1,
        first_match_rank=np.where(average > level, 1, 7),
        market1501=average,
        torchreid=np.clip(average * 1.2, 0, 1),
    )


def scores(level: float) -> dict[str, Score]:
    higher = min(1.0, 1.2 * level)
    return {
        "market1501": Score(level, higher, higher, higher, level / 2),
        "torchreid": Score(higher, higher, higher, higher, level / 2),
    }


def examples(name: str = "0001_c1s1_000001_00.jpg", count: int = 2) -> Examples:
    rng = np.random.default_rng(0)
    clean = rng.integers(0, 256, (count, HEIGHT, WIDTH, 3), dtype=np.uint8)
    change = 5 * rng.choice([-1, 0, 1], clean.shape)
    gallery = rng.integers(0, 256, (count, RANKS, HEIGHT, WIDTH, 3), dtype=np.uint8)
    names = np.full((count, RANKS), name)
    distances = np.tile(np.linspace(0.2, 0.9, RANKS), (count, 1))
    right = np.tile(np.arange(RANKS) < 2, (count, 1))
    return Examples(
        names=np.full(count, name),
        identities=np.arange(1, count + 1),
        cameras=np.zeros(count, int),
        clean=clean,
        adversarial=np.clip((clean + change) / 255, 0, 1).astype(np.float32),
        before_names=names,
        before_images=gallery,
        before_distances=distances,
        before_correct=right,
        after_names=names,
        after_images=gallery[:, ::-1],
        after_distances=distances,
        after_correct=~right,
    )


def feature_map(people: int = 3, dimension: int = 8) -> FeatureMap:
    rng = np.random.default_rng(1)
    identities = np.repeat(np.arange(1, people + 1), 2)
    clean = rng.normal(size=(2 * people, dimension)).astype(np.float32)
    return FeatureMap(
        identities=identities,
        clean=clean,
        adversarial=clean + 1,
        other_identities=identities,
        other=clean - np.float32(0.1),
    )


def worst_case(level: float, clean: float = 0.8, count: int = 24) -> WorstCase:
    """Five members, of which each takes half of what is left to take, and the last one nothing."""
    rows, left, first = [], clean, min(1.0, 1.2 * clean)
    for number, name in enumerate(MEMBERS):
        last = number == len(MEMBERS) - 1
        goal, rank1 = (level, min(1.0, 1.2 * level)) if last else ((left + level) / 2, first / 2)
        left, first = goal, min(first, max(rank1, min(1.0, 1.2 * level)))
        images = count - 4 * number
        rows.append(Member(name, images, 6 - number, number + 2, left, first, 20 * images, 0.5))
    return WorstCase(
        members=tuple(rows),
        one_image=scores(level * 1.1),
        eight_bit=scores(level * 1.05),
        floor={"market1501": 0.005, "torchreid": 0.004},
        at_floor=3,
        survivors=round(count * first),
    )


def verification(level: float, passed: float = 1.0) -> Verification:
    """Of pairs of one person, the share `level` passes a threshold that lets 1 % of others pass."""
    accepted = {rate: level * 0.8**power for power, rate in enumerate(RATES)}
    return Verification(
        same=240,
        different=20_000,
        equal_error=(1 - level) / 2,
        accepted=accepted,
        thresholds={rate: 0.5 * 0.8**power for power, rate in enumerate(RATES)},
        accepted_by={rate: 0.9 * share for rate, share in accepted.items()},
        passed_by={rate: min(1.0, passed * float(rate)) for rate in RATES},
    )


def roc(level: float) -> VerificationCurve:
    """``true = false^((1 - level) / 2)`` at seventeen corners from 10^-4 to 1, and at 0."""
    false = np.concatenate([[0.0], np.logspace(-4, 0, 17)])
    threshold = np.concatenate([[-np.inf], np.linspace(0.1, 1, 16), [np.inf]])
    return VerificationCurve(false, false ** ((1 - level) / 2), threshold)


def impersonation(first: float) -> Impersonation:
    return Impersonation(24, 0.01, first, (1 + first) / 2, (1 + 3 * first) / 4, 137.5, 2.0)


def worst_result(level: float, eps: float = 5.0, clean: float = 0.8, **condition) -> Result:
    """A result of an ensemble that leaves `level` of mAP."""
    one = result(level, **{"attack": "worst-1", "eps": eps} | condition)
    return dataclasses.replace(one, worst=worst_case(level, clean))


def result(level: float, seed: int = 0, **condition) -> Result:
    done = Condition(seed=seed, **condition)
    return Result(done, scores(level), attacked=24, seconds=1.5, largest_change=done.eps)


def run_in_memory(label: str, *results: Result) -> Run:
    """A run without a folder."""
    return Run(label, RunFolder(Path("/nowhere"), provenance(label)), results)


def attacked_run(label: str, **left: float) -> Run:
    """A run without a folder: mAP 0.8 clean, and what each attack leaves at 5/255."""
    attacked = [result(level, attack=attack, eps=5.0) for attack, level in left.items()]
    return run_in_memory(label, result(0.8), *attacked)


def write_run(
    path: Path,
    *,
    title: str = "Plain",
    clean: float = 0.8,
    weakness: float = 1.0,
    attacks: Sequence[str] = tuple(STRENGTH),
    eps: Sequence[float] = (1.0, 5.0),
    seeds: Sequence[int] = (0,),
    identities: int = 6,
    with_examples: bool = True,
    **condition,
) -> RunFolder:
    """Writes a run whose mAP falls exponentially with the budget."""
    run = RunFolder.create(path, provenance(title))
    distance = condition.get("distance", "euclidean")
    run.append(result(clean, distance=distance), per_query(clean, identities))
    for attack in attacks:
        for budget in eps:
            for seed in seeds:
                level = clean * np.exp(-STRENGTH[attack] * weakness * budget) + seed / 1000
                one = result(float(level), seed, attack=attack, eps=budget, **condition)
                run.append(one, per_query(float(level), identities))
        if with_examples:
            last = Condition(attack=attack, eps=eps[-1], seed=seeds[0], **condition)
            examples().save(run.examples_of(last))
            feature_map(min(3, identities)).save(run.map_of(last))
    return run


def card(*raised: str, left: float = 0.1, clean: float = 0.8) -> Card:
    """The card of a model; of three flags that were looked for, those that are named are raised."""
    flags = (
        Flag("randomised", "randomised" in raised, 0.0, 1e-3, "ratio", "Passes agree.", "Average."),
        Flag("transfer", None, None, None, "share", "No surrogate was named.", "Name one."),
        Flag("more steps", "more steps" in raised, 1.25, 0.5, "points", "It goes on.", "Do more."),
        Flag("8 bits", "8 bits" in raised, 0.03, 0.1, "share", "Rounding gives.", "Round."),
    )
    return Card(
        title="Plain",
        command="jaxreid audit weights.npz --dataset synthetic_reid",
        model={"architecture": "resnet50"},
        dataset={"name": "synthetic_reid"},
        settings={},
        threat=ThreatModel("linf", 5.0, "query", "euclidean", "gallery"),
        versions={"jax": "0.10.2"},
        devices="1 x cpu",
        created="2020-06-14T00:00:00+00:00",
        clean=Figure(clean, min(1.0, 1.2 * clean)),
        attacks={"fna": Figure(2 * left, 2.4 * left)},
        worst=Figure(left, 1.2 * left),
        ensemble="worst-1",
        best_known="worst-1",
        sample=24,
        flags=flags,
    )


def write_worst_run(path: Path, *, left: float = 0.1, name: str = "worst-1", **kwargs) -> RunFolder:
    """Writes a run with everything that is known of a worst case, impersonation and thresholds."""
    run = write_run(path, **kwargs)
    clean = kwargs.get("clean", 0.8)
    known = dataclasses.replace(result(clean), verification=verification(0.95))
    run.append(known, per_query(clean))
    for eps in kwargs.get("eps", (1.0, 5.0)):
        level = float(clean * (left / clean) ** (eps / 5))
        one = worst_result(level, eps, clean, attack=name)
        one = dataclasses.replace(one, verification=verification(level))
        run.append(one, per_query(level))
        roc(level).save(run.verification_of(one.condition))
    roc(0.95).save(run.verification_of(known.condition))
    for knowledge, times in (("self", 3.0), ("guides", 1.5)):
        one = worst_result(times * left, 5.0, clean, attack=name, knowledge=knowledge)
        run.append(one, per_query(times * left))
    for target in ("random", "17"):
        one = worst_result(left, 5.0, clean, attack=name, goal="impersonate", target=target)
        one = dataclasses.replace(
            one, impersonation=impersonation(0.6), verification=verification(0.9, 300.0)
        )
        run.append(one, per_query(left))
        roc(0.6).save(run.verification_of(one.condition))
    worst = Condition(attack=name, eps=5.0)
    card("more steps", left=left, clean=clean).save(run.path)
    examples().save(run.examples_of(worst))
    feature_map().save(run.map_of(worst))
    return run


def write_log(workdir: Path) -> Path:
    """Writes the log of a training that was interrupted in the middle of a line."""
    workdir.mkdir()
    lines: list[dict] = [
        {
            "kind": "train",
            "step": step,
            "epoch": step / 10,
            "loss": 5.0 - step / 20,
            "learning_rate": 1e-3 * 0.9**step,
            "accuracy": None,
            "objective_start": 0.1,
            "objective_end": 1.0 + step,
            "at_budget": 0.5,
            "from_the_future": [1, 2],
        }
        for step in range(50)
    ]
    lines.append({"kind": "evaluation", "step": 49, "epoch": 4.9, "mean_average_precision": 0.7})
    text = "\n".join(json.dumps(line) for line in lines)
    (workdir / "metrics.jsonl").write_text(text + '\n{"kind": "train", "st')
    return workdir
