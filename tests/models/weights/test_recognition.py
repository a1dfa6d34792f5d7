"""Files of ours know when they are damaged, and for what size they were trained."""

import json

import numpy as np
import pytest
from networks import drawn
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from jaxreid import models
from jaxreid.errors import InputError
from jaxreid.models import weights
from jaxreid.models.weights import storage
from jaxreid.models.weights.recognition import resample_positions

RESNET = models.ResNetConfig(depths=(1,), widths=(4,), stem_width=4)
VIT = models.ViTConfig(width=64, depth=1, heads=1, patch=8, image_size=(32, 16))


def build(backbone=RESNET, head="linear", **options):
    return drawn(backbone, head=head, classes=5, **options)


@pytest.fixture
def saved(tmp_path):
    weights.save(build(), tmp_path / "x.safetensors", training_size=(64, 32))
    return tmp_path / "x.safetensors"


def header_of(path):
    with safe_open(path, framework="np") as file:
        return json.loads(file.metadata()["jaxreid"])


def test_zeroed_bytes_are_noticed_wherever_they_are(saved, kind):
    whole = saved.read_bytes()
    length = int.from_bytes(whole[:8], "little")
    tried = 0
    for at in range(8 + length, len(whole) - 8, 331):
        if whole[at : at + 8] == bytes(8):
            continue
        saved.write_bytes(whole[:at] + bytes(8) + whole[at + 8 :])
        with pytest.raises(
            InputError, match=r"x\.safetensors: .*does not match its checksum"
        ) as said:
            weights.load(saved)
        tried += 1
    assert tried > 5
    message = str(said.value).replace(f"{saved.parent}/", "")
    kind("zeroed bytes in a .safetensors", f"exit 2: {message}")
    with pytest.raises(InputError, match="does not match its checksum"):
        weights.convert(saved, saved.with_name("y.safetensors"))
    assert not saved.with_name("y.safetensors").exists()


def test_a_changed_word_of_the_header_is_noticed(saved):
    whole = saved.read_bytes()
    for old, new in ((b'last_stride\\": 2', b'last_stride\\": 1'), (b"0.485", b"0.486")):
        assert whole.count(old) == 1
        saved.write_bytes(whole.replace(old, new))
        with pytest.raises(InputError, match="does not match its checksum"):
            weights.load(saved)
    # A layout that is named does not make the file whole.
    with pytest.raises(InputError, match="does not match its checksum"):
        weights.load(saved, layout="torchvision")


def test_tensors_under_each_others_names_are_noticed(saved):
    tensors = load_file(saved)
    one, other = "bn1.weight", "bn1.bias"
    tensors[one], tensors[other] = tensors[other], tensors[one]
    save_file(tensors, saved, {"jaxreid": json.dumps(header_of(saved))})
    with pytest.raises(InputError, match="does not match its checksum"):
        weights.load(saved)


def test_files_of_old_have_no_checksum_and_are_read(saved):
    header = header_of(saved)
    del header["checksum"], header["training_size"], header["backbone"]["stem_relu"]
    tensors = load_file(saved)
    storage.write(saved, tensors, {"jaxreid": json.dumps({**header, "format": 1})})
    assert weights.load(saved).config == build().config
    storage.write(saved, tensors, {"jaxreid": json.dumps(header)})
    with pytest.raises(InputError, match="lost its checksum"):
        weights.load(saved)
    storage.write(saved, tensors, {"jaxreid": json.dumps({**header, "format": 3})})
    with pytest.raises(InputError, match="has format 3"):
        weights.load(saved)


def test_the_training_size_goes_with_the_weights(saved, tmp_path):
    model = weights.load(saved)
    assert model.config.training_size == model.config.size == (64, 32)
    weights.save(model, tmp_path / "again.safetensors")
    assert weights.load(tmp_path / "again.safetensors").config.size == (64, 32)
    done = weights.convert(saved, tmp_path / "y.safetensors", target_layout="torchreid")
    assert done.config.size == weights.load(tmp_path / "y.safetensors").config.size == (64, 32)
    weights.convert(saved, tmp_path / "z.safetensors", training_size=(256, 128))
    assert weights.load(tmp_path / "z.safetensors").config.size == (256, 128)
    assert build().config.size is None
    # What is computed does not depend on it.
    x = np.full((1, 32, 16, 3), 0.5, np.float32)
    np.testing.assert_array_equal(model(x).features, build()(x).features)


def test_a_transformers_size_is_that_of_its_images_unless_it_resizes():
    tensors = weights.to_state_dict(build(VIT, "none"))
    plain = {"image_size": (32, 16)}
    assert weights.from_state_dict(tensors, **plain).config.size == (32, 16)
    resizing = {**plain, "resize": (32, 16), "training_size": (256, 128)}
    assert weights.from_state_dict(tensors, **resizing).config.size == (256, 128)
    with pytest.raises(InputError, match="64x32: this network takes images of 32x16 only"):
        weights.from_state_dict(tensors, **plain, training_size=(64, 32))


