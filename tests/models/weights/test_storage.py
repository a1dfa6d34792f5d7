import json
import os
import struct
import sys

import ml_dtypes
import numpy as np
import pytest
from huggingface_hub import errors
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from jaxreid.errors import InputError
from jaxreid.models.weights import storage

TENSORS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.zeros((), np.int64)}


@pytest.fixture(scope="session")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("storage")


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64", "int64"])
def test_types_and_bits_survive(tmp_path, dtype):
    bits = np.random.default_rng(0).integers(0, 256, 8 * 32, np.uint8)
    value = np.frombuffer(bits.tobytes(), np.dtype(getattr(ml_dtypes, dtype, dtype)))
    storage.write(tmp_path / "x.safetensors", {"a": value}, {"key": "value"})
    back = storage.read(tmp_path / "x.safetensors")
    assert back.metadata == {"key": "value"}
    assert back.tensors["a"].dtype == value.dtype
    assert back.tensors["a"].tobytes() == value.tobytes()


@pytest.mark.torch
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64", "int64"])
def test_pytorch_reads_what_is_written_for_it(tmp_path, dtype):
    import torch

    bits = np.random.default_rng(0).integers(0, 256, 8 * 32, np.uint8)
    value = np.frombuffer(bits.tobytes(), np.dtype(getattr(ml_dtypes, dtype, dtype)))
    storage.write_torch(tmp_path / "x.pth", {"b.weight": value, "a": np.zeros((), np.int64)})
    state = torch.load(tmp_path / "x.pth", weights_only=True)
    assert list(state) == ["b.weight", "a"]
    assert (str(state["b.weight"].dtype), state["a"].shape) == (f"torch.{dtype}", ())
    assert state["b.weight"].view(torch.uint8).numpy().tobytes() == bits.tobytes()
    back = storage.read(tmp_path / "x.pth").tensors["b.weight"]
    assert (back.dtype, back.tobytes()) == (value.dtype, value.tobytes())
    assert [path.name for path in tmp_path.iterdir()] == ["x.pth"]
    with pytest.raises(InputError, match="there is no folder"):
        storage.write_torch(tmp_path / "no" / "x.pth", TENSORS)


def test_without_pytorch_nothing_is_written_for_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(InputError, match=r"x\.pth: .* cannot be imported .* write \.safetensors"):
        storage.write_torch(tmp_path / "x.pth", TENSORS)
    assert not list(tmp_path.iterdir())


@settings(deadline=None, max_examples=40)
@given(length=st.integers(0, len(save(TENSORS)) - 1))
def test_truncated_safetensors_are_refused(scratch, length):
    path = scratch / "cut.safetensors"
    path.write_bytes(save(TENSORS)[:length])
    with pytest.raises(InputError, match=r"cut\.safetensors"):
        storage.read(path)


@settings(deadline=None, max_examples=60)
@given(junk=st.binary(max_size=200))
def test_junk_is_refused(scratch, junk):
    path = scratch / "junk"
    # Whatever it is, it starts as a .safetensors header does, so that the reader is reached.
    path.write_bytes(struct.pack("<Q", len(junk) + 1) + b"{" + junk)
    with pytest.raises(InputError, match="junk"):
        storage.read(path)


