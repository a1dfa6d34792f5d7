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
