import dataclasses
import io
import json
import os
import pickle
import subprocess
import sys
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import weight_recipe
from flax import nnx
from networks import drawn
from safetensors.numpy import load_file, save_file

from jaxreid import models
from jaxreid.cli import main
from jaxreid.models import weights

SLOW = (pytest.mark.slow, pytest.mark.optimized)
RESNET = models.ResNetConfig(depths=(1,), widths=(4,), stem_width=4)


def run(capsys, *words):
    """Exit code, standard output and standard error of `jaxreid convert`; sentences in one line."""
    with pytest.raises(SystemExit) as stop:
        main(["convert", *map(str, words)])
    printed = capsys.readouterr()
    widest = max(printed.out.splitlines(), key=len, default="")
    # A path may be long.
    assert len(widest) <= 80 or "/" in widest, widest
    return stop.value.code, printed.out.replace("\n  ", " "), printed.err


def refused(capsys, tmp_path, *words):
    """The message of a command that must exit with 2 and leave the folder as it was."""
    before = sorted(os.listdir(tmp_path))
    code, _, message = run(capsys, *words)
    assert code == 2, message
    assert sorted(os.listdir(tmp_path)) == before
    assert message.startswith("jaxreid: ")
    assert message.count("\n") == 1
    return message


@pytest.fixture
def tiny(tmp_path):
    model = models.create(RESNET, head="linear", classes=5, rngs=nnx.Rngs(0))
    state = weights.to_state_dict(model)
    save_file(state, tmp_path / "tiny.safetensors")
    return tmp_path / "tiny.safetensors"


def relative(got, expected):
    got, expected = np.asarray(got, np.float64), np.asarray(expected, np.float64)
    return np.linalg.norm(got - expected) / np.linalg.norm(expected)


def check_golden(golden, head, path):
    numbers = np.load(golden / "resnet50.npz")
    model = weights.load(path)
    graph, state = nnx.split(model)
    x = jnp.asarray(numbers["images"], jnp.float32) / 255

    def loss(state, x):
        outputs = nnx.merge(graph, state, copy=True)(x)
        # The gradient was taken of the first image alone; rows are independent.
        return jnp.sum((outputs.features[0] - 1) ** 2), outputs

    gradient, outputs = jax.jit(jax.grad(loss, 1, has_aux=True))(state, x)
    assert relative(outputs.features, numbers[f"{head}_features"]) < 1e-4
    # The chain rule through (x - mean) / std: the numbers are of the normalised input.
    gradient = gradient[:1] * jnp.asarray(model.config.std)
    # Those numbers are of float32: the gradient in float64 is 1.0e-3 away from them, and ours in
    # float32 as far again, by how the processor rounds.
    assert relative(gradient, numbers[f"{head}_input_gradient"]) < 3e-3
    if head == "classification":
        assert relative(outputs.logits, numbers["classification_logits"]) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("head", ["classification", pytest.param("triplet", marks=SLOW)])
def test_golden_numbers_through_safetensors(capsys, tmp_path, golden, head):
    source, target = tmp_path / "in.safetensors", tmp_path / "out.safetensors"
    tensors = weight_recipe.state_dict(golden, head)
    save_file(tensors, source)
    code, said, _ = run(capsys, source, target, "--from", "adv-reid")
    assert code == 0
    assert f"resnet50, head {head}" in said
    check_golden(golden, head, target)
    back = load_file(target)
    assert {name: back[name].tobytes() for name in tensors} == {
        name: value.tobytes() for name, value in tensors.items()
    }


@pytest.mark.optimized
@pytest.mark.torch
@pytest.mark.parametrize(
    ("head", "zipped", "wrapped"),
    [
        ("classification", True, False),
        ("classification", False, True),
        ("triplet", True, True),
    ],
)
def test_golden_numbers_through_pytorch_files(capsys, tmp_path, golden, head, zipped, wrapped):
    import torch

    source, target = tmp_path / "in.pth", tmp_path / "out.safetensors"
    tensors = weight_recipe.state_dict(golden, head)
    content = {name: torch.from_numpy(value) for name, value in tensors.items()}
    if wrapped:
        momentum = {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 3e-4}]}
        content = {"net": content, "map": np.float64(0.76), "epoch": 60, "optim": momentum}
    torch.save(content, source, _use_new_zipfile_serialization=zipped)
    code, _, message = run(capsys, source, target)
    assert code == 0, message
    check_golden(golden, head, target)


