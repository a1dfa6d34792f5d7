"""`jaxreid inspect`: what a file holds is told, whatever is wrong with it."""

import dataclasses
import hashlib
import json

import numpy as np
import pytest
from commands import run
from flax import nnx
from networks import drawn
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from jaxreid import models
from jaxreid.errors import InputError
from jaxreid.models import Pipeline, weights

RESNET = models.ResNetConfig(depths=(1,), widths=(4,), stem_width=4)
BASELINE = models.ResNetConfig(depths=(1,), widths=(4,), stem_width=4, last_stride=1)
# As TransReID's: width of a head 64, position embeddings of 4x2 patches and the class token.
VIT = models.ViTConfig(
    width=64, depth=1, heads=1, patch=16, image_size=(64, 32), cameras=3, sie_factor=3.0
)


def build(backbone=RESNET, **options):
    options = {"head": "classification", "classes": 5, **options}
    return drawn(backbone, **options)


@pytest.fixture
def own(tmp_path):
    """A file of ours, with a pipeline."""
    path = tmp_path / "own.safetensors"
    said = Pipeline(filter="bicubic", distance="cosine", source="a test")
    weights.save(build(pipeline=said), path, training_size=(64, 32))
    return path


def card(capsys, *words):
    """label -> text, of a file that can be read; no line is wider than a terminal."""
    code, out, err = run(capsys, "inspect", *words)
    assert (code, err) == (0, "")
    found, label = {}, ""
    for line in out.splitlines():
        # A word may be longer than a line, such as a path.
        assert len(line) <= 80 or " " not in line[12:]
        label = line[:12].strip() or label
        found[label] = f"{found[label]} {line[12:]}" if label in found else line[12:]
    return found


def test_a_file_of_ours(capsys, own):
    found = card(capsys, own)
    assert found["sha256"] == hashlib.sha256(own.read_bytes()).hexdigest()
    assert found["checksum"].startswith("right")
    assert found["library"] == "adv-reid, by the file's header"
    assert found["network"].endswith("a ResNet; head classification (5 classes)")
    assert found["size"] == "64x32, resized by PIL's bicubic kernel"
    assert found["compared"] == "by cosine distance; no mirror image"
    assert found["said by"] == "a test"
    assert found["convert"] == "takes it as it is"
    # Stem 7x7x3x4, block 4x4, 3x3x4x4, 4x16 and its shortcut 4x16, classifier 16x5 and its bias;
    # scale and shift of BatchNorms of 4, 4, 4, 16, 16 and 16 channels, which have as many
    # statistics.
    norms = 2 * (3 * 4 + 3 * 16)
    learnt = 7 * 7 * 3 * 4 + 16 + 9 * 16 + 2 * 64 + 80 + 5 + norms
    assert found["parameters"] == f"{learnt:,}, and {norms:,} statistics"


def test_json_has_all_of_it(capsys, own):
    code, out, _ = run(capsys, "inspect", own, "--json")
    found = json.loads(out)
    assert code == 0
    assert found["checksum"] == "right"
    assert found["config"]["pipeline"]["filter"] == "bicubic"
    assert found["config"]["training_size"] == [64, 32]
    assert found["architecture"] == "custom"
    assert found["problems"] == found["asked"] == []
    assert set(found["ignored"].values()) == {"counter of training batches"}


def test_damage_is_told_and_the_network_shown(capsys, own):
    whole = bytearray(own.read_bytes())
    whole[-50:-42] = bytes(8)
    own.write_bytes(whole)
    found = card(capsys, own)
    assert found["checksum"].startswith("wrong")
    assert "does not match its checksum" in found["refused"]
    assert found["size"].startswith("64x32")
    assert "convert" not in found
    code, _, err = run(capsys, "convert", own, own.with_name("y.safetensors"))
    assert code == 2
    assert "does not match its checksum" in err


def test_values_that_are_none_are_told(capsys, tmp_path):
    tensors = weights.to_state_dict(build())
    broken, negative = (f"backbone.{name}" for name in ("conv1.weight", "bn1.running_var"))
    tensors = {**tensors, **{name: tensors[name].copy() for name in (broken, negative)}}
    tensors[broken][0, 0, 0, :2] = np.nan, np.inf
    tensors[negative][:3] = -1
    save_file(tensors, tmp_path / "x.safetensors")
    found = card(capsys, tmp_path / "x.safetensors")
    assert found["checksum"].startswith("none")
    assert "backbone.conv1.weight: 2 of 588 values are NaN or infinite" in found["refused"]
    assert "backbone.bn1.running_var: 3 of 4 variances are negative" in found["refused"]
    assert found["library"] == "adv-reid, by its tensors"


def test_what_is_missing_or_left_over_is_told(capsys, tmp_path):
    tensors = weights.to_state_dict(build())
    del tensors["backbone.layer1.0.bn1.weight"]
    tensors["backbone.layer1.0.gate.weight"] = np.zeros((4, 4), np.float32)
    tensors["backbone.layer1.0.conv1.weight"] = np.zeros((4, 8, 1, 1), np.float32)
    save_file(
        {f"module.{name}": value for name, value in tensors.items()}, tmp_path / "x.safetensors"
    )
    found = card(capsys, tmp_path / "x.safetensors")
    assert found["taken off"] == "module."
    for text in (
        "1 missing: backbone.layer1.0.bn1.weight",
        "1 left over: backbone.layer1.0.gate.weight",
        "layer1.0.conv1.weight has shape (4, 8, 1, 1), expected (4, 4, 1, 1)",
    ):
        assert text in found["refused"]


