"""Every preset loads, is what it was, and its header's commands would run."""

import ast
import json
import re
import shlex
from pathlib import Path

import pytest

from jaxreid.cli.configuration import load, preset_folder
from jaxreid.data.catalogue import DATASETS
from jaxreid.errors import InputError
from jaxreid.training.config import TrainConfig
from jaxreid.training.fields import differences, fields_of

NAMES = sorted(path.stem for path in preset_folder().glob("*.py"))
# What each file of version 0.1 held: all fields of `default`, and where the others differ from it.
OLD = json.loads((Path(__file__).parent / "golden" / "presets.json").read_text(encoding="utf-8"))
# Fields that came later, which leave what was there as it was.
LATER = {
    "goat.pull_from": "furthest",
    "goat.objective": "guides",
    "goat.mining": "softhard",
    "goat.destination": "gradual",
    "goat.sharpness": 10.0,
    "loss.triplet_weight": 0.0,
    "loss.precision_weight": 0.0,
    **{name: field.default for name, field in fields_of(TrainConfig).items() if "defense." in name},
}


def flat(fields, prefix=""):
    for name, value in fields.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def test_there_is_one_file_per_dataset():
    assert NAMES == ["dukemtmc_reid", "market1501", "msmt17", "synthetic"]
    assert len(OLD) == 43


@pytest.mark.parametrize("name", OLD)
def test_a_preset_of_old_says_how_it_is_written_now_and_is_the_same(name):
    spelled = name
    if name not in NAMES:
        with pytest.raises(InputError, match=f"no preset {name}; write ") as refused:
            load(name, [])
        spelled = re.search(r"; write (\S+) \(", str(refused.value))[1]
    assert dict(flat(load(spelled, []).as_json())) == {
        **OLD["default"],
        **OLD[name],
        **LATER,
    }


@pytest.mark.parametrize("name", NAMES)
def test_its_header_is_commands_that_would_run(name):
    text = (preset_folder() / f"{name}.py").read_text(encoding="utf-8")
    header = ast.get_docstring(ast.parse(text))
    lines = re.findall(r"^    (jaxreid .*)$", header.replace("\\\n", " "), re.MULTILINE)
    commands = [shlex.split(line)[1:] for line in lines]
    trained = [load(words[2], words[5:]) for words in commands if words[0] == "train"]
    prepared = next(words[2] for words in commands if words[:2] == ["data", "prepare"])
    assert [config.goat.enabled for config in trained] == [False, True]
    assert {config.dataset.name for config in trained} == {prepared}
    assert prepared in DATASETS
    for word in re.findall(r"^    ((?:head|goat|dtype)=\w+) ", header, re.MULTILINE):
        assert load(f"{name}:{word}", []) != load(name, [])


@pytest.mark.parametrize("words", ["goat=sma", "goat=fna", "head=triplet,goat=fna"])
def test_where_the_reference_differs(words):
    ours, reference = (load(f"msmt17:{words}{more}", []) for more in ("", ",reference"))
    lines = differences(ours.as_json(), reference.as_json())
    assert {line.partition(":")[0] for line in lines} == {
        "dataset.split",
        "evaluation.every_epochs",
        "goat.batch_norm",
        "goat.eps_unit",
        "goat.pad_with_self",
    }
