"""PyTorch's files are read without PyTorch, as PyTorch reads them, and nothing in them is run."""

import contextlib
import io
import struct
import sys
import zipfile

import ml_dtypes
import numpy as np
import pytest
import torch_bytes as made
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxreid import models
from jaxreid.errors import InputError
from jaxreid.models import weights
from jaxreid.models.weights import storage
from jaxreid.models.weights.files import torch_files

RAMP = np.arange(12, dtype=np.float32)


@pytest.fixture
def alone(monkeypatch):
    """A machine without PyTorch."""
    monkeypatch.setitem(sys.modules, "torch", None)


def read(tmp_path, content):
    (tmp_path / "x.pth").write_bytes(content)
    return storage.read(tmp_path / "x.pth")


def message_of(tmp_path, content):
    with pytest.raises(InputError) as said:
        read(tmp_path, content)
    message = str(said.value)
    assert "\n" not in message
    assert "x.pth" in message
    return message


def both(array, **options):
    """A state dict of one tensor in both formats."""
    data = array.tobytes()
    yield made.zipped(made.mapping({"a": made.whole("0", array)}), {"0": data}, **options)
    if not options:
        content = made.mapping({"a": made.whole("0", array, b"N")})
        yield made.legacy(content, {"0": (data, array.size)})


@pytest.mark.parametrize("dtype", made.KINDS)
def test_every_type_is_read_bit_by_bit(tmp_path, alone, dtype):
    kind = np.dtype(getattr(ml_dtypes, dtype, dtype))
    bits = np.random.default_rng(0).integers(0, 2 if dtype == "bool" else 256, 96, np.uint8)
    array = bits.view(kind)[:6].reshape(2, 3).copy()
    for content in both(array):
        got = read(tmp_path, content).tensors["a"]
        assert (got.dtype, got.shape, got.tobytes()) == (kind, (2, 3), array.tobytes())
        assert got.flags.writeable


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int16", "uint8"])
def test_the_byte_order_of_the_file_is_kept_to(tmp_path, alone, dtype):
    kind = np.dtype(getattr(ml_dtypes, dtype, dtype))
    array = np.arange(1, 7).astype(kind)
    big = array.view(f"u{kind.itemsize}").byteswap().tobytes()
    content = made.mapping({"a": made.whole("0", array)})
    got = read(tmp_path, made.zipped(content, {"0": big}, order="big")).tensors["a"]
    np.testing.assert_array_equal(got, array)
    got = read(tmp_path, made.zipped(content, {"0": array.tobytes()}, order=None)).tensors["a"]
    np.testing.assert_array_equal(got, array)


def test_views_of_one_storage_have_their_offsets_and_strides(tmp_path, alone):
    row = made.storage("0", "float32", 12)
    tensors = {
        "turned": made.tensor(row, (4, 3), (1, 4)),
        "window": made.tensor(row, (2, 2), (4, 1), offset=5),
        "repeated": made.tensor(row, (2, 3), (0, 1)),
        "one": made.tensor(row, (), (), offset=7),
        "none": made.tensor(row, (0, 3), (3, 1)),
    }
    expected = {
        "turned": RAMP.reshape(3, 4).T,
        "window": [[5, 6], [9, 10]],
        "repeated": [[0, 1, 2], [0, 1, 2]],
        "one": 7,
        "none": np.zeros((0, 3)),
    }
    content = made.mapping({"state_dict": made.mapping(tensors), "epoch": made.number(3)})
    for file in (
        made.zipped(content, {"0": RAMP.tobytes()}),
        made.legacy(content, {"0": (RAMP.tobytes(), 12)}),
    ):
        found = read(tmp_path, file)
        assert found.peeled == ("state_dict",)
        for name, value in expected.items():
            np.testing.assert_array_equal(found.tensors[name], value, strict=False)
            assert found.tensors[name].shape == np.shape(value)


