"""A league, run by run: one network to start from, one budget, one examination; resumable.

Below the folder of a league

    plain/                    the run that all others start from, unless a file was named
    start.json                which weights that was
    NAME/seed-S/              a run of `jaxreid train`; stopped.json says why one gave up
    NAME/seed-S/evaluation/   what attacks leave of it, as `jaxreid evaluate` writes it
    NAME/cost.json            time of a training step beside the undefended row's
"""

import shlex
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxreid.benchmark.league.examination import Exam, exam_command, examine, is_examined
from jaxreid.benchmark.league.files import read_object, write_object
from jaxreid.benchmark.league.progress import Meter, Watch, passes_of_exam, passes_per_image
from jaxreid.benchmark.league.standings import Run, Standing
from jaxreid.benchmark.league.step_costs import time_rows
from jaxreid.data.joined import open_splits
from jaxreid.errors import InputError
from jaxreid.evaluation import held_by_run
from jaxreid.models.weights.storage import file_digest
from jaxreid.training.config import TrainConfig
from jaxreid.training.fields import check_agreement
from jaxreid.training.recipe import sampler_of
from jaxreid.training.trainer import CollapsedError, DivergedError, train

__all__ = [
    "League",
    "Row",
    "hold_league",
    "images_per_epoch",
    "within_budget",
]

# The last weights are written at the end, and nowhere else.
_LAST, _BEST, _STOPPED = "last.safetensors", "best.safetensors", "stopped.json"
# What other batches leave over at the end of an epoch is no budget of its own.
_TOLERANCE = 1.02


class Row(NamedTuple):
    """A defense, as it is trained.

    Attributes:
        name: of its folder, and in tables.
        config: of its runs; each has its own seed.
        words: after `jaxreid train --config`, the whole of it but the seed.
        shown: the words that tell it from other rows.
    """

    name: str
    config: TrainConfig
    words: tuple[str, ...]
    shown: str


class League(NamedTuple):
    """What is trained from what, and judged how.

    Attributes:
        folder: of everything.
        start: weights that all rows start from, as their model.start_from says.
        plain: how those are trained first; None where they are there already.
        rows: of which one is `jaxreid.benchmark.league.standings.UNDEFENDED`.
        seeds: of each row.
        exam: the same for all.
        known: (row, seed) -> what came of it on another machine; these are not trained here.
    """

    folder: Path
    start: Path
    plain: Row | None
    rows: tuple[Row, ...]
    seeds: tuple[int, ...]
    exam: Exam
    known: Mapping[tuple[str, int], Run] = {}

    def runs(self) -> Iterator[tuple[Row, int, TrainConfig, Path]]:
        """(row, seed, configuration, folder) of every run: all rows with a seed, then the next."""
        for seed in self.seeds:
            for row in self.rows:
                config = row.config.replace({"seed": seed})
                yield row, seed, config, self.folder / row.name / f"seed-{seed}"

    @property
    def all_known(self) -> bool:
        """Whether nothing is left to train here."""
        return all((row.name, seed) in self.known for row, seed, _, _ in self.runs())

    def planned(self) -> dict[tuple[str, int], tuple[str, str]]:
        """(row, seed) -> the commands that train and judge it."""
        return {
            (row.name, seed): (
                _training(row, seed, folder),
                exam_command(folder / _LAST, config, self.exam, folder / "evaluation"),
            )
            for row, seed, config, folder in self.runs()
        }


class _StoppedError(Exception):
    """A training was asked to stop, and has saved itself."""


def images_per_epoch(config: TrainConfig) -> int:
    """Training images that an epoch of a configuration sees; its dataset is prepared."""
    data = config.dataset
    source = open_splits(data.names, data.split, data_dir=data.data_dir or None)
    return sampler_of(config).batches(np.asarray(source.labels)) * config.batch.size


def within_budget(config: TrainConfig, *, images: int) -> dict[str, int]:
    """The epochs in which a row sees so many training images, and when it is validated.

    A sampler of people passes over people: its epochs are shorter than those of all images. As
    many validations choose its weights as choose the others'.

    Args:
        config: of the row, with the epochs that others have.
        images: that each row may see.

    Returns:
        Fields of the configuration -> values, those that are to be changed.
    """
    epochs = max(1, int(_TOLERANCE * images / images_per_epoch(config)))
    if epochs == config.epochs:
        return {}
    every = round(config.evaluation.every_epochs * epochs / config.epochs)
    if config.evaluation.every_epochs:
        every = max(1, every)
    return {"epochs": epochs, "evaluation.every_epochs": every}


