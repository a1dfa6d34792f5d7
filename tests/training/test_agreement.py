"""Which fields may change between a run and its continuation."""

import json
from pathlib import Path

import pytest
import trainings

from jaxreid.errors import InputError
from jaxreid.training.agreement import as_json, check_agreement, differences


def test_differences_name_field_and_values():
    before = {"a": 1, "b": {"c": [1, 2], "gone": 3}}
    now = {"a": 2, "b": {"c": [1, 2], "new": 4}}
    assert differences(before, now) == [
        "a: was 1, is 2",
        "b.gone: was 3, is 'missing'",
        "b.new: was 'missing', is 4",
    ]


def test_a_configuration_agrees_with_itself_after_json():
    config = as_json(trainings.settings({}))
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
    before, now = as_json(trainings.settings({})), as_json(trainings.settings(change))
    assert differences(before, now) != []
    check_agreement(before, now, where=Path("work"))


def test_what_comes_of_it_may_not():
    before = as_json(trainings.settings({}))
    now = as_json(trainings.settings({"optimizer.learning_rate": 0.5, "goat.push": 4}))
    with pytest.raises(InputError) as error:
        check_agreement(before, now, where=Path("work"))
    assert "work holds a run of another configuration" in str(error.value)
    assert "goat.push: was 0, is 4" in str(error.value)
    assert "optimizer.learning_rate: was 0.003, is 0.5" in str(error.value)