def test_a_part_of_a_legacy_storage_begins_where_it_says(tmp_path, alone):
    part = made.group(made.text("view"), made.number(4), made.number(6))
    content = made.mapping(
        {"a": made.tensor(made.storage("0", "float32", 12, part), (2, 2), (2, 1), offset=1)}
    )
    got = read(tmp_path, made.legacy(content, {"0": (RAMP.tobytes(), 12)})).tensors["a"]
    np.testing.assert_array_equal(got, [[5, 6], [7, 8]])


def test_what_stands_beside_the_weights_is_read_over(tmp_path, alone):
    dtype = made.name("numpy", "dtype") + made.group(made.text("f8"), b"\x89", b"\x88") + b"R"
    order = made.group(made.number(3), made.text("<"), *([b"N"] * 3), *([made.number(-1)] * 2))
    raw = made.text(np.float64(0.75).tobytes().decode("latin-1"))
    content = made.name("_codecs", "encode") + made.group(raw, made.text("latin1")) + b"R"
    scalars = {
        module: made.name(module, "scalar") + made.group(dtype + order + b"b", content) + b"R"
        for module in ("numpy.core.multiarray", "numpy._core.multiarray")
    }
    settings_ = made.name("argparse", "Namespace") + b")\x81" + made.mapping({"lr": b"N"}) + b"b"
    state = made.ordered() + b"(" + made.text("a") + made.whole("0", RAMP) + b"u"
    state += made.mapping({"_metadata": made.ordered()}) + b"b"
    beside = {
        **scalars,
        "args": settings_,
        "size": made.name("torch", "Size") + made.group(made.group(made.number(3))) + b"R",
        "device": made.name("torch", "device") + made.group(made.text("cuda")) + b"R",
        "dtype": made.name("torch", "float32"),
        "old": b"U\x03abc",
        "seen": made.name("__builtin__", "set") + made.group(b"](" + made.number(1) + b"e") + b"R",
        "lr": b"G" + struct.pack(">d", 0.1),
        "best": b"\x8a\x02\xff\x7f",
    }
    file = made.zipped(made.mapping({"model": state, **beside}), {"0": RAMP.tobytes()})
    found = read(tmp_path, file)
    assert found.peeled == ("model",)
    np.testing.assert_array_equal(found.tensors["a"], RAMP)


SYSTEM = made.name("posix", "system") + made.group(made.text("touch proof")) + b"R"
A = made.whole("0", RAMP)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (SYSTEM, "GLOBAL posix.system"),
        (made.name("builtins", "eval"), "GLOBAL eval"),
        (made.name("builtins", "getattr"), "GLOBAL getattr"),
        (made.name("torch", "load"), "GLOBAL torch.load"),
        (made.name("torch._utils", "_rebuild_sparse_tensor"), "_rebuild_sparse_tensor"),
        (made.name("torch.storage", "_load_from_bytes"), "_load_from_bytes"),
        (made.name("collections", "OrderedDict.update"), "OrderedDict.update"),
        (made.name("numpy.core.multiarray", "_reconstruct"), "_reconstruct"),
        (made.text("posix") + made.text("system") + b"\x93", "unsupported"),
        (b"(iposix\nsystem\n", "unsupported"),
        (b"(" + made.name("argparse", "Namespace") + b"o", "unsupported"),
        (b"\x82\x01", "unsupported"),
        (made.text("x") + b")R", "a call of str"),
        (made.name("torch", "float32") + b")R", "a call of torch.float32"),
        (made.name("torch.nn.parameter", "Parameter") + b")\x81", "an object of torch.nn"),
        (made.name("torch", "Size") + made.mapping({"__class__": b"N"}) + b"b", "state of a"),
        (made.group(made.text("module"), *[b"N"] * 4) + b"Q", "something else than a storage"),
        (made.tensor(b"N", (1,), (1,)), "no storage"),
        (made.tensor(made.storage("0", "float32", 12), (-1,), (1,)), "are no sizes"),
        (made.tensor(made.storage("0", "float32", 12), (1, 1), (1,)), "2 sides and 1 strides"),
        (b"}(" + made.group(made.group()) + b"Nu", "a key that is a tuple"),
        (b"](" + b"Ne" + made.text("a") + b"Ns", "an entry in a list"),
        (b"}Na", "items of a dict"),
    ],
)
def test_whatever_is_more_than_tensors_is_refused(tmp_path, alone, value, reason):
    content = made.mapping({"a": A, "x": value})
    for file in (
        made.zipped(content, {"0": RAMP.tobytes()}),
        made.legacy(content, {"0": (RAMP.tobytes(), 12)}),
    ):
        message = message_of(tmp_path, file)
        assert "it holds more than tensors, and loading it could run code" in message
        assert reason in message
    assert not (tmp_path / "proof").exists()