@pytest.mark.torch
def test_exported_weights_load_into_pytorch(capsys, tmp_path):
    import safetensors.torch
    import torch
    import torch_networks

    config = models.ResNetConfig(depths=(1, 1), widths=(8, 16), stem_width=8)
    model = models.create(config, head="triplet", dimensions=6, rngs=nnx.Rngs(0))
    x = np.random.default_rng(0).uniform(size=(2, 32, 16, 3)).astype(np.float32)
    model(jnp.asarray(x), batch_norm="batch")
    weights.save(model, tmp_path / "ours.safetensors")
    code, _, _ = run(
        capsys, tmp_path / "ours.safetensors", tmp_path / "torch.safetensors", "--to", "adv-reid"
    )
    assert code == 0
    backbone = torch_networks.ResNet(config)
    theirs = torch_networks.AdvReid(backbone, 64, dimensions=6).eval()
    theirs.load_state_dict(safetensors.torch.load_file(tmp_path / "torch.safetensors"))
    with torch.no_grad():
        expected = theirs(torch_networks.pixels(x))
    np.testing.assert_allclose(model(jnp.asarray(x)).features, expected, rtol=1e-4, atol=1e-5)


def test_names_are_translated_and_the_header_remembers(capsys, tmp_path, tiny):
    target = tmp_path / "out.safetensors"
    options = ["--to", "torchreid", "--last-stride", "1", "--resize", "64x32"]
    options += ["--mean", "0.5", "0.5", "0.5", "--std", "0.25", "0.25", "0.25"]
    code, said, _ = run(capsys, tiny, target, *options)
    assert code == 0
    assert "names of torchvision -> torchreid" in said
    assert "last stage has stride 1" in said
    assert "classifier.weight" in load_file(target)
    config = weights.load(target).config
    assert (config.resize, config.mean, config.std) == ((64, 32), (0.5,) * 3, (0.25,) * 3)
    assert config.backbone.last_stride == 1


def test_a_new_head_is_drawn_only_if_told(capsys, tmp_path, tiny):
    target = tmp_path / "out.safetensors"
    wanted = [tiny, target, "--head", "linear", "--classes", "7"]
    assert "fc.weight has shape (5, 16), expected (7, 16)" in refused(capsys, tmp_path, *wanted)
    ignored = [*wanted, "--allow-unused", "head"]
    assert "2 missing: fc.bias, fc.weight" in refused(capsys, tmp_path, *ignored)
    code, said, _ = run(capsys, *ignored, "--allow-missing", "head", "--seed", "3")
    assert code == 0
    assert "head linear (7 classes)" in said
    first = load_file(target)
    assert first["fc.weight"].shape == (7, 16)
    assert (first["conv1.weight"] == load_file(tiny)["conv1.weight"]).all()
    run(capsys, *ignored, "--allow-missing", "head", "--seed", "4", "--force")
    assert not (first["fc.weight"] == load_file(target)["fc.weight"]).all()


def test_a_plain_backbone_becomes_a_reid_network(capsys, tmp_path, tiny):
    target = tmp_path / "out.safetensors"
    head = ["--head", "classification", "--classes", "7"]
    exceptions = ["--allow-missing", "head", "--allow-unused", "head"]
    code, _, message = run(capsys, tiny, target, *head, *exceptions)
    assert code == 0, message
    assert weights.load(target).config.head == "classification"
    assert "backbone.fc.running_var" in load_file(target)


