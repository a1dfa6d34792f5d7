"""Whether there is anything to validate on: said at the start, not shown as a figure of 0."""

from types import SimpleNamespace

import numpy as np
import pytest
import trainings

from jaxreid.data.prepare import prepare_dataset
from jaxreid.data.source import InMemorySplit
from jaxreid.training import validation
from jaxreid.training.trainer import train
from jaxreid.training.validation import validation_of


def warned(config):
    said = []
    found = validation_of(config, said.append)
    return found, said


@pytest.fixture(scope="module")
def one_camera(tmp_path_factory, encoded):
    """A prepared dataset of six people, all of whose images are from one camera."""
    root = tmp_path_factory.mktemp("one")
    for folder, people in (
        ("bounding_box_train", range(1, 7)),
        ("query", range(7, 9)),
        ("bounding_box_test", range(7, 9)),
    ):
        (root / folder).mkdir()
        for person in people:
            for shot in range(2):
                name = f"{person:04d}_c1s1_{10 * person + shot:06d}_00.jpg"
                (root / folder / name).write_bytes(encoded(1000 * len(folder) + person * 10 + shot))
    data = tmp_path_factory.mktemp("data")
    prepare_dataset("reid_folder/one", manual_dir=root, data_dir=data)
    return data


@pytest.mark.slow
def test_one_camera_trains_to_the_end_and_chooses_nothing(one_camera, tmp_path, kind):
    changes = {
        "dataset.name": "reid_folder/one",
        "dataset.data_dir": one_camera,
        "evaluation.every_epochs": 1,
        "batch.size": 4,
    }
    said = []
    outcome = train(trainings.settings(changes), tmp_path, say=said.append)
    assert outcome.finished
    assert outcome.best is None
    assert not (tmp_path / "best.safetensors").exists()
    assert (tmp_path / "last.safetensors").is_file()
    assert trainings.lines(tmp_path, "evaluation") == []
    (warning,) = [line for line in said if line.startswith("warning: ")]
    assert "there is nothing to validate on, the last weights are the result" in warning
    kind("train, all images from one camera", f"goes on; {warning}")


def test_people_of_one_camera_are_none_to_validate_on(tiny_data, monkeypatch):
    config = trainings.settings({"dataset.data_dir": tiny_data, "evaluation.every_epochs": 1})
    assert warned(config)[0] is not None
    assert warned(config)[1] == []
    split = InMemorySplit([b"", b""], np.array([1, 2]), np.array([0, 0]))
    monkeypatch.setattr(validation, "open_split", lambda *args, **options: split)
    found, said = warned(config)
    assert found is None
    assert said == [
        "warning: no validation query has a match that another camera took: there is nothing to "
        "validate on, the last weights are the result"
    ]


@pytest.mark.parametrize(("every", "split", "lines"), [(1, "train_all", 1), (0, "train", 0)])
def test_a_run_without_validation_people_warns_unless_it_asks_for_none(
    tiny_data, every, split, lines
):
    changes = {"dataset.data_dir": tiny_data, "dataset.split": split}
    config = trainings.settings({**changes, "evaluation.every_epochs": every})
    found, said = warned(config)
    assert found is None
    assert len(said) == lines
    assert all("train_all trains on all people" in line for line in said)


@pytest.mark.parametrize(
    ("attack", "named"), [("noise", "noise"), ("worst-quick", "worst-1-quick")]
)
def test_attack_and_budget_are_what_was_asked_for(tiny_data, monkeypatch, attack, named):
    changes = {
        "dataset.data_dir": tiny_data,
        "evaluation.every_epochs": 1,
        "evaluation.attack": attack,
        "evaluation.attack_eps": "0.5/255",
    }
    found, _ = warned(trainings.settings(changes))
    asked = []
    monkeypatch.setattr(validation, "robustness", lambda test, wanted, **o: asked.extend(wanted))
    monkeypatch.setattr(validation, "embedding", lambda *args, **options: _Frozen())
    with pytest.raises(TypeError):
        found(SimpleNamespace(config=SimpleNamespace(pipeline=None)))
    assert [(one.attack, one.eps) for one in asked] == [("clean", 0), (named, 0.5)]


class _Frozen:
    def frozen(self):
        return None
