"""Runs with each part of a defense, interrupted and gone on with: as if they had not been."""

import numpy as np
import pytest
import trainings

from jaxreid.training.trainer import train

RUNS = {
    "mixed": {
        "goat.pull": 1,
        "goat.step_schedule": "cosine",
        "mixup.stretch": 2.0,
        "mixup.guide_label": 0.05,
    },
    "several": {
        "goat.objective": "guides+soft_margin",
        "goat.push": 1,
        "goat.guide_bank": True,
        "goat.step_schedule": "adaptive",
        "mixup.stretch": 1.5,
    },
    "bisectors": {
        "batch.sampler": "identities",
        "epochs": 2,
        "defense.lipschitz_weight": 0.5,
    },
}


class Killed(BaseException):
    """What no handler of errors expects."""


def arrays(workdir):
    step, saved, _ = trainings.last_checkpoint(workdir)
    return step, saved.arrays


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_a_run_goes_on_as_if_it_had_not_stopped(tmp_path, tiny_data, name):
    fields = {"dataset.data_dir": tiny_data, "goat.enabled": True, "checkpoint.every_steps": 3}
    config = trainings.settings({**fields, **RUNS[name]})

    def stop(progress):
        if progress.stage == "training" and progress.done == 5:
            raise Killed

    assert train(config, tmp_path / "whole").finished
    with pytest.raises(Killed):
        train(config, tmp_path / "halves", watch=stop)
    assert arrays(tmp_path / "halves")[0] == 3
    assert train(config, tmp_path / "halves").finished
    (last, whole), (step, halves) = (arrays(tmp_path / run) for run in ("whole", "halves"))
    assert step == last
    for one, array in whole.items():
        np.testing.assert_array_equal(halves[one], array, err_msg=one)
    losses = [
        [line["loss"] for line in trainings.lines(tmp_path / run)] for run in ("whole", "halves")
    ]
    assert losses[0] == losses[1]