def test_headers_that_lie_are_refused(tmp_path):
    path = tmp_path / "lie.safetensors"
    header = {"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"0000")
    with pytest.raises(InputError, match=r"broken \.safetensors"):
        storage.read(path)


def test_other_files_and_missing_ones_are_named(tmp_path):
    (tmp_path / "x.pth").write_text("not weights")
    with pytest.raises(InputError, match=r"x\.pth: neither"):
        storage.read(tmp_path / "x.pth")
    with pytest.raises(InputError, match=r"none\.pth: no such file"):
        storage.read(tmp_path / "none.pth")
    storage.write(tmp_path / "empty.safetensors", {}, {"a": "b"})
    with pytest.raises(InputError, match="holds no tensors"):
        storage.read(tmp_path / "empty.safetensors")


def test_size_is_limited(tmp_path):
    storage.write(tmp_path / "x.safetensors", TENSORS, {})
    with pytest.raises(InputError, match="more than the limit of 10"):
        storage.read(tmp_path / "x.safetensors", max_bytes=10)


def test_a_failed_write_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "x.safetensors"
    storage.write(path, TENSORS, {})
    before = path.read_bytes()

    def fail(tensors, name, metadata):
        name.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr("safetensors.numpy.save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        storage.write(path, {"a": TENSORS["b"]}, {})
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["x.safetensors"]


def test_written_files_can_be_read_by_others(tmp_path):
    storage.write(tmp_path / "x.safetensors", TENSORS, {})
    mask = os.umask(0)
    os.umask(mask)
    assert (tmp_path / "x.safetensors").stat().st_mode & 0o777 == 0o666 & ~mask


def test_places_that_cannot_be_written_are_named(tmp_path):
    with pytest.raises(InputError, match=r"written as \.safetensors"):
        storage.write(tmp_path / "x.pth", TENSORS, {})
    with pytest.raises(InputError, match="no folder"):
        storage.write(tmp_path / "none" / "x.safetensors", TENSORS, {})


class Response:
    status_code, headers, request = 404, {}, None


def test_hub_files_are_tried_in_turn(tmp_path, monkeypatch):
    storage.write(tmp_path / "x.safetensors", TENSORS, {})
    asked = []

    def download(repository, file, *, revision):
        asked.append((repository, file, revision))
        if file == "model.safetensors":
            raise errors.RemoteEntryNotFoundError("no such entry", response=Response())
        return tmp_path / "x.safetensors"

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    assert set(storage.read("hf:owner/name@v1").tensors) == {"a", "b"}
    storage.read("hf:owner/name/folder/other.safetensors")
    assert asked == [
        ("owner/name", "model.safetensors", "v1"),
        ("owner/name", "pytorch_model.bin", "v1"),
        ("owner/name", "folder/other.safetensors", None),
    ]


def test_hub_failures_are_named(monkeypatch):
    def offline(*_, **__):
        raise errors.LocalEntryNotFoundError("cannot find the file in the disk cache")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", offline)
    with pytest.raises(InputError, match=r"hf:owner/name: not in the local cache"):
        storage.read("hf:owner/name")
    with pytest.raises(InputError, match="expected hf:owner/name"):
        storage.read("hf:owner")


@pytest.mark.torch
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("wrapper", [None, "net", "state_dict", "model"])
def test_pytorch_files_of_both_formats(tmp_path, zipped, wrapper):
    import torch

    state = {
        "a": torch.arange(6.0).reshape(2, 3).t(),
        "b": torch.tensor([1.5, float("nan")], dtype=torch.bfloat16),
        "c": torch.ones(3, dtype=torch.float16, requires_grad=True),
    }
    best = np.float64(0.76)
    content = (
        {wrapper: state, "epoch": 3, "map": best, "optim": {"state": {}}} if wrapper else state
    )
    torch.save(content, tmp_path / "x.pth", _use_new_zipfile_serialization=zipped)
    tensors = storage.read(tmp_path / "x.pth").tensors
    np.testing.assert_array_equal(tensors["a"], np.arange(6.0).reshape(2, 3).T)
    assert tensors["b"].dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(tensors["b"].astype(np.float32), [1.5, np.nan])
    assert tensors["c"].dtype == np.float16


@pytest.mark.torch
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "found list"),
        ({"epoch": 3}, "the file has epoch"),
        ({}, "has nothing"),
        ({"net": {"epoch": 3}}, "the file has epoch"),
    ],
)
def test_files_without_weights_are_named(tmp_path, content, message):
    import torch

    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(InputError, match=message):
        storage.read(tmp_path / "x.pth")


@pytest.mark.torch
def test_state_dicts_with_other_things_are_named(tmp_path):
    import torch

    torch.save({"a": torch.ones(1), "lr": 0.1}, tmp_path / "x.pth")
    with pytest.raises(InputError, match=r"other things than tensors: \['lr'\]"):
        storage.read(tmp_path / "x.pth")


@pytest.mark.torch
def test_a_small_file_cannot_claim_a_large_tensor(tmp_path):
    import torch

    torch.save({"a": torch.zeros(1).expand(1 << 34)}, tmp_path / "x.pth")
    with pytest.raises(InputError, match="a claims to be larger than the file"):
        storage.read(tmp_path / "x.pth")


@pytest.mark.torch
def test_many_tensors_cannot_share_one_storage(tmp_path):
    import torch

    one = torch.zeros(1 << 12)
    tied = {f"a{index}": one.view(-1) for index in range(3)}
    torch.save(tied, tmp_path / "x.pth")
    assert len(storage.read(tmp_path / "x.pth").tensors) == 3
    torch.save({f"a{index}": one.view(-1) for index in range(500)}, tmp_path / "y.pth")
    with pytest.raises(InputError, match="unpack to more than 4 times that"):
        storage.read(tmp_path / "y.pth")


@pytest.mark.torch
def test_types_that_numpy_lacks_are_named(tmp_path):
    import torch

    torch.save({"a": torch.zeros(4).to(torch.float8_e4m3fn)}, tmp_path / "x.pth")
    with pytest.raises(InputError, match=r"x\.pth: a is no array"):
        storage.read(tmp_path / "x.pth")
