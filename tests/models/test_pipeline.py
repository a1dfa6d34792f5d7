"""What surrounds a network is checked, stored with it, and changed only by whoever says so."""

import dataclasses
import json

import pytest
from flax import nnx
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from jaxreid import models
from jaxreid.errors import InputError
from jaxreid.models import Pipeline, weights

RESNET = models.ResNetConfig(depths=(1,), widths=(4,), stem_width=4)
SAID = Pipeline(
    filter="opencv-bicubic",
    distance="cosine",
    unit_length=True,
    flip=True,
    first_camera=1,
    source="a test",
)


def build(**options):
    options = {"head": "classification", "classes": 5, **options}
    return models.create(RESNET, rngs=nnx.Rngs(0), **options)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("filter", "area"),
        ("distance", "manhattan"),
        ("unit_length", 1),
        ("flip", "yes"),
        ("first_camera", 2),
        ("first_camera", True),
        ("views", 0),
        ("views", True),
        ("views", 1.5),
        ("source", None),
    ],
)
def test_values_that_are_none_of_it_are_named(field, value):
    with pytest.raises(InputError, match=rf"^pipeline\.{field}: expected .*, got {value!r}$"):
        Pipeline(**{field: value})


def test_it_goes_with_the_weights(tmp_path):
    path = tmp_path / "x.safetensors"
    model = build(
        pipeline=SAID, colours="BGR", crop=(24, 12), resize=(32, 16), neck_feature="before"
    )
    weights.save(model, path)
    assert weights.load(path).config == model.config
    weights.convert(path, tmp_path / "y.safetensors")
    assert weights.load(tmp_path / "y.safetensors").config == model.config


def test_files_of_before_have_none(tmp_path):
    path = tmp_path / "x.safetensors"
    model = build()
    weights.save(model, path)
    with safe_open(path, framework="np") as file:
        header = json.loads(file.metadata()["jaxreid"])
    for field in ("pipeline", "colours", "crop", "neck_feature", "checksum"):
        del header[field]
    save_file(load_file(path), path, metadata={"jaxreid": json.dumps({**header, "format": 1})})
    config = weights.load(path).config
    assert (config.pipeline, config.colours, config.crop) == (None, "RGB", None)
    assert config.neck_feature == "after"


def test_a_forged_one_is_refused(tmp_path):
    path = tmp_path / "x.safetensors"
    weights.save(build(pipeline=SAID), path)
    with safe_open(path, framework="np") as file:
        header = json.loads(file.metadata()["jaxreid"])
    tensors = load_file(path)
    for pipeline, said in (
        ({"filter": "area"}, r"pipeline\.filter: expected one of bicubic"),
        ({"kernel": "bicubic"}, "does not describe a network"),
        ([], "does not describe a network"),
    ):
        forged = json.dumps({**header, "pipeline": pipeline, "format": 1})
        save_file(tensors, path, metadata={"jaxreid": forged})
        with pytest.raises(InputError, match=said):
            weights.load(path)


def test_whoever_converts_may_change_it_and_is_named(tmp_path):
    path, target = tmp_path / "x.safetensors", tmp_path / "y.safetensors"
    weights.save(build(pipeline=SAID), path)
    choices = {"distance": "euclidean", "flip": False, "colours": "BGR", "neck_feature": "before"}
    config = weights.convert(path, target, training_size=(32, 16), crop=(30, 14), **choices).config
    names = "training_size, crop, colours, neck_feature, distance, flip"
    source = f"a test; {names} as told to jaxreid"
    told = dataclasses.replace(SAID, distance="euclidean", flip=False, source=source)
    assert config.pipeline == told
    assert (config.colours, config.crop, config.neck_feature) == ("BGR", (30, 14), "before")
    # The features of the new file are those that were asked for.
    assert weights.load(target).head.before
    # Saying what is so already changes nothing.
    same = {"distance": "cosine", "colours": "RGB", "mean": (0.485, 0.456, 0.406)}
    assert weights.convert(path, target, **same).config.pipeline == SAID
    # Said twice, at two times, each is named once.
    again = tmp_path / "z.safetensors"
    weights.convert(path, target, colours="BGR", mean=(0.4, 0.4, 0.4))
    config = weights.convert(target, again, std=(0.2, 0.2, 0.2), colours="RGB").config
    assert config.pipeline.source == "a test; colours, mean, std as told to jaxreid"
    weights.save(build(), path)
    assert weights.convert(path, target).config.pipeline is None
    # Where no library says anything, nothing is said to be a library's.
    assert weights.convert(path, target, colours="BGR").config.pipeline is None
    own = weights.convert(path, target, unit_length=True, first_camera=1).config.pipeline
    said = "unit_length, first_camera as told to jaxreid"
    assert own == Pipeline(unit_length=True, first_camera=1, source=said)


@pytest.mark.parametrize(
    ("options", "choices", "message"),
    [
        ({"head": "triplet"}, {"neck_feature": "before"}, "this head is 'triplet'"),
        ({}, {"training_size": (32, 16), "crop": (33, 16)}, "cannot be cut out of images of"),
        ({}, {"filter": "area"}, r"pipeline\.filter: expected one of"),
    ],
)
def test_choices_that_do_not_fit_are_named(tmp_path, options, choices, message):
    path = tmp_path / "x.safetensors"
    weights.save(build(**options), path)
    with pytest.raises(InputError, match=message):
        weights.convert(path, tmp_path / "y.safetensors", **choices)
    assert not (tmp_path / "y.safetensors").exists()
