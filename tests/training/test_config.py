"""The declaration of a training's configuration: complete, checked, frozen, compared on resume."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
import trainings

from jaxreid.errors import InputError
from jaxreid.training.config import GoatConfig, TrainConfig
from jaxreid.training.fields import Levels, check_agreement, differences, fields_of, find_field

FIELDS = fields_of(TrainConfig)


@pytest.mark.parametrize("field", FIELDS.values(), ids=FIELDS)
def test_every_field_is_declared_whole(field):
    assert field.meaning.endswith(".")
    assert "|" not in field.meaning  # it stands in a table
    assert field.check(field.default) == field.default
    value = TrainConfig()
    for name in field.name.split("."):
        value = getattr(value, name)
    assert value == field.default


def test_a_configuration_is_frozen_and_copied_with_changes():
    config = TrainConfig()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.epochs = 3
    changed = config.replace({"epochs": 20, "goat.push": 4, "dataset.size": [256, 128]})
    assert (changed.epochs, changed.goat.push, changed.dataset.size) == (20, 4, (256, 128))
    assert config == TrainConfig()
    assert changed.goat == GoatConfig(push=4)
    assert len({config, changed, TrainConfig()}) == 2


def test_values_that_do_not_agree_are_refused_wherever_they_meet():
    # One after the other they would not pass.
    changes = {"model.head": "triplet", "loss.name": "triplet"}
    assert TrainConfig().replace(changes).loss.name == "triplet"
    with pytest.raises(InputError, match=r"needs model\.head classification"):
        TrainConfig().replace({"model.head": "triplet"})
    with pytest.raises(InputError, match=r"goat\.push must be a whole number, from 0 to 4096"):
        GoatConfig(push=-1)


def test_a_budget_below_a_grey_level_is_meant_once():
    with pytest.raises(InputError, match="1/255 of the pixel range"):
        GoatConfig(eps=5 / 255)
    small = GoatConfig(eps="0.5/255")
    assert dataclasses.replace(small, push=4).eps == 0.5
    assert GoatConfig(eps=Levels(0.5)) == small
    assert repr(small.eps) == "0.5"


def test_a_group_and_an_unknown_name_are_no_fields():
    with pytest.raises(InputError, match="goat is a group of fields"):
        find_field(TrainConfig, "goat")
    with pytest.raises(InputError, match=r"did you mean 'optimizer\.ema'\?"):
        TrainConfig().replace({"ema": 0.5})


def test_the_declaration_needs_no_jax():
    code = (
        "import sys, types; package = types.ModuleType('jaxreid.training')\n"
        "import jaxreid; package.__path__ = [jaxreid.__path__[0] + '/training']\n"
        "sys.modules['jaxreid.training'] = package\n"
        "import jaxreid.training.config; print('jax' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_differences_name_field_and_values():
    before = {"a": 1, "b": {"c": [1, 2], "gone": 3}}
    now = {"a": 2, "b": {"c": [1, 2], "new": 4}}
    assert differences(before, now) == [
        "a: was 1, is 2",
        "b.gone: was 3, is 'missing'",
        "b.new: was 'missing', is 4",
    ]


def test_a_configuration_agrees_with_itself_after_json():
    config = trainings.settings({}).as_json()
    assert differences(config, json.loads(json.dumps(config))) == []


@pytest.mark.parametrize(
    "change",
    [
        {"dataset.data_dir": "/elsewhere"},
        {"dataset.workers": 3},
        {"dataset.cache": False},
        {"checkpoint.every_steps": 5, "checkpoint.keep": 9},
        {"log_every_steps": 7},
        {"evaluation.batch_size": 3},
    ],
)
def test_how_a_run_is_done_may_change(change):
    before, now = trainings.settings({}).as_json(), trainings.settings(change)
    assert differences(before, now.as_json()) != []
    check_agreement(before, now, where=Path("work"))


def test_what_comes_of_it_may_not():
    before = trainings.settings({}).as_json()
    now = trainings.settings({"optimizer.learning_rate": 0.5, "goat.push": 4})
    with pytest.raises(InputError) as error:
        check_agreement(before, now, where=Path("work"))
    assert "work holds a run of another configuration" in str(error.value)
    assert "goat.push: was 0, is 4" in str(error.value)
    assert "optimizer.learning_rate: was 0.003, is 0.5" in str(error.value)


def test_a_run_of_before_a_field_goes_on_with_its_default():
    before = trainings.settings({}).as_json()
    del before["mixup"], before["goat"]["pull_from"], before["loss"]["triplet_weight"]
    check_agreement(before, trainings.settings({}), where=Path("work"))
    now = trainings.settings({"loss.triplet_weight": 0.5})
    with pytest.raises(InputError, match=r"\(loss.triplet_weight: was 0.0, is 0.5\)"):
        check_agreement(before, now, where=Path("work"))
    with pytest.raises(InputError, match=r"\(goat.gone: was 3, is 'missing'\)"):
        check_agreement({"goat": {"gone": 3}}, TrainConfig(), where=Path("work"))
