"""A run before its next step: its work directory, its data, and the step it goes on from.

A work directory holds

    config.json        the configuration
    metrics.jsonl      metrics, one line per window and per evaluation; tensorboard/ has the same
    checkpoints/       the newest, to go on from
    best.safetensors   weights that retrieved the validation people best
    last.safetensors   weights at the end
    .lock              held by the run that is going on; .lock.by says which that is
"""

import json
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import jax
import numpy as np

from jaxreid.cameras import refuse_unknown_cameras
from jaxreid.distributed import is_main_process
from jaxreid.errors import InputError
from jaxreid.evaluation import extract, held_by_run
from jaxreid.files import replacing
from jaxreid.models import ReID, embedding, weights
from jaxreid.training.auxiliary import auxiliary_of
from jaxreid.training.checkpoints import Checkpoints, Saved
from jaxreid.training.config import TrainConfig
from jaxreid.training.discriminator import Opponent
from jaxreid.training.fields import check_agreement
from jaxreid.training.monitoring import MetricWriter, Progress, WindowMeans
from jaxreid.training.position import Position
from jaxreid.training.preemption import StoppedEarly, StopRequest, stop_requests
from jaxreid.training.recipe import MORE_CAMERAS, Recipe, build, check_devices
from jaxreid.training.state import TrainState, arrays_of, with_arrays
from jaxreid.training.validation import Validation, validation_of
from jaxreid.types import ArrayLike

__all__ = ["Run", "first_state", "prepare"]


@dataclass
class Run:
    """A run in its work directory: what it is made of, and where it stands.

    Attributes:
        config: of the run.
        workdir: where it is written.
        recipe: of the configuration.
        validation: what chooses the best weights, or None.
        checkpoints: of the work directory.
        writer: of the metrics, in the main process only.
        position: where the run stands.
        window: metrics since the last line of the log.
        request: whether this process was asked to stop.
        watch: called with the progress.
        say: called with each message for the user.
    """

    config: TrainConfig
    workdir: Path
    recipe: Recipe
    validation: Validation | None
    checkpoints: Checkpoints
    writer: MetricWriter | None
    position: Position
    window: WindowMeans
    request: StopRequest
    watch: Callable[[Progress], None]
    say: Callable[[str], None]

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return self.config.epochs * self.recipe.steps_per_epoch

    def epoch(self, step: int) -> float:
        """Passes over the data after so many batches, with fractions."""
        return step / self.recipe.steps_per_epoch

    def learning_rate(self, step: int) -> float:
        """The learning rate of the first update of a step, before which so many batches came."""
        return float(self.recipe.learning_rate(step * self.config.goat.updates_per_batch))

    def due(self) -> tuple[bool, bool]:
        """Whether an evaluation is due where the run stands, and whether a checkpoint is."""
        step, per_epoch = self.position.step, self.recipe.steps_per_epoch
        last = step == self.steps
        every = self.config.evaluation.every_epochs * per_epoch
        evaluates = self.validation is not None and every > 0 and (step % every == 0 or last)
        return evaluates, last or step % (self.config.checkpoint.every_steps or per_epoch) == 0

    def log(
        self, kind: Literal["train", "evaluation"], step: int, metrics: Mapping[str, float]
    ) -> None:
        """Writes metrics, in the main process."""
        if self.writer is not None:
            self.writer.write(kind, step=step, epoch=self.epoch(step), metrics=metrics)

    def write_weights(self, model: ReID, name: str) -> None:
        """Writes NAME.safetensors, in the main process."""
        if self.writer is not None:
            path = self.workdir / f"{name}.safetensors"
            weights.save(model, path, training_size=self.config.dataset.size)

    def save(self, state: TrainState) -> None:
        """Writes a checkpoint in the background; the state, on one device, is copied first."""
        if self.writer is not None:
            # Otherwise a checkpoint could outlive the lines of the steps before it.
            self.writer.sync()
        notes = self.position.notes(
            config=self.config.as_json(),
            batches=self.recipe.batches.get_state(),
            window=self.window.sums(),
        )
        self.checkpoints.save(self.position.step, arrays_of(state), notes)