@pytest.mark.parametrize(
    "value",
    [
        *(b"u", b"t", b"\x87", b"h\x07", b"X\xff\xff\0\0", b"cos", b"U\xffabc", b"G\0"),
        made.name("torch._utils", "_rebuild_tensor_v2") + b")R",
        made.name("torch", "Size") + made.group(b"N") + b"R",
        made.name("builtins", "complex") + made.group(made.text("x")) + b"R",
    ],
)
def test_broken_streams_are_called_so(tmp_path, alone, value):
    broken = made.zipped(b"}(" + made.text("a") + A + made.text("x") + value + b"u", {"0": b""})
    assert "x.pth: not loaded: truncated or broken" in message_of(tmp_path, broken)


def test_nesting_without_end_is_no_crash(tmp_path, alone):
    deep = b"}" + b"\x85" * 100_000
    assert "x" in message_of(tmp_path, made.zipped(deep, {}))
    calls = made.name("torch._tensor", "_rebuild_from_type_v2") * 1
    kind = made.name("torch", "Tensor")
    nested = b"N"
    for _ in range(2000):
        nested = made.group(calls, kind, nested, b"N")
    assert "not loaded" in message_of(tmp_path, made.zipped(calls + nested + b"R", {}))


def test_a_pickle_of_instructions_without_end_is_refused(tmp_path, alone, monkeypatch):
    from jaxreid.models.weights.files import pickles

    monkeypatch.setattr(pickles, "_MOST_INSTRUCTIONS", 1000)
    many = made.zipped(b"}" * 2000, {})
    assert "more than 1000 instructions" in message_of(tmp_path, many)
    monkeypatch.setattr(pickles, "LONGEST", 1000)
    long = made.mapping({"a": A, "x": made.text("x" * 2000)})
    assert "more than 1000 bytes" in message_of(tmp_path, made.zipped(long, {"0": RAMP.tobytes()}))


@pytest.mark.parametrize(
    ("value", "data", "reason"),
    [
        (made.tensor(made.storage("0", "float32", 12), (5000,), (0,)), RAMP, "claims to be larger"),
        (made.tensor(made.storage("0", "float32", 12), (2,), (12,)), RAMP, "beyond the end"),
        (made.tensor(made.storage("0", "float32", 12), (4,), (1,), offset=9), RAMP, "beyond"),
        (made.tensor(made.storage("0", "float32", 13), (4,), (1,)), RAMP, "beyond the end"),
        (made.tensor(made.storage("1", "float32", 12), (4,), (1,)), RAMP, "truncated or broken"),
    ],
)
def test_tensors_that_lie_about_their_place_are_refused(tmp_path, alone, value, data, reason):
    content = made.mapping({"a": value})
    assert reason in message_of(tmp_path, made.zipped(content, {"0": data.tobytes()}))


def test_many_tensors_cannot_share_one_storage(tmp_path, alone):
    tied = {f"a{index}": A for index in range(3)}
    assert len(read(tmp_path, made.zipped(made.mapping(tied), {"0": RAMP.tobytes()})).tensors) == 3
    many = np.zeros(1 << 12, np.float32)
    tied = {f"a{index}": made.whole("0", many) for index in range(9)}
    message = message_of(tmp_path, made.zipped(made.mapping(tied), {"0": many.tobytes()}))
    assert "unpack to more than 4 times that" in message


