"""Progress where there is no terminal: lines, also while there is nothing to count."""

import time

import pytest

from jaxreid.cli import progress


@pytest.fixture
def lines(monkeypatch):
    """Bars as lines, the time that they are told, and what they said."""
    now, said = [100.0], []
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    bars = progress.Bars(None, lines=True)
    bars._print = said.append
    return bars, now, said


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


def test_work_that_is_counted_is_no_silence(monkeypatch, lines):
    bars, now, said = lines
    monkeypatch.setattr(progress, "_SILENT_SECONDS", 1.0)
    for done in range(10):
        now[0] += 0.9
        bars("attacks", done, 10)
        bars.beat()
    assert said == []
    now[0] += 1
    bars.beat()
    assert said == ["attacks 9 of 10: still at work, or compiling, for 1 s"]


def test_a_long_silence_is_told_whole_and_more_and_more_rarely(lines):
    bars, now, said = lines
    bars("compiling", 0, 1)
    for _ in range(200):
        now[0] += 1
        bars.beat()
    at_work = "compiling 0 of 1: still at work, or compiling, for"
    assert said == [f"{at_work} {seconds} s" for seconds in (15, 30, 60, 120, 180)]
    bars.say("compiled")
    now[0] += 15
    bars.beat()
    assert said[5:] == ["compiled", f"{at_work} 15 s"]


def test_the_same_kind_of_work_begins_anew(lines):
    bars, now, said = lines
    for done in (0, 10):
        bars("training", done, 10)
        now[0] += 1000
    bars("training", 1, 10)
    now[0] += 60
    bars("training", 2, 10)
    # One step of the second training took a minute, and eight are left.
    assert said == ["training 10 of 10, 0 min left", "training 2 of 10, at most 8 min left"]


def test_what_compiles_first_does_not_tell_the_speed(lines):
    bars, now, said = lines
    bars("training", 40, 100)
    for done, seconds in ((41, 50), (42, 6), (46, 24)):
        now[0] += seconds
        bars("training", done, 100)
    # The last five steps took six seconds each, and 54 are left.
    assert said == ["training 41 of 100, at most 49 min left", "training 46 of 100, 5 min left"]


def test_a_bar_begins_anew():
    from rich.console import Console
    from rich.progress import Progress

    shown = Progress(console=Console(quiet=True))
    bars = progress.Bars(shown)
    for done in (0, 10, 1, 2):
        bars("training", done, 10)
    (task,) = shown.tasks
    assert (task.completed, task.finished) == (2, False)