def test_what_convert_asks_for_is_told_with_all_that_is_known(capsys, tmp_path):
    path = tmp_path / "x.safetensors"
    save_file(weights.to_state_dict(build(BASELINE), layout="strong-baseline"), path)
    found = card(capsys, path)
    assert "--from strong-baseline reads the original" in found["asked"]
    assert found["library"].startswith("strong-baseline")
    assert found["feature"] == "16 numbers after the neck's BatchNorm, made unit length"
    assert found["size"] == "256x128, resized by PIL's bilinear kernel"
    found = card(capsys, path, "--from", "strong-baseline")
    assert found["library"] == "strong-baseline, as you say"
    assert found["convert"] == "takes it as it is"


@pytest.mark.parametrize(
    ("changes", "layout", "asks", "shown"),
    [
        (
            # The last stage has no IBN.
            {"ibn": True, "depths": (1, 1), "widths": (4, 4)},
            "strong-baseline",
            ("--from strong-baseline", "give --stem-relu"),
            "stem-relu",
        ),
        ({"non_local": (1,)}, "adv-reid", ("--pooling gem or",), "pooling gem"),
    ],
)
def test_every_question_is_told_once(capsys, tmp_path, changes, layout, asks, shown):
    path = tmp_path / "x.safetensors"
    model = build(dataclasses.replace(BASELINE, **changes))
    save_file(weights.to_state_dict(model, layout=layout), path)
    found = card(capsys, path)
    for question in asks:
        assert found["asked"].count(question) == 1
    assert found["asked"].endswith(f"(shown: as with --{shown})")
    assert found["library"].startswith(layout)
    assert "refused" not in found


def test_a_camera_embedding_without_its_factor(capsys, tmp_path):
    path = tmp_path / "x.safetensors"
    config = models.ModelConfig(VIT, classes=5, classifier_bias=False, neck_feature="before")
    model = models.ReID(config, rngs=nnx.Rngs(0))
    save_file(weights.to_state_dict(model, layout="transreid"), path)
    size = ("--image-size", "64x32", "--stride", "16")
    found = card(capsys, path, *size)
    assert "--sie-factor 3" in found["asked"]
    assert found["cameras"] == "3, an input beside the image, counted from 0"
    assert "shown: as with --sie-factor 1" in found["asked"]
    found = card(capsys, path, *size, "--sie-factor", "3")
    assert found["convert"] == "takes it as it is"


def test_a_file_of_nobodys_is_told_as_far_as_it_goes(capsys, tmp_path):
    path = tmp_path / "x.safetensors"
    save_file({"encoder.weight": np.zeros((3, 4), np.float16)}, path)
    code, out, err = run(capsys, "inspect", path)
    assert code == 2
    assert "1 (1 float16)" in out
    assert hashlib.sha256(path.read_bytes()).hexdigest() in out
    assert err.startswith(f"jaxreid: {path}: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        (b"", "the file is empty"),
        (b"weights", "neither a .safetensors"),
        (b"PK\5\6" + bytes(18), "a zip archive without any file; expected one of PyTorch's"),
    ],
)
def test_what_is_no_checkpoint_is_one_line(capsys, tmp_path, content, message):
    path = tmp_path / "x.safetensors"
    if content is not None:
        path.write_bytes(content)
    code, out, err = run(capsys, "inspect", path)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_a_forged_header_is_told(capsys, own):
    with safe_open(own, framework="np") as file:
        header = json.loads(file.metadata()["jaxreid"])
    forged = json.dumps({**header, "head": "cosface"})
    save_file(load_file(own), own, metadata={"jaxreid": forged})
    code, out, err = run(capsys, "inspect", own)
    assert code == 2
    assert "sha256" in out
    assert "head: expected one of" in err


@pytest.mark.parametrize("dtype", ["float32", None])
def test_what_is_said_of_float64_holds_of_what_convert_writes(capsys, tmp_path, dtype):
    """The file keeps its bits; whoever is told to cast gets one that loads."""
    model = drawn(RESNET, head="linear", classes=5)
    tensors = weights.to_state_dict(model)
    # As PyTorch's `double()`, which leaves counters alone.
    wide = {n: v.astype(np.float64) if v.dtype == np.float32 else v for n, v in tensors.items()}
    save_file(wide, tmp_path / "wide.safetensors")
    words = "its float64 is kept, and evaluate, attack and train need convert --dtype float32"
    code, out, err = run(capsys, "inspect", str(tmp_path / "wide.safetensors"))
    assert (code, err) == (0, "")
    assert f"takes it as it is; {words}" in " ".join(out.split())
    target = tmp_path / "x.safetensors"
    options = [] if dtype is None else ["--dtype", dtype]
    code, out, _ = run(capsys, "convert", str(tmp_path / "wide.safetensors"), str(target), *options)
    assert code == 0
    assert (f"note: {words}" in " ".join(out.split())) == (dtype is None)
    if dtype is None:
        np.testing.assert_array_equal(load_file(target)["fc.weight"], wide["fc.weight"])
        with pytest.raises(InputError, match="float64: convert with --dtype float32"):
            weights.load(target)
    else:
        weights.load(target)
        code, out, _ = run(capsys, "inspect", str(target))
        assert "its float64" not in out