def altered(change):
    """A zip of one tensor whose directory says what `change` makes of an entry."""
    content, _ = both(RAMP)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = archive.infolist()
        change(entries)
        buffer = io.BytesIO(content)
        with zipfile.ZipFile(buffer, "a") as target:
            target.filelist[:] = entries
            target._didModify = True
    return buffer.getvalue()


def overlap(entries):
    entries[2].header_offset = entries[1].header_offset


def encrypt(entries):
    entries[2].flag_bits |= 1


def grow(entries):
    entries[2].file_size = entries[2].compress_size = 1 << 40


@pytest.mark.parametrize(
    ("change", "reason"),
    [(overlap, "overlap"), (encrypt, "encrypted"), (grow, "that unpack to 1099511627")],
)
def test_archives_that_lie_are_refused(tmp_path, alone, change, reason):
    assert reason in message_of(tmp_path, altered(change))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_other_archives_are_named(tmp_path, alone):
    content = made.mapping({"a": A})
    data = {"0": RAMP.tobytes()}
    script = made.zipped(content, data, **{"archive/constants.pkl": b"", "archive/code/x.py": b""})
    assert "is a TorchScript file" in message_of(tmp_path, script)
    twice = made.zipped(content, data, **{"archive/data/0": b""})
    assert "two entries of one name" in message_of(tmp_path, twice)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("model/best.pth", b"")
    message = message_of(tmp_path, buffer.getvalue())
    assert "a zip archive of other files than PyTorch's (model/best.pth)" in message


def test_a_whole_network_is_told_from_its_weights(tmp_path, alone):
    network = (
        made.name("mine.net", "Net")
        + b")\x81"
        + made.mapping({"_modules": made.name("torch.nn.modules.conv", "Conv2d")})
    )
    message = message_of(tmp_path, made.zipped(network + b"b", {}))
    assert "it holds a whole network (mine.net.Net) with its code" in message
    assert "torch.save(network.state_dict(), 'weights.pth')" in message


def test_an_optimiser_alone_is_no_network(tmp_path, alone):
    state = made.mapping({"state": b"}" + made.number(0) + made.mapping({"exp_avg": A}) + b"s"})
    state += made.text("param_groups") + b"]s"
    file = made.zipped(made.mapping({"optimizer": state, "epoch": made.number(1)}), {"0": b""})
    message = message_of(tmp_path, file)
    assert "the state of an optimiser (key 'optimizer') and no weights" in message


SMALL = list(both(RAMP[:2]))


@settings(deadline=None, max_examples=60)
@given(which=st.sampled_from(SMALL), at=st.integers(0, 1 << 16), value=st.integers(0, 255))
def test_a_changed_byte_is_no_crash(which, at, value):
    import tempfile
    from pathlib import Path
    from unittest import mock

    at %= len(which)
    with tempfile.TemporaryDirectory() as folder, mock.patch.dict(sys.modules, torch=None):
        path = Path(folder) / "x.pth"
        path.write_bytes(which[:at] + bytes([value]) + which[at + 1 :])
        # Whatever else is raised fails the test.
        with contextlib.suppress(InputError):
            tensors = storage.read(path).tensors
            assert all(isinstance(array, np.ndarray) for array in tensors.values())


@pytest.mark.parametrize("keep", [0.02, 0.3, 0.6, 0.99])
def test_truncated_files_are_called_so(tmp_path, alone, keep):
    for content in both(np.ones((8, 8), np.float32)):
        message = message_of(tmp_path, content[: int(len(content) * keep)])
        assert "truncated or broken" in message


