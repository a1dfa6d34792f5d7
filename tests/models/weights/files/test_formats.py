"""Files that hold no weights are told apart in one line; weights in shards are joined."""

import gzip
import hashlib
import io
import json
import tarfile

import ml_dtypes
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import save_file

from jaxreid import models
from jaxreid.cli import main
from jaxreid.cli.model.loading import load_model
from jaxreid.errors import InputError
from jaxreid.models import weights
from jaxreid.models.weights import storage

RESNET = models.ResNetConfig(depths=(1,), widths=(4,), stem_width=4)
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 102530333\n"


def packed():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("weights.pth"))
    return buffer.getvalue()


@pytest.fixture(scope="module")
def state():
    model = models.create(RESNET, head="linear", classes=5, rngs=nnx.Rngs(0))
    return weights.to_state_dict(model)


def message_of(capsys, *words):
    """The one line of `jaxreid convert` that exits with 2."""
    with pytest.raises(SystemExit) as stop:
        main(["convert", *map(str, words)])
    message = capsys.readouterr().err
    assert (stop.value.code, message.count("\n")) == (2, 1)
    return message


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty (0 bytes)"),
        (POINTER, "is a Git LFS pointer, not the file of 102,530,333 bytes: git lfs pull"),
        (b"<!DOCTYPE html><html><title>Sign in</title>", "is a web page, not weights"),
        (b"\n  <html>\n", "is a web page, not weights"),
        (b"\x08\x07\x12\x07pytorch\x1a\x032.1", "is an ONNX file"),
        (b"\x89HDF\r\n\x1a\n", "is an HDF5 file"),
        (gzip.compress(b"weights", mtime=0), "is packed with gzip: unpack it first"),
        (packed(), "is a tar archive: unpack it"),
        (b"\x93NUMPY\x01\0", "is one NumPy array"),
        (b"any other text", "neither a .safetensors nor a PyTorch file"),
        (b"PK\x03\x04 and nothing", "truncated or broken"),
    ],
)
def test_files_without_weights_exit_with_2_and_say_what_they_are(
    capsys, tmp_path, content, said, kind
):
    (tmp_path / "x.pth").write_bytes(content)
    message = message_of(capsys, tmp_path / "x.pth", tmp_path / "y.safetensors")
    assert said in message
    assert "x.pth" in message
    assert not (tmp_path / "y.safetensors").exists()
    kind(f"weights: {content[:20]!r}", f"exit 2: {message.replace(str(tmp_path), '')[9:]}")


def sharded(folder, state, *, change=lambda index: None):
    """The state dict in two shards and their index."""
    names = sorted(state)
    halves = {
        "model-00001-of-00002.safetensors": names[: len(names) // 2],
        "model-00002-of-00002.safetensors": names[len(names) // 2 :],
    }
    for file, part in halves.items():
        save_file({name: state[name] for name in part}, folder / file)
    index = {name: file for file, part in halves.items() for name in part}
    change(index)
    path = folder / "model.safetensors.index.json"
    path.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": index}))
    return path


def test_shards_are_joined_from_the_index_or_the_folder(tmp_path, state):
    index = sharded(tmp_path, state)
    for source in (index, tmp_path):
        found = storage.read(source)
        assert set(found.tensors) == set(state)
        assert all(np.array_equal(found.tensors[name], state[name]) for name in state)
    assert weights.load(tmp_path).config.classes == 5


def escape(index):
    index["conv1.weight"] = "../x.safetensors"


def unknown(index):
    index["extra"] = "model-00001-of-00002.safetensors"


def exchanged(index):
    index["bn1.bias"] = "model-00002-of-00002.safetensors"


def forgotten(index):
    del index["bn1.bias"]


def absent(index):
    index["extra"] = "model-00003-of-00002.safetensors"


def number(index):
    index["extra"] = 3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (escape, "'../x.safetensors' leads out of the folder"),
        (unknown, "extra is not in model-00001-of-00002.safetensors"),
        (exchanged, "bn1.bias is in model-00001-of-00002.safetensors; the index says model-00002"),
        (forgotten, "bn1.bias is in model-00001-of-00002.safetensors; the index says no shard"),
        (absent, "the shard model-00003-of-00002.safetensors is not there (3 are named)"),
        (number, "is no index of shards"),
    ],
)
def test_an_index_that_lies_is_refused(capsys, tmp_path, state, change, said):
    index = sharded(tmp_path, state, change=change)
    assert said in message_of(capsys, index, tmp_path / "y.safetensors")