def test_what_another_projects_code_has_to_be_told_is_noted(capsys, tmp_path, tiny):
    ours, target = tmp_path / "ours.safetensors", tmp_path / "out.safetensors"
    head = ("--head", "classification", "--classes", "7")
    run(capsys, tiny, ours, *head, "--allow-missing", "head", "--allow-unused", "head")
    code, said, message = run(capsys, ours, target, "--to", "fast-reid")
    assert code == 0, message
    assert "note: last_stride is 2 here, and 1 in networks of fast-reid" in said
    assert "fc.bias (no feature passes it, and classifiers of fast-reid have none)" in said
    assert "last_stride" not in run(capsys, ours, target, "--force")[1]


def test_types_can_be_cast(capsys, tmp_path, tiny):
    code, _, _ = run(capsys, tiny, tmp_path / "out.safetensors", "--dtype", "float16")
    assert code == 0
    back = load_file(tmp_path / "out.safetensors")
    assert {str(v.dtype) for v in back.values()} == {"float16", "int64"}


def test_silu_is_noted_and_not_lost(capsys, tmp_path):
    shape = dataclasses.replace(RESNET, activation="silu")
    weights.save(drawn(shape, head="none"), tmp_path / "x.safetensors")
    code, said, _ = run(capsys, tmp_path / "x.safetensors", tmp_path / "y.safetensors")
    assert code == 0
    assert "names of jaxreid -> jaxreid" in said
    assert "note: SiLU follows the norms, torch.nn.SiLU(); no tensor says so" in said
    code, _, wrong = run(capsys, tmp_path / "x.safetensors", tmp_path / "y.pth")
    assert code == 2
    assert "y.pth: a state dict of PyTorch would lose activation 'silu'" in wrong
    assert not (tmp_path / "y.pth").exists()


def test_existing_files_are_kept(capsys, tmp_path, tiny):
    target = tmp_path / "out.safetensors"
    target.write_text("mine")
    assert "--force replaces it" in refused(capsys, tmp_path, tiny, target)
    assert target.read_text() == "mine"
    assert run(capsys, tiny, target, "--force")[0] == 0
    assert weights.load(target).config.classes == 5


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--architecture", "resnet18"], "expected the tensors of resnet18"),
        (["--from", "fast-reid"], "the names are not those of fast-reid; the file has"),
        (["--to", "fast-reid"], "has no head 'linear'"),
        (["--to", "timm"], None),
        (["--to", "torch"], "a target of torch ends in .pth or .pt"),
        (["--image-size", "64x32"], "image_size belongs to ViTs"),
        (["--std", "1", "0", "1"], "std above 0"),
        (["--head", "triplet"], "no head 'triplet'"),
    ],
)
def test_contradictions_exit_with_2(capsys, tmp_path, tiny, words, message):
    target = tmp_path / "out.safetensors"
    if message is None:
        assert run(capsys, tiny, target, *words)[0] == 0
        assert "fc.weight" in load_file(target)
    else:
        assert message in refused(capsys, tmp_path, tiny, target, *words)


@pytest.mark.parametrize("size", ["64", "0x32", "axb", "64x32x3"])
def test_sizes_are_height_x_width(capsys, tmp_path, tiny, size):
    code, _, message = run(capsys, tiny, tmp_path / "out.safetensors", "--resize", size)
    assert code == 2
    assert "HEIGHTxWIDTH such as 256x128" in message


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.999])
def test_truncated_files_exit_with_2(capsys, tmp_path, tiny, keep):
    whole = tiny.read_bytes()
    tiny.write_bytes(whole[: int(len(whole) * keep)])
    assert "broken" in refused(capsys, tmp_path, tiny, tmp_path / "out.safetensors")


def test_missing_and_foreign_files_exit_with_2(capsys, tmp_path):
    target = tmp_path / "out.safetensors"
    assert "no such file" in refused(capsys, tmp_path, tmp_path / "x.pth", target)
    (tmp_path / "x.pth").write_text(json.dumps({"net": 1}))
    assert "neither" in refused(capsys, tmp_path, tmp_path / "x.pth", target)


def test_other_targets_exit_with_2(capsys, tmp_path, tiny):
    assert "written as .safetensors" in refused(capsys, tmp_path, tiny, tmp_path / "out.npz")
    where = tmp_path / "none" / "out.safetensors"
    assert "no folder" in refused(capsys, tmp_path, tiny, where)