def prepare(
    config: TrainConfig,
    workdir: Path,
    stack: ExitStack,
    *,
    axis_name: str,
    resume: bool,
    watch: Callable[[Progress], None],
    say: Callable[[str], None],
) -> tuple[Run, TrainState]:
    """Opens the work directory and the data of a run, and goes back to its last checkpoint.

    Args:
        config: of the run.
        workdir: made if it is missing; held until the stack is closed.
        stack: what closes all that is opened here.
        axis_name: mapped axis of the devices.
        resume: whether to go on from a checkpoint in the work directory; otherwise there must be
            none.
        watch: called with the progress.
        say: called with each message for the user.

    Returns:
        The Run, and its state on the host or one device.

    Raises:
        InputError: the configuration, the data or the work directory are not as they must be.
        StoppedEarly: a run of one process was asked to stop while it read its data.
    """
    # First of all: a request to stop that comes while the data are read is not missed.
    request = stack.enter_context(stop_requests())
    check_devices(config.batch.size)
    _check_name(workdir)
    stack.enter_context(held_by_run(workdir))
    folder = workdir / "checkpoints"
    checkpoints = stack.enter_context(Checkpoints(folder, keep=config.checkpoint.keep))
    saved = _last_checkpoint(config, workdir, checkpoints, resume, say)
    position = Position() if saved is None else Position.of(*saved)

    def preparing(stage: str, done: int, total: int) -> None:
        watch(Progress(stage, done, total))
        if request.made and jax.process_count() == 1:
            raise StoppedEarly(position)

    recipe = build(config, axis_name=axis_name, progress=partial(preparing, "decoding"), say=say)
    stack.callback(recipe.batches.close)
    validation = validation_of(config, say)
    _check_cameras(recipe.model, validation)
    bank = None
    if recipe.needs_bank and saved is None:
        bank = _feature_bank(config, recipe, partial(preparing, "bank"))
    state = first_state(config, recipe, bank)
    if saved is not None:
        state = with_arrays(state, saved.arrays)
        recipe.batches.set_state(saved.notes["batches"])
        say(f"going on after step {position.step} of {config.epochs * recipe.steps_per_epoch}")
    run = Run(
        config=config,
        workdir=workdir,
        recipe=recipe,
        validation=validation,
        checkpoints=checkpoints,
        writer=stack.enter_context(_opened_log(config, workdir, position.step, say)),
        position=position,
        window=WindowMeans(saved.notes.get("window") if saved else None),
        request=request,
        watch=watch,
        say=say,
    )
    return run, state


def _check_cameras(model: ReID, validation: Validation | None) -> None:
    """Refuses people who would be validated on by cameras that the network does not have."""
    if validation is not None:
        seen = np.concatenate([validation.query.cameras, validation.gallery.cameras])
        refuse_unknown_cameras(model.cameras, seen, "the validation", instead=MORE_CAMERAS)


def _check_name(folder: Path) -> None:
    try:
        str(folder.absolute()).encode()
    except UnicodeEncodeError:
        raise InputError(
            f"{os.fsencode(folder)!r}: checkpoints cannot be written below a name that is not "
            "UTF-8; name another work directory"
        ) from None


def _last_checkpoint(
    config: TrainConfig,
    workdir: Path,
    checkpoints: Checkpoints,
    resume: bool,
    say: Callable[[str], None],
) -> Saved | None:
    if not resume and checkpoints.steps():
        raise InputError(
            f"{workdir} holds checkpoints of an earlier run; name another work directory, "
            "or let it go on"
        )
    found = checkpoints.newest(lambda saved: Position.of(*saved))
    if found is None:
        return None
    _, saved, warnings = found
    for warning in warnings:
        say(f"warning: {warning}")
    check_agreement(saved.notes["config"], config, where=workdir)
    return saved


def _opened_log(
    config: TrainConfig, workdir: Path, step: int, say: Callable[[str], None]
) -> AbstractContextManager[MetricWriter | None]:
    """The metrics' writer in the main process, which also notes the configuration."""
    if not is_main_process():
        return nullcontext()
    with replacing(workdir / "config.json") as temporary:
        temporary.write_text(json.dumps(config.as_json(), indent=2) + "\n", encoding="utf-8")
    return MetricWriter(workdir, step=step, warn=say)


def _feature_bank(
    config: TrainConfig, recipe: Recipe, progress: Callable[[int, int], None]
) -> ArrayLike:
    """Features of all training images, [N,D]."""
    return extract(
        embedding(recipe.model).frozen(),
        recipe.source,
        size=config.dataset.size,
        filter=config.dataset.filter,
        batch_size=config.evaluation.batch_size,
        cache=recipe.cache,
        progress=progress,
    ).features


def first_state(config: TrainConfig, recipe: Recipe, bank: ArrayLike | None = None) -> TrainState:
    """The state before the first step, on one device.

    Args:
        config: of the run.
        recipe: of `build`.
        bank: [N,D] features of all training images; zeros by default, where a run keeps them.
    """
    if recipe.needs_bank and bank is None:
        bank = np.zeros((len(recipe.source), recipe.model.config.feature_size), np.float32)
    swa = config.optimizer.swa_from_epoch > 0
    # Before the first update triplets are to be as easy as a gradual destination makes them.
    loss = config.defense.margin if config.goat.looks_back else None
    state = TrainState.create(
        recipe.model,
        recipe.optimizer,
        averaged=swa or config.optimizer.ema > 0,
        average_stats=swa,
        auxiliary=auxiliary_of(recipe.model) if config.defense.batch_norm == "dual" else None,
        bank=bank,
        triplet_loss=loss,
    )
    if config.goat.is_universal:
        state = state.replace(universal=np.zeros((*config.dataset.size, 3), np.float32))
    if config.defense.discriminator_weight:
        key = jax.random.fold_in(jax.random.key(config.seed), 1)
        size = recipe.model.config.feature_size
        rival = Opponent.create(size, recipe.optimizer, key=key)
        state = state.replace(discriminator=rival)
    return state
