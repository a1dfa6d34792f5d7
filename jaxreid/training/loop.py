"""The training loop: the one place that knows of devices (`jax.pmap`) and of processes.

A work directory holds

    config.json        the configuration
    metrics.jsonl      figures, one line per window and per evaluation; tensorboard/ has the same
    checkpoints/       the newest, to go on from
    best.safetensors   weights that retrieved the validation people best
    last.safetensors   weights at the end
    .lock              held by the run that is going on; .lock.by says which that is
"""

import json
import math
import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils
from ml_collections import ConfigDict

from jaxreid.data.batches import Batch, by_device
from jaxreid.errors import InputError
from jaxreid.evaluation import extract, held_by_run
from jaxreid.files import replacing
from jaxreid.models import ReID, embedding, weights
from jaxreid.training.agreement import as_json, check_agreement
from jaxreid.training.checkpoints import Checkpoints, arrays_of, with_arrays
from jaxreid.training.clock import Clock
from jaxreid.training.logbook import Logbook, Windowed
from jaxreid.training.notes import check_saved
from jaxreid.training.preemption import stop_requests
from jaxreid.training.recipe import Recipe, build
from jaxreid.training.state import TrainState
from jaxreid.training.validation import validation_of
from jaxreid.types import Array

__all__ = ["DivergedError", "Outcome", "Progress", "compiled_step", "train"]

