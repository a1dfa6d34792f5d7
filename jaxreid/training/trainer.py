"""Steps on all devices (`jax.pmap`), with evaluation, checkpoint and log where they are due."""

import math
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from pathlib import Path

import jax
import numpy as np

from jaxreid.collectives import Collective, local_copy
from jaxreid.data.batches import Batch, by_device
from jaxreid.training.config import TrainConfig
from jaxreid.training.monitoring import Clock, Progress
from jaxreid.training.position import Outcome, Position
from jaxreid.training.preemption import StoppedEarly, StopRequest
from jaxreid.training.recipe import Recipe, build, check_devices
from jaxreid.training.setup import Run, first_state, prepare
from jaxreid.training.state import TrainState
from jaxreid.types import Array

__all__ = ["CollapsedError", "DivergedError", "Outcome", "Progress", "compiled_step", "train"]

_AXIS = "devices"
# An mAP that is no accident: a validation set holds a few dozen people.
_RESISTS = 0.05


class DivergedError(RuntimeError):
    """A loss or gradient that is not finite; nothing of it was saved."""


class CollapsedError(RuntimeError):
    """One-step training whose network has come to resist that one step and nothing else."""


def train(
    config: TrainConfig,
    workdir: Path,
    *,
    resume: bool = True,
    watch: Callable[[Progress], None] = lambda progress: None,
    say: Callable[[str], None] = lambda line: None,
) -> Outcome:
    """Trains, on all devices of all processes, until the end or until SIGTERM.

    Every process calls this with the same arguments; the work directory is shared, and no other
    run's as long as this one lasts. A run that was interrupted, however it was, goes on from its
    last checkpoint and ends as if it had not been.

    Args:
        config: of the run.
        workdir: made if it is missing.
        resume: whether to go on from a checkpoint; otherwise there must be none.
        watch: called with the progress.
        say: called with each message for the user.

    Returns:
        The Outcome.

    Raises:
        InputError: the configuration, the data or the work directory are not as they must be, or
            another run is in the work directory.
        DivergedError: the loss or its gradient is no longer finite.
        CollapsedError: with one step per attack, what the attack of the validation leaves fell to
            less than half of what it left before; the best weights are saved.
        OSError: something could not be written; earlier checkpoints are whole.
    """
    with ExitStack() as stack:
        try:
            # Not bound to a name, which would keep the first state on its device to the end.
            return _Trainer(
                *prepare(
                    config, workdir, stack, axis_name=_AXIS, resume=resume, watch=watch, say=say
                )
            ).to_the_end()
        except StoppedEarly as stopped:
            position: Position = stopped.args[0]
            say(f"asked to stop before the first step: still at step {position.step}")
            return position.outcome(finished=False, stop_requested=True)


def compiled_step(config: TrainConfig) -> jax.stages.Compiled:
    """Compiles the step of a run for one batch, and does not run it: to see what it costs.

    Args:
        config: of the run, the same in every process.

    Returns:
        The program of one device, with its cost_analysis() and memory_analysis().
    """
    check_devices(config.batch.size)
    recipe = build(config, axis_name=_AXIS)
    with closing(recipe.batches):
        batch = by_device(next(recipe.batches), jax.local_device_count())
    state = _replicated(first_state(config, recipe))
    return _step_on_devices(recipe).lower(state, batch, StopRequest().on_devices()).compile()