@pytest.mark.parametrize("size", [(0, 1), (1,), (1.5, 2), ("a", "b"), (1 << 20, 1), (True, 1)])
def test_sizes_that_are_none_are_refused(size):
    with pytest.raises(InputError, match=r"training_size must be \(height, width\)"):
        models.ModelConfig(RESNET, classes=5, training_size=size)


@pytest.mark.torch
def test_resampled_positions_are_timms():
    import torch

    embeddings = np.random.default_rng(0).normal(size=(1, 1 + 14 * 14, 8)).astype(np.float32)
    grid = torch.from_numpy(embeddings[:, 1:]).view(1, 14, 14, 8).permute(0, 3, 1, 2)
    expected = torch.nn.functional.interpolate(
        grid, size=(16, 8), mode="bicubic", antialias=True, align_corners=False
    )
    got = resample_positions(embeddings, (14, 14), (16, 8))
    expected = expected.permute(0, 2, 3, 1).reshape(1, 128, 8)
    np.testing.assert_allclose(got[:, 1:], expected, atol=1e-5)


def test_a_file_of_ours_has_no_networks_to_choose_from(saved):
    with pytest.raises(InputError, match=r"network 'teacher': a file of jaxreid holds one"):
        weights.load(saved, network="teacher")


FAMILIES = {
    "torchreid": (RESNET, {"head": "linear"}),
    "torchvision": (RESNET, {"head": "linear"}),
    "timm": (VIT, {"head": "linear"}),
    "adv-reid": (RESNET, {"head": "classification"}),
    "strong-baseline": (
        models.ResNetConfig(depths=(1, 1), widths=(4, 8), last_stride=1, stem_relu=False),
        {"head": "classification"},
    ),
    "transreid": (VIT, {"head": "none"}),
}


def tensors_of(family):
    shape, options = FAMILIES[family]
    return weights.to_state_dict(build(shape, **options), layout=family)


@pytest.mark.parametrize("forced", ["solider", "fast-reid-v0.1", "fast-reid-mgn", "clip-reid"])
@pytest.mark.parametrize("family", FAMILIES)
def test_another_family_that_is_named_is_refused_for_that_alone(tmp_path, family, forced):
    """Each family's names are its own project's: what else is said of a file must be true of it."""
    save_file(tensors_of(family), tmp_path / "x.safetensors")
    expected = (
        f"the names are not those of {forced}; the file has the names of {family}: leave --from "
        f"out, or give --from {family}"
    )
    with pytest.raises(InputError) as refused:
        weights.load(tmp_path / "x.safetensors", layout=forced)
    assert str(refused.value) == f"{tmp_path / 'x.safetensors'}: {expected}"
    assert weights.inspect(tmp_path / "x.safetensors", layout=forced).problems == (expected,)


@pytest.mark.parametrize(
    ("forced", "message"),
    [
        ("solider", "no name is one of a Swin transformer.*the first is 'body.conv1.weight'"),
        ("fast-reid-v0.1", "neither pixel_mean nor a name that begins with heads.bnneck"),
        ("fast-reid-mgn", "no name is one of fast-reid's MGN"),
    ],
)
def test_nobodys_names_are_not_said_to_be_a_familys(forced, message):
    tensors = {"body.conv1.weight": np.zeros((4, 3, 5, 5), np.float32)}
    with pytest.raises(InputError, match=message):
        weights.from_state_dict({**tensors, "neck.weight": np.zeros(4, np.float32)}, layout=forced)


@pytest.mark.parametrize("forced", ["torchvision", "timm"])
def test_torchreids_names_that_are_read_as_anothers_are_noted(tmp_path, forced):
    save_file(tensors_of("torchreid"), tmp_path / "x.safetensors")
    found = weights.inspect(tmp_path / "x.safetensors", layout=forced)
    left = {one.name: one.reason for one in found.ignored}
    assert "--from torchreid keeps" in left["classifier.weight"]
    assert "--from torchreid keeps" in left["classifier.bias"]


def test_a_familys_own_question_is_asked_where_names_tell_no_family():
    """torchreid's ResNets with IBN and without a classifier are named as torchvision's."""
    shape = models.ResNetConfig(depths=(1, 1), widths=(4, 8), ibn=True)
    tensors = weights.to_state_dict(build(shape, head="none"), layout="torchvision")
    with pytest.raises(InputError, match=r"a ResNet with IBN.*give --last-stride"):
        weights.from_state_dict(tensors, layout="torchreid")
    model = weights.from_state_dict(tensors, layout="torchreid", last_stride=1)
    assert model.config.backbone.last_stride == 1


def test_inspection_says_whose_names_a_file_has_that_is_taken_for_anothers(tmp_path):
    shape = models.ResNetConfig(depths=(1, 1), widths=(4, 8))
    model = build(shape, head="embedding", dimensions=6)
    weights.save(model, tmp_path / "x.safetensors", layout="torchreid")
    found = weights.inspect(tmp_path / "x.safetensors", layout="torchvision")
    assert found.problems[-1].endswith(
        "the file has the names of torchreid: leave --from out, or give --from torchreid"
    )
