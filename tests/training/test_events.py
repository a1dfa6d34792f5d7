"""TensorBoard's files, read by the definition of their format."""

import struct

import pytest
from tensorboardX.proto.event_pb2 import Event, SessionLog

from jaxreid.training.events import Events


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


def test_figures_are_on_disk_when_the_call_returns(tmp_path):
    assert crc32c(b"123456789") == 0xE3069283
    book = Events(tmp_path / "tensorboard", purge_step=4)
    book.add(4, {"train/loss": 0.5, "train/learning_rate": 0.25})
    (path,) = (tmp_path / "tensorboard").iterdir()
    version, start, figures = events(path)
    assert version.file_version == "brain.Event:2"
    # What earlier files say of step 4 and later ones is hidden.
    assert (start.step, start.session_log.status) == (4, SessionLog.START)
    assert figures.step == 4
    assert {value.tag: value.simple_value for value in figures.summary.value} == {
        "train/loss": 0.5,
        "train/learning_rate": 0.25,
    }


def test_a_run_that_goes_on_writes_a_file_of_its_own_behind_the_others(tmp_path):
    for step in (1, 5):
        Events(tmp_path, purge_step=step)
    first, second = sorted(tmp_path.iterdir())
    assert [events(path)[1].step for path in (first, second)] == [1, 5]


def test_a_full_disk_is_raised_where_it_is_met(tmp_path, monkeypatch):
    book = Events(tmp_path, purge_step=1)

    def full(path, content):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("jaxreid.training.events.append", full)
    with pytest.raises(OSError, match="No space left on device"):
        book.add(1, {"loss": 1.0})
