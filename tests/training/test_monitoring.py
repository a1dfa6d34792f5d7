"""metrics.jsonl, with no line of a future that was taken back, and TensorBoard's files.

These are read by the definition of their format.
"""

import json
import math
import struct

import pytest
from tensorboardX.proto.event_pb2 import Event, SessionLog

from jaxreid.training.monitoring import MetricWriter, WindowMeans


def read(folder):
    text = (folder / "metrics.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_lines_and_what_is_taken_back(tmp_path):
    with MetricWriter(tmp_path, step=0) as writer:
        for step in range(1, 6):
            writer.write("train", step=step, epoch=step / 3, metrics={"loss": 1 / step})
        writer.write("evaluation", step=5, epoch=5 / 3, metrics={"rank1": math.nan})
    assert read(tmp_path)[1] == {"kind": "train", "step": 2, "epoch": 0.6667, "loss": 0.5}
    assert read(tmp_path)[-1] == {"kind": "evaluation", "step": 5, "epoch": 1.6667, "rank1": None}
    with (tmp_path / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"kind": "train", "step": 3, "lo')
    with MetricWriter(tmp_path, step=3) as writer:
        assert [line["step"] for line in read(tmp_path)] == [1, 2, 3]
        writer.write("train", step=4, epoch=4 / 3, metrics={"loss": 9.0})
    assert [line.get("loss") for line in read(tmp_path)] == [1.0, 0.5, 1 / 3, 9.0]
    assert list((tmp_path / "tensorboard").iterdir())
    with MetricWriter(tmp_path, step=0):
        assert read(tmp_path) == []


def test_windows_are_means():
    window = WindowMeans()
    assert window.take() == {}
    window.add({"loss": 1})
    window.add({"loss": 4.0})
    assert window.take() == {"loss": 2.5}
    assert window.take() == {}


def test_a_window_goes_on_to_the_bit():
    metrics = [{"loss": 0.1 * i, "norm": 1 / (3 + i)} for i in range(7)]
    whole, before = WindowMeans(), WindowMeans()
    for step in metrics:
        whole.add(step)
    for step in metrics[:3]:
        before.add(step)
    after = WindowMeans(json.loads(json.dumps(before.sums())))
    for step in metrics[3:]:
        after.add(step)
    assert after.take() == whole.take()
    assert after.sums() == WindowMeans().sums()


def test_damaged_lines_are_put_aside(tmp_path):
    good = [b'{"kind": "train", "step": %d, "loss": 0.10}' % step for step in (1, 2, 3)]
    damaged = [b"\xff\xfe", b"[]", b'{"kind": "train", "step": true}', b"[" * 9999, b'"step"']
    path = tmp_path / "metrics.jsonl"
    # The last line lacks nothing but its line break.
    path.write_bytes(b"\n".join([good[0], *damaged, good[1], b"", good[2]]))
    told = []
    with MetricWriter(tmp_path, step=3, warn=told.append):
        pass
    assert path.read_bytes().splitlines() == good
    assert (tmp_path / "metrics-damaged.jsonl").read_bytes().splitlines() == damaged
    assert told == [f"warning: 5 damaged lines of {path} were put aside in metrics-damaged.jsonl"]
    with MetricWriter(tmp_path, step=2, warn=told.append):
        pass
    assert path.read_bytes().splitlines() == good[:2]
    assert len(told) == 1


def crc32c(content):
    """Castagnoli's, bit by bit: the reflected polynomial 0x82F63B78."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(content):
    crc = crc32c(content)
    return ((crc >> 15 | crc << 17 & 0xFFFFFFFF) + 0xA282EAD8) & 0xFFFFFFFF


def events(path):
    content, found = path.read_bytes(), []
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        event = content[12 : 12 + length]
        checks = struct.unpack("<I", content[8:12]) + struct.unpack_from("<I", content, 12 + length)
        assert checks == (masked(content[:8]), masked(event))
        found.append(Event.FromString(event))
        content = content[16 + length :]
    return found


def test_events_are_on_disk_when_the_call_returns(tmp_path):
    assert crc32c(b"123456789") == 0xE3069283
    writer = MetricWriter(tmp_path, step=3)
    writer.write("train", step=4, epoch=0.5, metrics={"loss": 0.5, "learning_rate": 0.25})
    (path,) = (tmp_path / "tensorboard").iterdir()
    version, start, metrics = events(path)
    assert version.file_version == "brain.Event:2"
    # What earlier files say of step 4 and later ones is hidden.
    assert (start.step, start.session_log.status) == (4, SessionLog.START)
    assert metrics.step == 4
    assert {value.tag: value.simple_value for value in metrics.summary.value} == {
        "train/loss": 0.5,
        "train/learning_rate": 0.25,
    }


def test_a_run_that_goes_on_writes_a_file_of_its_own_behind_the_others(tmp_path):
    for step in (0, 4):
        MetricWriter(tmp_path, step=step)
    first, second = sorted((tmp_path / "tensorboard").iterdir())
    assert [events(path)[1].step for path in (first, second)] == [1, 5]


def test_a_full_disk_is_raised_where_it_is_met(tmp_path, monkeypatch):
    writer = MetricWriter(tmp_path, step=0)

    def full(path, content):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("jaxreid.training.monitoring.append", full)
    with pytest.raises(OSError, match="No space left on device"):
        writer.write("train", step=1, epoch=0.5, metrics={"loss": 1.0})
