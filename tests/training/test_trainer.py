"""The trainer in this process: what a work directory holds, how a run goes on, when it stops."""

import json

import jax
import numpy as np
import pytest
import trainings

from jaxreid.errors import InputError
from jaxreid.models import weights
from jaxreid.training.trainer import CollapsedError, DivergedError, train
from jaxreid.training.validation import Validation


@pytest.fixture
def fields(tiny_data):
    return {"dataset.data_dir": tiny_data}


def test_a_work_directory(tmp_path, fields):
    seen, said = [], []
    changes = {
        **fields,
        "epochs": 2,
        "evaluation.every_epochs": 1,
        "goat.enabled": True,
        "goat.push": 1,
        "goat.guide_bank": True,
        "goat.replays": 2,
        "goat.clean_fraction": 0.5,
        "optimizer.ema": 0.5,
        "optimizer.clip_norm": 0.1,
        "model.dtype": "bfloat16",
        "log_every_steps": 4,
    }
    config = trainings.settings(changes)
    outcome = train(config, tmp_path / "new" / "run", watch=seen.append, say=said.append)
    workdir = tmp_path / "new" / "run"
    assert outcome.finished
    assert outcome.step == 20
    assert outcome.best_step in (10, 20)
    assert {p.stage for p in seen} == {"decoding", "bank", "training"}
    assert [p.done for p in seen if p.stage == "training"] == list(range(21))
    assert "epoch 1 of 2: validation mAP" in said[0]
    assert json.loads((workdir / "config.json").read_text())["goat"]["replays"] == 2
    assert trainings.steps(workdir) == [4, 8, 12, 16, 20]
    metrics = trainings.lines(workdir)[-1]
    assert {"objective_end", "at_budget", "accuracy", "images_per_second"} <= metrics.keys()
    best = [line["mean_average_precision"] for line in trainings.lines(workdir, "evaluation")]
    assert outcome.best == max(best)
    images = np.random.default_rng(0).uniform(size=(2, 32, 16, 3)).astype(np.float32)
    for name in ("best.safetensors", "last.safetensors"):
        model = weights.load(workdir / name)
        assert np.isfinite(model(images).features).all()
        assert model.config.size == tuple(config.dataset.size)
    step, saved, _ = trainings.last_checkpoint(workdir)
    assert step == 20
    assert saved.arrays["bank"].shape == (86, 8)
    assert saved.notes["best"] == outcome.best
    assert saved.notes["versions"]["jax"] == jax.__version__
    # Once more: there is nothing left to do.
    again = train(config, workdir)
    assert again == outcome
    assert trainings.steps(workdir) == [4, 8, 12, 16, 20]


@pytest.mark.slow
def test_a_transformer_learns_from_images_of_any_size(tmp_path, fields):
    changes = {**fields, "model.architecture": "tiny_vit", "evaluation.every_epochs": 1}
    assert train(trainings.settings(changes), tmp_path).best is not None
    model = weights.load(tmp_path / "last.safetensors")
    assert model.config.size == (32, 16)
    losses = [line["loss"] for line in trainings.lines(tmp_path)]
    assert np.isfinite(losses).all()


@pytest.mark.slow
def test_another_configuration_is_refused_and_how_it_is_done_is_free(tmp_path, fields):
    changes = {**fields, "checkpoint.every_steps": 4}
    train(trainings.settings(changes), tmp_path)
    with pytest.raises(InputError, match=r"optimizer\.learning_rate: was 0\.003, is 0\.1\)"):
        train(trainings.settings({**changes, "optimizer.learning_rate": 0.1}), tmp_path)
    with pytest.raises(InputError, match="holds checkpoints of an earlier run"):
        train(trainings.settings(changes), tmp_path, resume=False)
    free = {**changes, "dataset.cache": False, "checkpoint.every_steps": 5, "log_every_steps": 3}
    assert train(trainings.settings(free), tmp_path).finished