def hold_league(
    league: League, *, repeats: int, watch: Watch, say: Callable[[str], None]
) -> list[Standing] | None:
    """Trains and judges every row with every seed, and times a step of each at last.

    What is there already is not done again, and a run that was interrupted goes on where it was.
    A row whose training diverges or collapses stays in, with the reason and with the best weights
    that it had until then.

    Args:
        league: whose rows were checked.
        repeats: rounds in which steps are timed; 0 to time none.
        watch: called with (what is done, done, total); "league" is all of it.
        say: called with each message for the user.

    Returns:
        A Standing per row, in their order; None if a training was asked to stop: the same call
        goes on from there.

    Raises:
        InputError: the folder holds runs of another league, or is in use; data or weights are not
            as they must be.
        DivergedError: the network that all others start from has no finite loss.
        OSError: something could not be written; what is listed is complete.
    """
    with held_by_run(league.folder):
        left = _left(league)
        meter = Meter(left, watch)
        found: dict[str, list[Run]] = {row.name: [] for row in league.rows}
        try:
            # Where all is known, nothing starts from anything.
            if league.plain is not None and not league.all_known:
                failure = _train(league.plain.config, league.folder / "plain", meter, say)
                if failure:
                    raise DivergedError(f"plain: {failure}")
            if not league.all_known:
                _check_start(league)
            for row, seed, config, folder in league.runs():
                if folder in left or folder / "evaluation" in left:
                    say(f"{row.name}, seed {seed}")
                known = league.known.get((row.name, seed))
                found[row.name].append(known or _run(league, row, config, folder, meter, say))
        except _StoppedError:
            return None
        configs = {row.name: row.config for row in league.rows}
        costs = time_rows(league.folder, configs, repeats=repeats, watch=watch) if repeats else {}
    return [
        Standing(row.name, row.shown, tuple(found[row.name]), costs.get(row.name))
        for row in league.rows
    ]


def _left(league: League) -> dict[Path, float]:
    """Folder -> passes of an image that are left to do there; all runs agree with the league."""
    left: dict[Path, float] = {}
    if league.plain is not None and not league.all_known:
        config, folder = league.plain.config, league.folder / "plain"
        if not _is_trained(config, folder):
            left[folder] = passes_per_image(config) * config.epochs * images_per_epoch(config)
    images = {row.name: row.config.epochs * images_per_epoch(row.config) for row in league.rows}
    for row, seed, config, folder in league.runs():
        if (row.name, seed) in league.known:
            continue
        if not _is_trained(config, folder):
            left[folder] = passes_per_image(config) * images[row.name]
        if not is_examined(folder / "evaluation", league.exam, config):
            left[folder / "evaluation"] = passes_of_exam(league.exam, config)
    return left


def _is_trained(config: TrainConfig, folder: Path) -> bool:
    """Whether a run came to an end, good or bad; another configuration's is refused."""
    path = folder / "config.json"
    if not path.is_file():
        return False
    check_agreement(read_object(path), config, where=folder)
    return any((folder / name).is_file() for name in (_LAST, _STOPPED))


def _check_start(league: League) -> None:
    """Refuses to go on from other weights than those that finished rows started from."""
    path = league.folder / "start.json"
    _, digest = file_digest(league.start)
    if not path.is_file():
        write_object(path, {"weights": str(league.start), "sha256": digest})
    elif read_object(path).get("sha256") != digest:
        raise InputError(
            f"{league.start}: rows in {league.folder} started from other weights; name another "
            "folder"
        )


def _train(config: TrainConfig, folder: Path, meter: Meter, say: Callable[[str], None]) -> str:
    """Trains to the end; gives the reason why that was not reached, or ""."""
    path = folder / _STOPPED
    if not _is_trained(config, folder):
        try:
            outcome = train(config, folder, watch=meter.training(folder), say=say)
        except (DivergedError, CollapsedError) as error:
            say(str(error))
            # It would do the same again.
            write_object(path, {"reason": str(error)})
        else:
            if outcome.stop_requested:
                raise _StoppedError
    meter.finish(folder)
    return str(read_object(path).get("reason", "unknown")) if path.is_file() else ""


def _weights(config: TrainConfig, folder: Path) -> Path | None:
    """What is judged of a run: the best weights where something chose them, else the last."""
    names = [_BEST, _LAST] if config.evaluation.every_epochs else [_LAST]
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _training(row: Row, seed: int, folder: Path) -> str:
    """The command that trains a row with a seed."""
    words = (*row.words, f"--config.seed={seed}", "--workdir", str(folder))
    return shlex.join(["jaxreid", "train", "--config", *words])


def _run(
    league: League,
    row: Row,
    config: TrainConfig,
    folder: Path,
    meter: Meter,
    say: Callable[[str], None],
) -> Run:
    """Trains and judges a row with one seed."""
    seed, evaluation = config.seed, folder / "evaluation"
    training = _training(row, seed, folder)
    failure = _train(config, folder, meter, say)
    weights = _weights(config, folder)
    if weights is None:
        meter.finish(evaluation)
        return Run(seed, training, "", "", {}, failure or "there are no weights")
    scores = examine(
        weights,
        config,
        league.exam,
        evaluation,
        title=f"{row.name}, seed {seed}",
        watch=meter.examination(evaluation),
        say=say,
    )
    meter.finish(evaluation)
    command = exam_command(weights, config, league.exam, evaluation)
    return Run(seed, training, command, str(weights), scores, failure)