_AXIS = "devices"
_PACKAGES = ("jaxreid", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


class DivergedError(RuntimeError):
    """A loss or gradient that is not finite; nothing of it was saved."""


class _StoppedEarly(Exception):  # noqa: N818
    """A request to stop came before the first step; at which step the run stands."""


class Progress(NamedTuple):
    """Where a run stands, once per step.

    Attributes:
        stage: "decoding", "bank" or "training".
        done: images or steps.
        total: of these.
        epoch: passes over the data, with fractions.
        figures: of the last line of the log; empty at first.
    """

    stage: str
    done: int
    total: int
    epoch: float = 0.0
    figures: Mapping[str, float] = {}


class Outcome(NamedTuple):
    """How a run ended.

    Attributes:
        finished: False if it was asked to stop; it goes on from where it is.
        step: batches seen.
        best: mAP of the best weights on the validation people (under attack, if the run chooses
            by that) in [0, 1], or None.
        best_step: when they were found, or None.
    """

    finished: bool
    step: int
    best: float | None
    best_step: int | None


def train(
    config: ConfigDict,
    workdir: Path,
    *,
    resume: bool = True,
    watch: Callable[[Progress], None] | None = None,
    say: Callable[[str], None] | None = None,
) -> Outcome:
    """Trains, on all devices of all processes, until the end or until SIGTERM.

    Every process calls this with the same arguments; the work directory is shared, and no other
    run's as long as this one lasts. A run that was interrupted, however it was, goes on from its
    last checkpoint and ends as if it had not been.

    Args:
        config: with the fields of configs/default.py.
        workdir: made if it is missing.
        resume: whether to go on from a checkpoint in the work directory; otherwise there must be
            none.
        watch: called with the progress.
        say: called with a line of text for whoever waits.

    Returns:
        The Outcome.

    Raises:
        InputError: the configuration, the data or the work directory are not as they must be, or
            another run is in the work directory.
        DivergedError: the loss or its gradient is no longer finite.
        OSError: something could not be written; earlier checkpoints are whole.
    """
    with ExitStack() as stack:
        try:
            run = _Run(config, workdir, stack, resume=resume, watch=watch, say=say)
            return run.to_the_end()
        except _StoppedEarly as stopped:
            (outcome,) = stopped.args
            return outcome


def compiled_step(config: ConfigDict) -> jax.stages.Compiled:
    """Compiles the step of a run for one batch, and does not run it: to see what it costs.

    Every process calls this with the same arguments.

    Args:
        config: with the fields of configs/default.py.

    Returns:
        The program of one device, whose cost_analysis() and memory_analysis() tell.

    Raises:
        InputError: the configuration or the data are not as they must be.
    """
    _check_batch(config.batch.size)
    recipe = _recipe(config)
    with closing(recipe.batches):
        batch, stop = by_device(next(recipe.batches), jax.local_device_count()), _no_request()
    state = _replicated(_first_state(config, recipe, _empty_bank(recipe)))
    return _update(recipe).lower(state, batch, stop).compile()


class _Run:
    """One run in this process."""

    def __init__(
        self,
        config: ConfigDict,
        workdir: Path,
        stack: ExitStack,
        *,
        resume: bool,
        watch: Callable[[Progress], None] | None,
        say: Callable[[str], None] | None,
    ) -> None:
        self.config, self.workdir = config, workdir
        self.watch = watch or (lambda progress: None)
        self.say = say or (lambda line: None)
        self.first_process = jax.process_index() == 0
        # First of all: whoever asks while the data are read is heard before the first step.
        self.request = stack.enter_context(stop_requests())
        _check_batch(config.batch.size)
        _check_name(workdir)
        stack.enter_context(held_by_run(workdir))
        self.checkpoints = Checkpoints(workdir / "checkpoints", keep=config.checkpoint.keep)
        stack.push(self._close_checkpoints)
        saved = self._saved(resume)
        self.step, self.best, self.best_step = 0, None, None
        self.window = Windowed()
        if saved is not None:
            self.step = int(saved.arrays["step"])
            self.best, self.best_step = saved.notes["best"], saved.notes["best_step"]
            self.window = Windowed(saved.notes.get("window"))
        self.recipe = _recipe(config, lambda done, total: self._preparing("decoding", done, total))
        stack.callback(self.recipe.batches.close)
        self.validation = validation_of(config, self.say)
        bank = self._bank() if saved is None else _empty_bank(self.recipe)
        state = _first_state(config, self.recipe, bank)
        if saved is not None:
            state = with_arrays(state, saved.arrays)
            self.recipe.batches.set_state(saved.notes["batches"])
            self.say(f"going on after step {self.step} of {self.total}")
        self.state = _replicated(state)
        self.update = _update(self.recipe)
        self.log = None
        if self.first_process:
            _write_json(workdir / "config.json", as_json(config))
            self.log = stack.enter_context(Logbook(workdir, step=self.step, warn=self.say))
        self.figures: Mapping[str, float] = {}  # of the last line of the log
        self.clock = Clock(config.batch.size)

    @property
    def total(self) -> int:
        return self.config.epochs * self.recipe.steps_per_epoch

    def _saved(self, resume: bool) -> Any:
        if not resume and self.checkpoints.steps():
            raise InputError(
                f"{self.workdir} holds checkpoints of an earlier run; name another work directory, "
                "or let it go on"
            )
        found = self.checkpoints.newest(check_saved)
        if found is None:
            return None
        _, saved, warnings = found
        for warning in warnings:
            self.say(f"warning: {warning}")
        check_agreement(saved.notes["config"], as_json(self.config), where=self.workdir)
        return saved

    def _bank(self) -> Array | np.ndarray | None:
        """Features of all training images."""
        recipe = self.recipe
        if not recipe.needs_bank:
            return None
        return extract(
            embedding(recipe.model).frozen(),
            recipe.source,
            size=tuple(self.config.dataset.size),
            filter=self.config.dataset.filter,
            batch_size=self.config.evaluation.batch_size,
            cache=recipe.cache,
            progress=lambda done, total: self._preparing("bank", done, total),
        ).features

    def _preparing(self, stage: str, done: int, total: int) -> None:
        """Tells how far it is; a run of one process stops here if it was asked to."""
        self.watch(Progress(stage, done, total))
        if self.request.made and jax.process_count() == 1:
            self._stop_early()

    def _stop_early(self) -> None:
        self.say(f"asked to stop before the first step: still at step {self.step}")
        raise _StoppedEarly(Outcome(False, self.step, self.best, self.best_step))

    def _close_checkpoints(self, kind: type[BaseException] | None, *rest: Any) -> None:
        """Waits for what is being written; what fails then is told unless something else did."""
        try:
            self.checkpoints.close()
        except OSError:
            if kind is None:
                raise

    def to_the_end(self) -> Outcome:
        """Steps, with an evaluation and a checkpoint wherever they are due."""
        pending: tuple[int, dict[str, Array]] | None = None
        # The first step may take minutes to compile: more time than schedulers give.
        if self.step < self.total and _anywhere(self.request.made):
            self._stop_early()
        while self.step < self.total:
            batch = self.clock.waiting(lambda: next(self.recipe.batches))
            self.state, figures = self.update(
                self.state, by_device(batch, jax.local_device_count()), self._asked_to_stop()
            )
            # One step behind: while the host reads the figures of a step, the devices have another.
            stop = self._read(pending)
            self.step += 1
            pending = (self.step, figures)
            evaluates, saves = self._due()
            if stop or evaluates or saves:
                # A request that comes with every step's checkpoint must be heard too.
                stop = self._read(pending) or stop
                pending = None
                self._check_finite()
            if evaluates and not stop:
                self._evaluate()
            if stop or saves or evaluates:
                self._save()
            if stop:
                self.checkpoints.finish()
                self.say(f"asked to stop: saved at step {self.step} of {self.total}")
                return Outcome(False, self.step, self.best, self.best_step)
        if self.first_process:
            self._write(self._local().model(), "last")
        self.checkpoints.finish()
        return Outcome(True, self.step, self.best, self.best_step)

    def _asked_to_stop(self) -> np.ndarray:
        """This process's request, for every one of its devices: the step adds up all of them."""
        return _no_request() + self.request.made

    def _due(self) -> tuple[bool, bool]:
        """Whether an evaluation and whether a checkpoint is due after this step."""
        last = self.step == self.total
        every = self.config.evaluation.every_epochs * self.recipe.steps_per_epoch
        evaluates = bool(every) and (self.step % every == 0 or last)
        steps = self.config.checkpoint.every_steps
        ends_epoch = self.step % self.recipe.steps_per_epoch == 0
        return evaluates and self.validation is not None, last or (
            self.step % steps == 0 if steps else ends_epoch
        )

    def _read(self, pending: tuple[int, dict[str, Array]] | None) -> bool:
        """Looks at the figures of a step: whether to stop, and what to log."""
        if pending is None:
            return False
        step, on_devices = pending
        figures = {name: float(_local(value)) for name, value in on_devices.items()}
        stop = figures.pop("stop") > 0
        loss, norm = figures["loss"], figures["gradient_norm"]
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise self._diverged(step, f"loss {loss:g}, gradient norm {norm:g}")
        self.clock.step_done()
        self.window.add({**figures, "learning_rate": self._rate(step - 1)})
        if step % self.config.log_every_steps == 0 or step == self.total:
            line = {**self.window.take(), **self.clock.take()}
            self.figures = line
            if self.log is not None:
                self.log.write("train", step=step, epoch=self._epoch(step), figures=line)
        self.watch(Progress("training", step, self.total, self._epoch(step), self.figures))
        return stop

    def _rate(self, step: int) -> float:
        replays = self.config.goat.replays if self.config.goat.enabled else 1
        return float(self.recipe.learning_rate(step * replays))

    def _epoch(self, step: int) -> float:
        return step / self.recipe.steps_per_epoch

    def _check_finite(self) -> None:
        """A finite loss may still have led to weights or statistics that overflow."""
        if not all(bool(np.isfinite(leaf).all()) for leaf in jax.tree.leaves(self._local())):
            raise self._diverged(self.step, "weights or statistics are not finite")

    def _diverged(self, step: int, what: str) -> DivergedError:
        self.checkpoints.finish()
        kept = self.checkpoints.steps()
        back = f"the last good checkpoint is of step {kept[0]}" if kept else "no checkpoint yet"
        return DivergedError(
            f"step {step}: {what}, learning rate {self._rate(step - 1):g}; {back} "
            f"({self.workdir}). Lower optimizer.learning_rate, or set optimizer.clip_norm"
        )

    def _evaluate(self) -> None:
        assert self.validation is not None
        with self.clock.paused():
            model = self._local().model()
            figures = self.validation(model)
        found = figures[self.validation.criterion]
        better = self.best is None or found > self.best
        if better:
            self.best, self.best_step = found, self.step
        if self.first_process:
            assert self.log is not None
            epoch = self._epoch(self.step)
            self.log.write("evaluation", step=self.step, epoch=epoch, figures=figures)
            if better:
                self._write(model, "best")
        self.say(
            f"epoch {self._epoch(self.step):g} of {self.config.epochs}: "
            + self.validation.told(figures)
            + (" (best so far)" if better else "")
        )

    def _write(self, model: ReID, name: str) -> None:
        size = tuple(self.config.dataset.size)
        weights.save(model, self.workdir / f"{name}.safetensors", training_size=size)

    def _save(self) -> None:
        if self.log is not None:
            # A checkpoint tells of no step whose line may still be lost.
            self.log.sync()
        with self.clock.paused():
            self.checkpoints.save(
                self.step,
                arrays_of(self._local()),
                {
                    "config": as_json(self.config),
                    "batches": self.recipe.batches.get_state(),
                    "best": self.best,
                    "best_step": self.best_step,
                    "window": self.window.sums(),
                    "versions": {name: metadata.version(name) for name in _PACKAGES},
                },
            )

    def _local(self) -> TrainState:
        """The state on this process's first device; all devices hold the same."""
        return jax.tree.map(_local, self.state)


def _recipe(config: ConfigDict, progress: Callable[[int, int], None] | None = None) -> Recipe:
    shard = (jax.process_index(), jax.process_count())
    return build(config, axis_name=_AXIS, shard=shard, progress=progress)


def _empty_bank(recipe: Recipe) -> np.ndarray | None:
    """Zeros in the shape of the features of all training images, where a run keeps these."""
    if not recipe.needs_bank:
        return None
    return np.zeros((len(recipe.source), recipe.model.config.feature_size), np.float32)


def _first_state(config: ConfigDict, recipe: Recipe, bank: Array | np.ndarray | None) -> TrainState:
    averaged = config.optimizer.ema > 0
    return TrainState.create(recipe.model, recipe.optimizer, averaged=averaged, bank=bank)


def _no_request() -> np.ndarray:
    """What `_Run._asked_to_stop` is while nobody asks."""
    return np.zeros(jax.local_device_count(), np.float32)


def _update(recipe: Recipe) -> Any:
    """The step on all devices: (state, batch, requests to stop) -> (state, figures)."""

    def update(state: TrainState, batch: Batch, stop: Array) -> tuple[TrainState, dict[str, Array]]:
        state, figures = recipe.step(state, batch)
        return state, {**figures, "stop": jax.lax.psum(stop, _AXIS)}

    return jax.pmap(update, axis_name=_AXIS, donate_argnums=0)


def _replicated(state: TrainState) -> TrainState:
    """A copy for every device of this process, on a new leading axis."""
    count = jax.local_device_count()

    def copies(leaf: Any) -> np.ndarray:
        leaf = np.asarray(leaf)
        return np.broadcast_to(leaf, (count, *leaf.shape))

    # Laid out as the step leaves it: given as host arrays, it would be compiled for the first step
    # and once more for all others.
    return jax.pmap(lambda state: state, axis_name=_AXIS)(jax.tree.map(copies, state))


def _local(leaf: Array) -> Array:
    """The first device's part of a mapped array, without the leading axis."""
    return leaf.addressable_shards[0].data.reshape(leaf.shape[1:])


def _check_batch(size: int) -> None:
    devices = jax.device_count()
    if size % devices:
        raise InputError(
            f"batch.size must be a multiple of the {devices} devices (of {jax.process_count()} "
            f"processes), got {size}"
        )


def _check_name(folder: Path) -> None:
    try:
        str(folder.absolute()).encode()
    except UnicodeEncodeError:
        raise InputError(
            f"{os.fsencode(folder)!r}: checkpoints cannot be written below a name that is not "
            "UTF-8; name another work directory"
        ) from None


def _anywhere(asked: bool) -> bool:
    """Whether some process of the run was asked to stop; all of them learn the same."""
    if jax.process_count() == 1:
        return asked
    return bool(np.any(multihost_utils.process_allgather(np.array(asked, np.float32))))


def _write_json(path: Path, content: Any) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