@pytest.mark.slow
def test_a_damaged_checkpoint_costs_its_steps_only(tmp_path, fields):
    changes = {**fields, "checkpoint.every_steps": 4}
    train(trainings.settings(changes), tmp_path)
    expected = trainings.last_checkpoint(tmp_path)[1].arrays
    logged = [line["loss"] for line in trainings.lines(tmp_path)]
    for path in (tmp_path / "checkpoints" / "10" / "state").rglob("*"):
        if path.is_file():
            path.write_bytes(b"")
    said = []
    train(trainings.settings(changes), tmp_path, say=said.append)
    assert "warning: checkpoint 10 in" in said[0]
    assert said[1] == "going on after step 8 of 10"
    assert [line["loss"] for line in trainings.lines(tmp_path)] == logged
    for name, array in trainings.last_checkpoint(tmp_path)[1].arrays.items():
        np.testing.assert_array_equal(array, expected[name])


@pytest.mark.slow
@pytest.mark.parametrize("rate", [1e25, 1e38])
def test_a_run_that_diverges_stops_and_saves_nothing_of_it(tmp_path, fields, rate):
    changes = {
        **fields,
        "optimizer.name": "sgd",
        "optimizer.learning_rate": rate,
        "schedule.name": "steps",
        # One step with a rate of nearly nothing, then the full one.
        "schedule.warmup_epochs": 1.0,
        "checkpoint.every_steps": 1,
        "epochs": 3,
    }
    with pytest.raises(DivergedError) as error:
        train(trainings.settings(changes), tmp_path)
    told = str(error.value)
    step, saved, _ = trainings.last_checkpoint(tmp_path)
    assert f"the last good checkpoint is of step {step}" in told
    assert "learning rate" in told
    assert told.startswith("step ")
    assert all(np.isfinite(array).all() for array in saved.arrays.values())


def test_a_batch_that_does_not_fit_the_devices(tmp_path, fields):
    with pytest.raises(InputError, match=r"a multiple of the 4 devices \(of 1 processes\), got 6"):
        train(trainings.settings({**fields, "batch.size": 6}), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("goat", "attack", "left", "stops"),
    [
        ({}, "worst-quick", (0.2, 0.3, 0.14), True),
        ({}, "worst-quick", (0.2, 0.3, 0.16), False),
        # Never robust: nothing collapsed.
        ({}, "worst-quick", (0.02, 0.04, 0.0), False),
        ({"goat.steps": 2}, "worst-quick", (0.2, 0.3, 0.14), False),
        ({}, "", (0.2, 0.3, 0.14), False),
        # Not of one image: what is left may fall while it resists what it is trained with.
        ({"goat.objective": "universal"}, "worst-quick", (0.2, 0.3, 0.14), False),
    ],
)
def test_one_step_training_stops_where_its_robustness_collapses(
    tmp_path, fields, monkeypatch, goat, attack, left, stops
):
    planned = iter(left)

    def judged(self, model, **options):
        value = next(planned)
        return {
            "mean_average_precision": value,
            "rank1": 0.5,
            "attacked_mean_average_precision": value,
        }

    monkeypatch.setattr(Validation, "__call__", judged)
    changes = {
        **fields,
        "epochs": 3,
        "goat.enabled": True,
        "goat.steps": 1,
        **goat,
        "evaluation.every_epochs": 1,
        "evaluation.attack": attack,
    }
    if not stops:
        assert train(trainings.settings(changes), tmp_path).best == max(left)
        return
    with pytest.raises(CollapsedError) as error:
        train(trainings.settings(changes), tmp_path)
    told = str(error.value)
    assert told.startswith("step 30: mAP under worst-quick is 14.0 %, at step 20 it was 30.0 %")
    assert "Raise goat.steps" in told
    assert (tmp_path / "best.safetensors").is_file()
    assert len(trainings.lines(tmp_path, "evaluation")) == 3
