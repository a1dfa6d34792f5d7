"""A run goes on under a configuration that would have led to the same, and under no other."""

from pathlib import Path

import pytest
from ml_collections import ConfigDict

from jaxreid.errors import InputError
from jaxreid.training.agreement import as_json, check_agreement, differences

BEFORE = {"epochs": 12, "dataset": {"size": [64, 32], "workers": 0}, "goat": {"enabled": False}}
NOW = {"epochs": 20, "dataset": {"size": [64, 32], "workers": 4}, "goat": {"enabled": True}}


def test_differences_are_listed_by_field():
    assert differences(BEFORE, BEFORE) == []
    assert differences(BEFORE, NOW) == [
        "dataset.workers: was 0, is 4",
        "epochs: was 12, is 20",
        "goat.enabled: was False, is True",
    ]
    assert differences({"x": 1}, {"y": {"z": 2}}) == [
        "x: was 1, is 'missing'",
        "y.z: was 'missing', is 2",
    ]


def test_a_configuration_equals_what_comes_back_from_json():
    config = ConfigDict({"epochs": 12, "dataset": {"size": (64, 32)}})
    assert differences(as_json(config), {"epochs": 12, "dataset": {"size": [64, 32]}}) == []


def test_only_fields_that_change_what_comes_out_are_refused():
    check_agreement(BEFORE, BEFORE | {"dataset": NOW["dataset"]}, where=Path("work"))
    with pytest.raises(InputError) as error:
        check_agreement(BEFORE, NOW, where=Path("work"))
    assert str(error.value) == (
        "work holds a run of another configuration (epochs: was 12, is 20; "
        "goat.enabled: was False, is True); restore these fields to go on with it, or name another "
        "work directory"
    )
