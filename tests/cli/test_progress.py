"""Progress where there is no terminal: lines, also while there is nothing to count."""

import time

from jaxreid.cli import progress


def test_silence_is_broken_while_a_program_compiles(monkeypatch, capsys):
    monkeypatch.setattr(progress, "_SILENT_SECONDS", 0.0)
    with progress.progress_bars() as bars:
        bars("attacks", 0, 1200)
        until = time.monotonic() + 30
        said = ""
        while "still at work" not in said and time.monotonic() < until:
            time.sleep(0.05)
            said += capsys.readouterr().err
    assert "attacks 0 of 1,200: still at work" in said


def test_nothing_is_added_where_lines_come_anyway(capsys):
    bars = progress.Bars(None, lines=True)
    bars.beat()
    assert not capsys.readouterr().err


def test_work_that_is_counted_is_no_silence(monkeypatch):
    monkeypatch.setattr(progress, "_SILENT_SECONDS", 1.0)
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    said = []
    bars = progress.Bars(None, lines=True)
    bars.say = said.append
    for done in range(10):
        now[0] += 0.9
        bars("attacks", done, 10)
        bars.beat()
    assert said == []
    now[0] += 1
    bars.beat()
    assert said == ["attacks 9 of 10: still at work, or compiling, for 1 s"]