class Evil:
    """Writes a file when unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def evil_file(tmp_path, kind):
    import torch

    proof = tmp_path / "proof"
    path = tmp_path / "evil.pth"
    content = {"net": {"conv1.weight": torch.ones(1), "x": Evil(proof)}}
    if kind == "pickle":
        path.write_bytes(pickle.dumps({"net": Evil(proof)}))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == "zip")
    return path, proof


@pytest.mark.torch
@pytest.mark.parametrize("kind", ["zip", "legacy", "pickle"])
def test_pickles_never_run_code(tmp_path, kind):
    path, proof = evil_file(tmp_path, kind)
    before = sorted(os.listdir(tmp_path))
    words = [
        *(sys.executable, "-c", "from jaxreid.cli import main; main()"),
        *("convert", path, tmp_path / "out.safetensors"),
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "could run code" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not proof.exists()
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.torch
@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("keep", [0.02, 0.5, 0.99])
def test_truncated_pytorch_files_exit_with_2(capsys, tmp_path, zipped, keep):
    import torch

    path = tmp_path / "x.pth"
    state = {"conv1.weight": torch.ones(64, 3, 7, 7)}
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep)])
    message = refused(capsys, tmp_path, path, tmp_path / "out.safetensors")
    assert "truncated or broken" in message
    assert "internal" not in message  # PyTorch's own words after the reason


@pytest.mark.torch
def test_zip_bombs_exit_with_2(capsys, tmp_path):
    import torch

    buffer = io.BytesIO()
    torch.save({"conv1.weight": torch.zeros(1 << 20)}, buffer)
    path = tmp_path / "bomb.pth"
    with zipfile.ZipFile(buffer) as source, zipfile.ZipFile(path, "w") as target:
        for entry in source.infolist():
            target.writestr(entry.filename, source.read(entry), zipfile.ZIP_DEFLATED)
    message = refused(capsys, tmp_path, path, tmp_path / "out.safetensors")
    assert "does not compress its checkpoints" in message


@pytest.mark.torch
def test_wrong_architectures_exit_with_2(capsys, tmp_path):
    import torch
    import torch_networks

    network = torch_networks.ResNet(torch_networks.small(block="basic"))
    network.layer1[0].extra = torch.nn.Linear(2, 2)
    torch.save(network.state_dict(), tmp_path / "x.pth")
    message = refused(capsys, tmp_path, tmp_path / "x.pth", tmp_path / "out.safetensors")
    assert "2 left over: layer1.0.extra.bias, layer1.0.extra.weight" in message


def test_places_that_cannot_be_written_exit_with_2(capsys, tmp_path, tiny, kind):
    (tmp_path / "folder.safetensors").mkdir()
    for target, said in (
        (tiny, "is SOURCE itself"),
        ("/dev/null", "is no file"),
        (tmp_path / ("x" * 300 + ".safetensors"), "File name too long"),
        ("/proc/none.safetensors", "cannot be written"),
        (tiny / "below.safetensors", "there is no folder"),
    ):
        message = refused(capsys, tmp_path, tiny, target, "--force")
        assert said in message
        kind("convert to a place that cannot be written", f"exit 2: {message[-70:]}")
    assert weights.load(tiny).config.classes == 5


def test_a_full_disk_exits_with_1_and_one_line(capsys, tmp_path, tiny, monkeypatch, kind):
    from safetensors import SafetensorError

    def full(*_, **__):
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("safetensors.numpy.save_file", full)
    code, _, message = run(capsys, tiny, tmp_path / "out.safetensors")
    assert code == 1
    assert message.count("\n") == 1
    assert "No space left on device" in message
    assert os.listdir(tmp_path) == ["tiny.safetensors"]
    kind("convert on a full disk", "exit 1: ...No space left on device: 'out.safetensors'")


@pytest.mark.parametrize(
    "source",
    [
        *("hf:", "hf:a", "hf:/a/b", "hf:a/../b", "hf:a/b/../../x", "hf:a/b//c", "hf:a/b/"),
        *("hf:a/b@", "hf:a/b@../x", "hf:a--b/c", "hf:a/b/.", "hf:a/b\\c"),
    ],
)
def test_names_that_the_hub_cannot_have_exit_with_2(capsys, tmp_path, source, monkeypatch, kind):
    asked = lambda *_, **__: pytest.fail("the hub was asked")  # noqa: E731
    monkeypatch.setattr("huggingface_hub.hf_hub_download", asked)
    message = refused(capsys, tmp_path, source, tmp_path / "out.safetensors")
    assert f"{source}: " in message
    assert "expected hf:owner/name" in message
    kind("hf:a/b/../../x and other names", f"exit 2: {message}")


@pytest.mark.parametrize("error", [ValueError, OSError, RuntimeError, ConnectionError])
def test_whatever_fails_on_the_way_from_the_hub_exits_with_2(capsys, tmp_path, error, monkeypatch):
    def fails(*_, **__):
        raise error("the first line\nthe second")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fails)
    message = refused(capsys, tmp_path, "hf:owner/name", tmp_path / "out.safetensors")
    assert message == f"jaxreid: hf:owner/name: {error.__name__}: the first line\n"


def test_sources_that_are_no_weights_exit_with_2(capsys, tmp_path, kind):
    import struct

    path, target = tmp_path / "x.safetensors", tmp_path / "out.safetensors"
    lies = {
        "overlap": {"a": ("F32", [2], [0, 8]), "b": ("F32", [2], [4, 12])},
        "hole": {"a": ("F32", [1], [0, 4]), "b": ("F32", [1], [8, 12])},
        "shape": {"a": ("F32", [1 << 62, 1 << 62], [0, 12])},
        "negative": {"a": ("F32", [-1], [0, 12])},
    }
    contents = {
        "empty": b"",
        "text": b"these are no weights",
        "header of 2^62 bytes": struct.pack("<Q", 1 << 62) + b"{" + b"x" * 20,
        "a zip": b"PK\x03\x04 and nothing",
    }
    for name, tensors in lies.items():
        header = {
            key: {"dtype": kind_, "shape": shape, "data_offsets": offsets}
            for key, (kind_, shape, offsets) in tensors.items()
        }
        text = json.dumps(header).encode()
        contents[name] = struct.pack("<Q", len(text)) + text + bytes(12)
    for name, content in contents.items():
        path.write_bytes(content)
        message = refused(capsys, tmp_path, path, target).replace(f"{tmp_path}/", "")
        assert "x.safetensors" in message
        kind(f"weights: {name}", f"exit 2: {message[9:100]}")
    assert "is a folder" in refused(capsys, tmp_path, tmp_path, target)
    assert "no regular file" in refused(capsys, tmp_path, "/dev/null", target)


def test_the_size_is_stored_and_printed(capsys, tmp_path, tiny):
    target = tmp_path / "out.safetensors"
    assert "size of the images: not known" in run(capsys, tiny, target)[1]
    code, said, _ = run(capsys, tiny, target, "--force", "--size", "384x128")
    assert code == 0
    assert "size of the images: 384x128" in said
    assert weights.load(target).config.size == (384, 128)
    again = tmp_path / "again.safetensors"
    assert "size of the images: 384x128" in run(capsys, target, again)[1]


def transreid_of_48_rows(folder):
    """A file of TransReID with 48 camera embeddings."""
    shape = models.ViTConfig(
        width=64, depth=1, heads=1, image_size=(256, 128), stride=12, cameras=48, sie_factor=3.0
    )
    config = models.ModelConfig(shape, classes=5, classifier_bias=False)
    model = models.ReID(config, rngs=nnx.Rngs(0))
    save_file(weights.to_state_dict(model, layout="transreid"), folder / "in.safetensors")
    return folder / "in.safetensors"


def test_what_a_user_said_is_no_librarys_word(capsys, tmp_path):
    source, target = transreid_of_48_rows(tmp_path), tmp_path / "out.safetensors"
    words = ("--sie-factor", "2.5")
    said = " ".join(run(capsys, source, target, *words)[1].split())
    library = "said by TransReID: datasets/make_dataloader.py, utils/metrics.py"
    assert library in said
    assert "as told to jaxreid" not in said
    # What is in no tensor, or in the length of a table.
    assert "settings stride 12, sie factor 2.5" in said
    assert "note: each of 48 camera embeddings is taken for a camera; " in said
    pixels = ("--mean", *3 * (0.4,), "--std", *3 * (0.2,), "--colours", "BGR")
    inside = ("--resize", "300x150", "--crop", "256x128", "--neck-feature", "after")
    inside += ("--first-camera", "1")
    said = " ".join(run(capsys, source, target, *words, *pixels, *inside, "--force")[1].split())
    names = "resize, crop, colours, mean, std, neck_feature, first_camera as told to jaxreid"
    assert f"{library}; {names}" in said
    # Row 0 is nobody's then.
    assert "note: each of 47 camera embeddings is taken for a camera; " in said


def test_cameras_are_told_where_rows_are_of_views_too(capsys, tmp_path):
    source, target = transreid_of_48_rows(tmp_path), tmp_path / "out.safetensors"
    words = ("--sie-factor", "3")
    assert "--cameras, too, if they are of fewer cameras" in refused(
        capsys, tmp_path, source, target
    )
    said = " ".join(run(capsys, source, target, *words, "--cameras", "6")[1].split())
    assert "cameras 6 of 48, an input beside the image, counted from 0; of each the mean" in said
    assert "over 8 views said by TransReID" in said
    assert "; cameras as told to jaxreid" in said
    assert "note: 48 camera embeddings are taken for those of 6 cameras with 8 views each" in said
    assert "random weights by 63 to 68 % (TransReID) and 37 to 41 % (CLIP-ReID)" in said
    stored = weights.load(target)
    assert (stored.cameras, stored.config.pipeline.views) == (6, 8)
    # The numbers are as they were, and told otherwise the rows are others' again.
    again = tmp_path / "again.safetensors"
    assert "cameras 48, an" in " ".join(run(capsys, target, again, "--cameras", 48)[1].split())
    assert weights.load(again).config.pipeline.views == 1
    said = refused(capsys, tmp_path, source, tmp_path / "no", *words, "--cameras", "7")
    assert "48 camera embeddings are not those of 7 cameras" in said
    assert "expected one of 1, 2, 3, 4, 6, 8, 12, 16, 24, 48" in said
    first = (*words, "--cameras", "6", "--first-camera", "1")
    assert "47 camera embeddings are not" in refused(
        capsys, tmp_path, source, tmp_path / "no", *first
    )


def test_cameras_of_a_network_that_has_none_are_refused(capsys, tmp_path, tiny):
    said = refused(capsys, tmp_path, tiny, tmp_path / "no.safetensors", "--cameras", "6")
    assert "cameras belongs to networks with camera embeddings; the file holds a ResNet" in said


def test_layers_left_out_as_told_are_listed(capsys, tmp_path, tiny):
    save_file({**load_file(tiny), "gem.p": np.ones(1, np.float32)}, tiny)
    code, said, _ = run(capsys, tiny, tmp_path / "out.safetensors", "--allow-unused", "gem.*")
    assert code == 0
    assert "note: left out by --allow-unused: gem.p" in said


def test_help_has_an_example(capsys):
    code, said, _ = run(capsys, "--help")
    assert code == 0
    assert "jaxreid convert checkpoint.pth.tar market.safetensors --from adv-reid" in said


def test_options_offer_what_there_is():
    from jaxreid.cli.convert import convert

    choices = {option.name: option.type for option in convert.params}
    assert set(choices["layout"].choices) == set(weights.LAYOUTS)
    kinds = {"torch", "safetensors", "exported"}
    assert set(choices["target_layout"].choices) == {*weights.LAYOUTS, *kinds}
    heads = {head for layout in weights.LAYOUTS.values() for head in layout.heads}
    assert set(choices["head"].choices) == heads