class _Trainer:
    """A run in this process, from its next step on."""

    def __init__(self, run: Run, state: TrainState) -> None:
        self.run, self.state = run, _replicated(state)
        self.update = _step_on_devices(run.recipe)
        self.clock = Clock(run.config.batch.size)
        self.logged: Mapping[str, float] = {}

    def to_the_end(self) -> Outcome:
        """Steps, with an evaluation and a checkpoint wherever they are due."""
        run, position, batches = self.run, self.run.position, self.run.recipe.batches
        # The first step may take minutes to compile: more time than schedulers give.
        if position.step < run.steps and run.request.anywhere():
            raise StoppedEarly(position)
        # Before the first step compiles: progress says that it is what is waited for.
        run.watch(Progress("training", position.step, run.steps, run.epoch(position.step)))
        in_flight: tuple[int, dict[str, Array], Array] | None = None
        while position.step < run.steps:
            batch = by_device(self.clock.waiting(lambda: next(batches)), jax.local_device_count())
            asked = run.request.on_devices()
            self.state, metrics, requests = self.update(self.state, batch, asked)
            # One step behind: the devices work on a step while the host reads the one before.
            stop = in_flight is not None and self._read(*in_flight)
            position.step += 1
            in_flight = (position.step, metrics, requests)
            evaluates, saves = run.due()
            if stop or evaluates or saves:
                # With a checkpoint after every step no request would be read otherwise.
                stop = self._read(*in_flight) or stop
                in_flight = None
                self._check_finite()
                if evaluates and not stop:
                    self._evaluate()
                with self.clock.paused():
                    run.save(local_copy(self.state))
            if stop:
                run.checkpoints.finish()
                run.say(f"asked to stop: saved at step {position.step} of {run.steps}")
                return position.outcome(finished=False, stop_requested=True)
        run.write_weights(local_copy(self.state).model(), "last")
        run.checkpoints.finish()
        return position.outcome(finished=True, stop_requested=run.request.made)

    def _read(self, step: int, metrics: dict[str, Array], requests: Array) -> bool:
        """Logs the metrics of a step; whether some process was asked to stop."""
        run, found = self.run, {name: float(value) for name, value in local_copy(metrics).items()}
        loss, norm = found["loss"], found["gradient_norm"]
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise self._diverged(step, f"loss {loss:g}, gradient norm {norm:g}")
        self.clock.step_done()
        run.window.add({**found, "learning_rate": run.learning_rate(step - 1)})
        if step % run.config.log_every_steps == 0 or step == run.steps:
            self.logged = {**run.window.take(), **self.clock.take()}
            run.log("train", step, self.logged)
        run.watch(Progress("training", step, run.steps, run.epoch(step), self.logged))
        return float(local_copy(requests)) > 0

    def _check_finite(self) -> None:
        """A finite loss may still have led to weights or statistics that overflow."""
        if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(local_copy(self.state))):
            raise self._diverged(self.run.position.step, "weights or statistics are not finite")

    def _diverged(self, step: int, what: str) -> DivergedError:
        self.run.checkpoints.finish()
        kept = self.run.checkpoints.steps()
        back = f"the last good checkpoint is of step {kept[0]}" if kept else "no checkpoint yet"
        return DivergedError(
            f"step {step}: {what}, learning rate {self.run.learning_rate(step - 1):g}; {back} "
            f"({self.run.workdir}). Lower optimizer.learning_rate, or set optimizer.clip_norm"
        )

    def _evaluate(self) -> None:
        run, position, validation = self.run, self.run.position, self.run.validation
        assert validation is not None
        with self.clock.paused():
            model = local_copy(self.state).model()
            metrics = validation(model)
        run.log("evaluation", position.step, metrics)
        self._check_collapse(metrics)
        better = position.best is None or metrics[validation.criterion] > position.best
        if better:
            position.best, position.best_step = metrics[validation.criterion], position.step
            run.write_weights(model, "best")
        run.say(
            f"epoch {run.epoch(position.step):g} of {run.config.epochs}: "
            f"{validation.describe(metrics)}{' (best so far)' if better else ''}"
        )

    def _check_collapse(self, metrics: Mapping[str, float]) -> None:
        """Catches the catastrophic overfitting of Wong et al., https://arxiv.org/abs/2001.03994."""
        run, position, validation = self.run, self.run.position, self.run.validation
        assert validation is not None
        goat, attack = run.config.goat, validation.settings.attack
        left, best = metrics[validation.criterion], position.best
        if not (goat.enabled and goat.steps == 1 and attack and best is not None):
            return
        # That it resists one perturbation of all images is not what this attack tells of.
        if goat.is_universal:
            return
        # Of a network that never resisted anything, half is noise.
        if best >= _RESISTS and left < best / 2:
            run.checkpoints.finish()
            raise CollapsedError(
                f"step {position.step}: mAP under {attack} is {100 * left:.1f} %, at step "
                f"{position.best_step} it was {100 * best:.1f} %: the network resists the one step "
                "that it is trained with, and nothing else. best.safetensors is that of step "
                f"{position.best_step}. Raise goat.steps, or lower goat.step_size or goat.eps"
            )


def _step_on_devices(recipe: Recipe) -> jax.stages.Wrapped:
    """(state, batch, requests to stop) -> (state, metrics, number of requests)."""

    def update(
        state: TrainState, batch: Batch, request: Array
    ) -> tuple[TrainState, dict[str, Array], Array]:
        state, metrics = recipe.step(state, batch)
        return state, metrics, Collective(_AXIS).sum(request)

    mapped: jax.stages.Wrapped = jax.pmap(update, axis_name=_AXIS, donate_argnums=0)
    return mapped


def _replicated(state: TrainState) -> TrainState:
    """A copy for every device of this process, on a new leading axis."""
    axis = (jax.local_device_count(),)
    copies = jax.tree.map(lambda x: np.broadcast_to(np.asarray(x), axis + np.shape(x)), state)
    # Laid out as the step leaves it: of host arrays the step would be compiled once more.
    on_devices: TrainState = jax.pmap(lambda state: state, axis_name=_AXIS)(copies)
    return on_devices