def test_a_file_of_lightning_is_converted_without_pytorch(tmp_path, alone):
    config = models.ResNetConfig(depths=(1,), widths=(4,), stem_width=4)
    model = models.create(config, head="linear", classes=5, rngs=nnx.Rngs(0))
    state = weights.to_state_dict(model)
    keys = {name: str(index) for index, name in enumerate(state)}
    wrapped = {f"model.module.{n}": made.whole(keys[n], v) for n, v in state.items()}
    beside = {"pytorch-lightning_version": made.text("2.1"), "epoch": made.number(3)}
    content = made.mapping({**beside, "state_dict": made.mapping(wrapped)})
    data = {keys[name]: value.tobytes() for name, value in state.items()}
    (tmp_path / "x.ckpt").write_bytes(made.zipped(content, data))
    done = weights.convert(tmp_path / "x.ckpt", tmp_path / "y.safetensors")
    assert done.peeled == ("state_dict", "module.", "model.")
    back = weights.to_state_dict(weights.load(tmp_path / "y.safetensors"))
    assert {n: v.tobytes() for n, v in back.items()} == {n: v.tobytes() for n, v in state.items()}


@pytest.mark.torch
def test_files_made_by_hand_are_pytorchs(tmp_path):
    for content in both(RAMP.reshape(3, 4)):
        np.testing.assert_array_equal(read(tmp_path, content).tensors["a"], RAMP.reshape(3, 4))


@st.composite
def state_dicts(draw):
    import torch

    types = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.uint8]
    rows = [
        torch.arange(24).to(draw(st.sampled_from([*types, torch.bool, torch.complex64])))
        for _ in range(draw(st.integers(1, 3)))
    ]
    views = {
        "whole": lambda row: row,
        "turned": lambda row: row.view(4, 6).t(),
        "window": lambda row: row.view(2, 3, 4)[1:, ::2, 1:3],
        "spread": lambda row: row[:3].expand(2, 3),
        "one": lambda row: row[5],
        "none": lambda row: row[:0],
        "parameter": lambda row: torch.nn.Parameter(row[2:], requires_grad=False),
    }
    names = st.lists(st.sampled_from(sorted(views)), min_size=1, max_size=6)
    return {
        f"{index}.{name}": views[name](draw(st.sampled_from(rows)))
        for index, name in enumerate(draw(names))
    }


@pytest.mark.torch
@settings(deadline=None, max_examples=40)
@given(data=st.data(), is_zip=st.booleans(), key=st.sampled_from([None, "model", "teacher"]))
def test_both_readers_agree(data, is_zip, key):
    import tempfile
    from pathlib import Path

    import torch

    state = data.draw(state_dicts())
    content = {key: state, "map": np.float32(0.5), "epoch": 3} if key else state
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.pth"
        torch.save(content, path, _use_new_zipfile_serialization=is_zip)
        size = path.stat().st_size
        theirs = torch_files.read_torch(path, size)
        ours = torch_files.read_alone(path, size)
    assert (ours.peeled, ours.ignored) == (theirs.peeled, theirs.ignored)
    assert list(ours.tensors) == list(theirs.tensors) == list(state)
    for name, value in theirs.tensors.items():
        got = ours.tensors[name]
        assert (got.dtype, got.shape, got.tobytes()) == (value.dtype, value.shape, value.tobytes())


@pytest.mark.torch
@pytest.mark.parametrize("is_zip", [True, False])
def test_both_readers_refuse_whole_networks_and_foreign_types(tmp_path, is_zip):
    import torch

    path = tmp_path / "x.pth"
    eights = torch.zeros(4).to(torch.float8_e4m3fn)
    sparse = torch.eye(2).to_sparse()
    contents = [torch.nn.Linear(2, 2), {"model": torch.nn.Linear(2, 2)}, {"a": sparse}]
    for content in [*contents, *([{"a": eights}] if is_zip else [])]:
        torch.save(content, path, _use_new_zipfile_serialization=is_zip)
        for reader in (torch_files.read_torch, torch_files.read_alone):
            with pytest.raises(InputError, match=r"x\.pth"):
                reader(path, path.stat().st_size)
