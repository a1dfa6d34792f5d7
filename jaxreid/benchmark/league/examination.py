"""The examination of a trained network: clean, under FNA and in the worst case, on test people.

Its run folder is the one that `jaxreid evaluate` writes and goes on with.
"""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from jaxreid.benchmark.league.standings import CLEAN, FNA, WORST, condition_key
from jaxreid.budgets import budget_text
from jaxreid.constants import MAIN_PROTOCOL, USUAL_FILTER, Distance
from jaxreid.data.source import open_split
from jaxreid.evaluation import (
    LoaderSettings,
    RetrievalTest,
    conditions,
    describe_dataset,
    held_by_run,
    open_run,
    provenance_of,
    robustness,
)
from jaxreid.models import Pipeline, ReID, embedding, weights
from jaxreid.models.kinds import architecture_name
from jaxreid.models.weights.storage import file_digest
from jaxreid.records import Condition, Result, RunFolder
from jaxreid.training.config import TrainConfig

__all__ = ["Exam", "exam_command", "examine", "is_examined"]


class Exam(NamedTuple):
    """How every network of a league is judged.

    Attributes:
        budgets: in 1/255, ascending.
        quick: whether the worst case is its quick form.
        limit: queries, evenly spaced; None for all.
        batch_size: images at a time.
    """

    budgets: tuple[float, ...]
    quick: bool = True
    limit: int | None = None
    batch_size: int = 64

    def conditions(self, distance: Distance = "euclidean") -> list[Condition]:
        """Clean, FNA and the worst case at every budget."""
        worst = "worst-quick" if self.quick else "worst"
        eps = [budget_text(budget, "linf") for budget in self.budgets]
        return conditions(["fna", worst], eps, seeds=(0,), distance=distance)


def is_examined(folder: Path, exam: Exam, config: TrainConfig) -> bool:
    """Whether a run folder holds all that an examination asks."""
    if not (folder / "run.json").is_file():
        return False
    held = {result.condition for result in RunFolder.open(folder).results()}
    return held >= set(exam.conditions(config.evaluation.distance))


def examine(
    path: Path,
    config: TrainConfig,
    exam: Exam,
    folder: Path,
    *,
    title: str,
    watch: Callable[[str, int, int], None],
    say: Callable[[str], None],
) -> dict[str, tuple[float, float]]:
    """Judges the weights of a run; what the folder holds is not done again.

    Args:
        path: of the weights.
        config: of the run.
        exam: how.
        folder: where results are written as they are known.
        title: how a report names them.
        watch: called with (what is done, done, total).
        say: called with a line for each result.

    Returns:
        `condition_key` -> (mAP, rank-1) in [0, 1], protocol market1501.
    """
    model, data = weights.load(path), config.dataset
    pipeline = model.config.pipeline or Pipeline()
    splits = {part: part for part in ("query", "gallery")}
    sources = {
        part: open_split(data.name, split, data_dir=data.data_dir or None)
        for part, split in splits.items()
    }
    provenance = provenance_of(
        title=title,
        command=exam_command(path, config, exam, folder),
        model=_facts(model, path),
        dataset=describe_dataset(data.name, splits, sources),
        settings=_settings(data.size, pipeline, exam),
    )
    test = RetrievalTest(
        embedding(model, normalize=pipeline.unit_length, flip=pipeline.flip).frozen(),
        sources["query"],
        sources["gallery"],
        loader=LoaderSettings(
            data.size,
            batch_size=exam.batch_size,
            filter=pipeline.filter,
            workers=data.workers,
        ),
        limit=exam.limit,
        progress=watch,
    )
    wanted = exam.conditions(pipeline.distance)
    with held_by_run(folder):
        results = robustness(
            test,
            wanted,
            run=open_run(folder, provenance),
            examples=0,
            on_result=lambda result: say(_line(result)),
        )
    return dict(map(_scored, results))


def exam_command(path: Path, config: TrainConfig, exam: Exam, folder: Path) -> str:
    """The command that judges the same weights in the same way, or goes on with it."""
    data = config.dataset
    eps = ",".join(budget_text(budget, "linf") for budget in exam.budgets)
    words = ["jaxreid", "evaluate", str(path), "--dataset", data.name]
    words += ["--data-dir", data.data_dir] if data.data_dir else []
    words += ["--attacks", "fna,worst", *(["--quick"] if exam.quick else []), "--eps", eps]
    words += ["--seeds", "1", "--size", "x".join(map(str, data.size))]
    words += [] if exam.limit is None else ["--limit", str(exam.limit)]
    words += ["--batch-size", str(exam.batch_size), "--examples", "0", "--out", str(folder)]
    return shlex.join(words)


def _facts(model: ReID, path: Path) -> dict[str, Any]:
    """Of the network, for the provenance."""
    config = model.config
    return {
        "architecture": architecture_name(config.backbone),
        "head": config.head,
        "features": config.feature_size,
        "weights": str(path),
        "sha256": file_digest(path)[1],
    }


def _settings(size: tuple[int, int], pipeline: Pipeline, exam: Exam) -> dict[str, Any]:
    """What results depend on beside those, as `jaxreid evaluate` notes it."""
    usual = {"flip": pipeline.flip, "dtype": "float32", "limit": exam.limit, "rerank": False}
    kernel = {} if pipeline.filter == USUAL_FILTER else {"filter": pipeline.filter}
    return {"size": size, **usual, **kernel}


def _attack(condition: Condition) -> str:
    if condition.is_ensemble:
        return WORST
    return FNA if condition.attack == "fna" else CLEAN


def _scored(result: Result) -> tuple[str, tuple[float, float]]:
    score = result.scores[MAIN_PROTOCOL]
    key = condition_key(_attack(result.condition), result.condition.eps)
    return key, (score.mean_average_precision, score.rank1)


def _line(result: Result) -> str:
    key, (precision, first) = _scored(result)
    return f"{key}: mAP {100 * precision:.1f} %, rank-1 {100 * first:.1f} %"