def test_shards_that_are_none_are_refused(tmp_path, state):
    index = sharded(tmp_path, state)
    (tmp_path / "model-00002-of-00002.safetensors").write_bytes(POINTER)
    with pytest.raises(InputError, match=r"00002\.safetensors is a Git LFS pointer"):
        storage.read(index)
    save_file({"conv1.weight": np.zeros(1)}, tmp_path / "model-00002-of-00002.safetensors")
    with pytest.raises(InputError, match=r"conv1\.weight is in model-00002.* and in"):
        storage.read(index)
    with pytest.raises(InputError, match="more than the limit of 2000"):
        storage.read(index, max_bytes=2000)
    for text in ("not json", "[]", '{"weight_map": {"a": "x", "a": "y"}}', '{"weight_map": []}'):
        index.write_text(text)
        with pytest.raises(InputError, match="is no index of shards"):
            storage.read(index)
    index.unlink()
    with pytest.raises(InputError, match=r"is a folder with no index of shards"):
        storage.read(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_loaded_and_computes(tmp_path, state, dtype):
    half = np.dtype(getattr(ml_dtypes, dtype, dtype))
    narrow = {n: v.astype(half) if v.dtype == np.float32 else v for n, v in state.items()}
    save_file(narrow, tmp_path / "x.safetensors")
    images = np.random.default_rng(0).uniform(size=(2, 32, 16, 3)).astype(np.float32)
    got = weights.load(tmp_path / "x.safetensors")(images).features
    expected = weights.from_state_dict(state)(images).features
    np.testing.assert_allclose(got, expected, atol=0.05 * np.abs(expected).max())


@pytest.mark.parametrize("dtype", ["int8", "int64", "uint8", "bool", "complex64"])
def test_weights_that_are_no_floating_point_are_refused_by_name(tmp_path, state, dtype):
    tensors = {**state, "bn1.weight": np.ones(4, dtype)}
    with pytest.raises(InputError, match=rf"bn1\.weight is {dtype}, expected floating point of 16"):
        weights.from_state_dict(tensors)


def test_another_number_of_classes_than_the_files_is_refused(capsys, tmp_path, state):
    save_file(state, tmp_path / "x.safetensors")
    words = [tmp_path / "x.safetensors", tmp_path / "y.safetensors", "--classes", "751"]
    message = message_of(capsys, *words)
    assert "fc.weight has shape (5, 16), expected (751, 16)" in message
    assert "the file has 5 classes, not 751" in message


@pytest.mark.parametrize("forced", ["fast-reid", "adv-reid", "strong-baseline"])
def test_a_wrong_family_that_is_forced_says_what_the_file_looks_like(
    capsys, tmp_path, state, forced
):
    save_file(state, tmp_path / "x.safetensors")
    words = [tmp_path / "x.safetensors", tmp_path / "y.safetensors", "--from", forced]
    message = message_of(capsys, *words)
    assert "the file has the names of torchvision: leave --from out, or give" in message


def test_what_was_peeled_and_left_out_is_printed(capsys, tmp_path, state):
    tensors = {f"module.{name}": value for name, value in state.items()}
    tensors["module.center_loss.centers"] = np.ones((5, 4), np.float32)
    save_file(tensors, tmp_path / "x.safetensors")
    with pytest.raises(SystemExit) as stop:
        main(["convert", str(tmp_path / "x.safetensors"), str(tmp_path / "y.safetensors")])
    said = " ".join(capsys.readouterr().out.split())
    assert stop.value.code == 0
    assert "taken off around the network: module." in said
    assert "center_loss.centers (part of a training loss)" in said
    # The file written has them.
    assert "counter of training batches" not in said


def transreid(positions):
    """A TransReID transformer of one narrow block whose table has that many positions."""
    width, shapes = 64, {}
    block = {"norm1": (1, 0), "attn.qkv": (3, 1), "attn.proj": (1, 1)}
    block |= {"norm2": (1, 0), "mlp.fc1": (4, 1), "mlp.fc2": (1, 4)}
    for name, (outputs, inputs) in block.items():
        shapes[f"base.blocks.0.{name}.weight"] = [outputs * width] + [inputs * width] * (inputs > 0)
        shapes[f"base.blocks.0.{name}.bias"] = [outputs * width]
    shapes["base.cls_token"] = [1, 1, width]
    shapes["base.pos_embed"] = [1, positions, width]
    shapes["base.patch_embed.proj.weight"] = [width, 3, 16, 16]
    shapes["base.patch_embed.proj.bias"] = [width]
    shapes |= {key: [width] for key in ("base.norm.weight", "base.norm.bias")}
    for part in ("weight", "bias", "running_mean", "running_var"):
        shapes[f"bottleneck.{part}"] = [width]
    shapes["classifier.weight"] = [5, width]
    return {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize(
    ("positions", "words", "said"),
    [
        (211, ["--stride", "16"], "belong to 256x128 at stride 12, not to a stride of 16"),
        (129, ["--stride", "12"], "belong to 256x128 at stride 16, not to a stride of 12"),
        (100, [], "99 positions beside the class token, which belong to no published image size"),
    ],
)
def test_a_position_table_of_another_stride_exits_with_2(capsys, tmp_path, positions, words, said):
    save_file(transreid(positions), tmp_path / "x.safetensors")
    message = message_of(capsys, tmp_path / "x.safetensors", tmp_path / "y.safetensors", *words)
    assert said in message


def test_a_missing_sie_factor_is_asked_for_in_one_line(capsys, tmp_path):
    tensors = transreid(129) | {"base.sie_embed": np.zeros((6, 1, 64), np.float32)}
    save_file(tensors, tmp_path / "x.safetensors")
    message = message_of(capsys, tmp_path / "x.safetensors", tmp_path / "y.safetensors")
    assert "--sie-factor" in message
    assert "%" in message
    save_file(transreid(129), tmp_path / "z.safetensors")
    words = [tmp_path / "z.safetensors", tmp_path / "y.safetensors"]
    assert "camera" in message_of(capsys, *words, "--sie-factor", "3")


def test_one_shard_is_no_network(tmp_path, state):
    sharded(tmp_path, state)
    shard = min(tmp_path.glob("model-*"))
    with pytest.raises(InputError, match=r"is shard 1 of \d: name their index .* or the folder"):
        storage.read(shard)
    # The only one is the whole.
    whole = tmp_path / "model-00001-of-00001.safetensors"
    shard.rename(whole)
    assert storage.read(whole).tensors


def test_what_a_file_leaves_open_is_told_to_convert(tmp_path):
    tensors = transreid(129) | {"base.sie_embed": np.zeros((6, 1, 64), np.float32)}
    save_file(tensors, tmp_path / "x.safetensors")
    expected = r"--sie-factor 3 .*; tell it to jaxreid convert, whose file can be taken as it is"
    with pytest.raises(InputError, match=expected):
        load_model(str(tmp_path / "x.safetensors"))
    # What no option mends is as it was.
    (tmp_path / "empty.pth").touch()
    with pytest.raises(InputError, match=r"downloaded or copied whole$"):
        load_model(str(tmp_path / "empty.pth"))


@pytest.mark.slow
def test_a_folder_of_shards_is_a_model_of_the_command_line(tmp_path, state, capsys):
    sharded(tmp_path, state)
    size, digest = storage.file_digest(tmp_path)
    parts = sorted(tmp_path.glob("model-*")), tmp_path / "model.safetensors.index.json"
    content = b"".join(path.read_bytes() for path in (parts[1], *parts[0]))
    assert (size, digest) == (len(content), hashlib.sha256(content).hexdigest())
    model = load_model(str(tmp_path))
    assert model.facts["sha256"] == digest
    assert model.facts["features"] == 16
