"""metrics.jsonl: one line per window, and none of a future that was taken back."""

import json
import math

from jaxreid.training.logbook import Logbook, Windowed


def read(folder):
    text = (folder / "metrics.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_lines_and_what_is_taken_back(tmp_path):
    with Logbook(tmp_path, step=0) as book:
        for step in range(1, 6):
            book.write("train", step=step, epoch=step / 3, figures={"loss": 1 / step})
        book.write("evaluation", step=5, epoch=5 / 3, figures={"rank1": math.nan})
    assert read(tmp_path)[1] == {"kind": "train", "step": 2, "epoch": 0.6667, "loss": 0.5}
    assert read(tmp_path)[-1] == {"kind": "evaluation", "step": 5, "epoch": 1.6667, "rank1": None}
    with (tmp_path / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"kind": "train", "step": 3, "lo')
    with Logbook(tmp_path, step=3) as book:
        assert [line["step"] for line in read(tmp_path)] == [1, 2, 3]
        book.write("train", step=4, epoch=4 / 3, figures={"loss": 9.0})
    assert [line.get("loss") for line in read(tmp_path)] == [1.0, 0.5, 1 / 3, 9.0]
    assert list((tmp_path / "tensorboard").iterdir())
    with Logbook(tmp_path, step=0):
        assert read(tmp_path) == []


def test_windows_are_means():
    window = Windowed()
    assert window.take() == {}
    window.add({"loss": 1})
    window.add({"loss": 4.0})
    assert window.take() == {"loss": 2.5}
    assert window.take() == {}


def test_a_window_goes_on_to_the_bit():
    figures = [{"loss": 0.1 * i, "norm": 1 / (3 + i)} for i in range(7)]
    whole, before = Windowed(), Windowed()
    for step in figures:
        whole.add(step)
    for step in figures[:3]:
        before.add(step)
    after = Windowed(json.loads(json.dumps(before.sums())))
    for step in figures[3:]:
        after.add(step)
    assert after.take() == whole.take()
    assert after.sums() == Windowed().sums()


def test_damaged_lines_are_put_aside(tmp_path):
    good = [b'{"kind": "train", "step": %d, "loss": 0.10}' % step for step in (1, 2, 3)]
    damaged = [b"\xff\xfe", b"[]", b'{"kind": "train", "step": true}', b"[" * 9999, b'"step"']
    path = tmp_path / "metrics.jsonl"
    # The last line lacks nothing but its line break.
    path.write_bytes(b"\n".join([good[0], *damaged, good[1], b"", good[2]]))
    told = []
    with Logbook(tmp_path, step=3, warn=told.append):
        pass
    assert path.read_bytes().splitlines() == good
    assert (tmp_path / "metrics-damaged.jsonl").read_bytes().splitlines() == damaged
    assert told == [f"warning: 5 damaged lines of {path} were put aside in metrics-damaged.jsonl"]
    with Logbook(tmp_path, step=2, warn=told.append):
        pass
    assert path.read_bytes().splitlines() == good[:2]
    assert len(told) == 1
