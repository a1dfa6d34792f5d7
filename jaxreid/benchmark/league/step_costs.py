"""What a training step of each row of a league costs, in turns with the undefended row's."""

from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

import jax
import numpy as np

from jaxreid.benchmark.league.files import read_object, write_object
from jaxreid.benchmark.league.progress import Watch
from jaxreid.benchmark.league.standings import UNDEFENDED, StepRatio
from jaxreid.benchmark.timing import interleave, ratio
from jaxreid.errors import InputError
from jaxreid.training.config import TrainConfig
from jaxreid.training.fields import differences
from jaxreid.training.recipe import build
from jaxreid.training.setup import first_state

__all__ = ["time_rows"]


def time_rows(
    folder: Path, configs: Mapping[str, TrainConfig], *, repeats: int, watch: Watch
) -> dict[str, StepRatio]:
    """Times a step of every row but the undefended one, each in turns with a step of that.

    Args:
        folder: NAME/cost.json below it keeps what was measured: with the same configurations it
            is not measured again.
        configs: name of a row -> how it is trained; UNDEFENDED is among them.
        repeats: rounds.
        watch: called with ("step times", rows done, rows).

    Returns:
        Name of a row -> StepRatio.

    Raises:
        InputError: a cost.json is damaged, or data or weights are not as they must be.
    """
    plain = configs[UNDEFENDED]
    others = {name: config for name, config in configs.items() if name != UNDEFENDED}
    plain_step = None
    found: dict[str, StepRatio] = {}
    for number, (name, config) in enumerate(others.items()):
        watch("step times", number, len(others))
        path, of = folder / name / "cost.json", {"row": config, UNDEFENDED: plain}
        cost = _known(path, of)
        if cost is None:
            plain_step = plain_step or _step(plain)
            timings = interleave({UNDEFENDED: plain_step, name: _step(config)}, repeats=repeats)
            per_image = plain.batch.size / config.batch.size
            cost = StepRatio(
                ratio=per_image * ratio(timings[name], timings[UNDEFENDED]),
                seconds=timings[name].runs,
                undefended=timings[UNDEFENDED].runs,
            )
            configured = {role: one.as_json() for role, one in of.items()}
            write_object(path, {"of": configured, **cost._asdict()})
        found[name] = cost
    watch("step times", len(others), len(others))
    return found


def _step(config: TrainConfig) -> Callable[[], object]:
    """The step of a run on one device, with its first batch; it always sets out from the same."""
    # The cache would hold all images for the sake of one batch.
    recipe = build(config.replace({"dataset.cache": False}), axis_name=None)
    with closing(recipe.batches):
        batch = jax.device_put(next(recipe.batches))
    bank = None
    if recipe.needs_bank:
        # Features that differ, as real ones do: of zeros nothing could be climbed.
        shape = (len(recipe.source), recipe.model.config.feature_size)
        bank = np.random.default_rng(0).standard_normal(shape, np.float32)
    state = first_state(config, recipe, bank)
    step = jax.jit(recipe.step)
    return lambda: step(state, batch)


def _known(path: Path, of: Mapping[str, TrainConfig]) -> StepRatio | None:
    """What was measured of the same configurations before."""
    if not path.is_file():
        return None
    held = read_object(path)
    try:
        if any(differences(held["of"][role], config.as_json()) for role, config in of.items()):
            return None
        times = (tuple(map(float, held[name])) for name in ("seconds", "undefended"))
        return StepRatio(float(held["ratio"]), *times)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: expected of, ratio, seconds, undefended: {error!r}") from None
