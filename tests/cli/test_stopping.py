"""Signals that come at any time: one line, a code, and what was begun is cleaned up."""

import gc
import os
import signal
import sys
import threading
import time
import weakref

import pytest
from commands import ended, start

from jaxreid.cli import main
from jaxreid.cli.stopping import Stopped, die_at_once, stop_signals

# `jaxreid`, which sends itself a signal when a module is about to be imported. A shell in the
# background starts processes that ignore some: they are set to what a terminal gives.
AT_IMPORT = """
import os, signal, sys

number, when = getattr(signal, sys.argv.pop(1)), sys.argv.pop(1)
for name in ("SIGTERM", "SIGHUP"):
    signal.signal(getattr(signal, name), signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)


class Sender:
    sent = False

    def find_spec(self, name, path=None, target=None):
        if name == when and not self.sent:
            Sender.sent = True
            os.kill(os.getpid(), number)


sys.meta_path.insert(0, Sender())
from jaxreid.cli import main

main()
"""
MODEL = ("nowhere:embed", "--dataset", "market1501", "--out", "out")
EVALUATE, ATTACK = ("evaluate", *MODEL), ("attack", *MODEL)
TRAIN = ("train", "--config", "synthetic", "--workdir", "work")
LEAGUE, RANKING = ("benchmark", "defenses", "--out", "league"), ("benchmark", "ranking")
GOES_ON = "jaxreid: asked to stop (SIGTERM); the same command goes on"


@pytest.fixture
def usual():
    """The dispositions that a process starts with, whoever started this one."""
    gc.collect()  # of other tests, whose destructors may drop an exception without a word
    numbers = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
    before = {number: signal.getsignal(number) for number in numbers}
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, found in before.items():
        signal.signal(number, found)


@pytest.mark.parametrize(
    ("words", "name", "module", "code", "line"),
    [
        (EVALUATE, "SIGTERM", "click", 75, GOES_ON),
        # Imported by modules that are written in C, which print exceptions and make others of them.
        (EVALUATE, "SIGTERM", "numpy", 75, GOES_ON),
        (EVALUATE, "SIGINT", "numpy.linalg", 1, "jaxreid: interrupted"),
        (ATTACK, "SIGTERM", "jax", 75, GOES_ON.replace("goes on", "begins again")),
        (TRAIN, "SIGTERM", "jaxreid.training.trainer", 75, GOES_ON),
        (TRAIN, "SIGHUP", "jax", 75, GOES_ON.replace("TERM", "HUP")),
        (LEAGUE, "SIGTERM", "jaxreid.benchmark.league.defenses", 75, GOES_ON),
        (
            ("benchmark", "ranking"),
            "SIGTERM",
            "jax",
            75,
            GOES_ON.replace("goes on", "begins again"),
        ),
        (("doctor",), "SIGINT", "click", 1, "jaxreid: interrupted"),
    ],
)
def test_in_the_first_seconds(tmp_path, kind, words, name, module, code, line):
    process = start(name, module, *words, script=AT_IMPORT, data="", cache="", cwd=tmp_path)
    found, out, err = ended(process)
    assert (found, out, err.strip()) == (code, "", line)
    assert list(tmp_path.iterdir()) == []
    kind(f"{name} while {words[0]} imports {module}", f"exit {code}: {line}")


def test_a_caller_in_this_process_keeps_its_signals(usual):
    with pytest.raises(SystemExit):
        main(["--version"])
    with pytest.raises(SystemExit):
        main(["attak"])
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_it_is_an_exception_and_then_forgotten(usual, name):
    def run():
        with stop_signals() as come:
            seen.append(come)
            try:
                os.kill(os.getpid(), number)
                time.sleep(60)
            finally:
                # A second one ends the process.
                seen.append(signal.getsignal(number))

    seen, number = [], getattr(signal, name)
    with pytest.raises(Stopped):
        run()
    assert (seen[0].name, seen[1]) == (name, signal.SIG_DFL)
    assert signal.getsignal(number) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_is_ignored_or_heard_already_stays_so(usual):
    def mine(*_):
        heard.append(True)

    heard = []
    signal.signal(signal.SIGTERM, mine)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with stop_signals() as come:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            os.kill(os.getpid(), number)
    assert (come.name, heard) == ("", [True])
    assert signal.getsignal(signal.SIGTERM) is mine


def test_a_destructor_does_not_swallow_it(usual, capfd):
    class Late:
        def __del__(self):
            os.kill(os.getpid(), signal.SIGTERM)
            gone.append(True)

    def run():
        with stop_signals():
            late = Late()
            del late
            gc.collect()
            assert gone == [True]
            time.sleep(60)

    gone = []
    with pytest.raises(Stopped):
        run()
    assert "ignored" not in capfd.readouterr().err


def test_a_callback_of_a_weak_reference_does_not_swallow_it(usual, capfd):
    class Late:
        pass

    def finish():
        gone.append(True)
        os.kill(os.getpid(), signal.SIGTERM)

    def run():
        with stop_signals():
            late = Late()
            weakref.finalize(late, finish)
            del late
            gc.collect()
            time.sleep(60)

    gone = []
    with pytest.raises(Stopped):
        run()
    assert gone == [True]
    assert "ignored" not in capfd.readouterr().err


def test_a_callback_of_the_garbage_collector_does_not_swallow_it(usual, capfd):
    def callback(phase, info):
        if not gone:
            gone.append(True)
            os.kill(os.getpid(), signal.SIGTERM)

    def run():
        with stop_signals():
            gc.collect()
            assert gone == [True]
            time.sleep(60)

    gone = []
    gc.callbacks.append(callback)
    try:
        with pytest.raises(Stopped):
            run()
    finally:
        gc.callbacks.remove(callback)
    assert "ignored" not in capfd.readouterr().err


def test_a_hook_that_came_meanwhile_stays_when_signals_are_given_back(usual, monkeypatch):
    def meanwhile(args):
        below(args)
        heard.append("meanwhile")

    def run():
        nonlocal below
        with stop_signals():
            below = sys.unraisablehook
            sys.unraisablehook = meanwhile
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)

    def dropped(error):
        def callback(_):
            raise error

        thing = type("Thing", (), {})()
        held = weakref.ref(thing, callback)
        del thing
        return held

    heard, below = [], None
    monkeypatch.setattr(sys, "unraisablehook", lambda args: heard.append(str(args.exc_value)))
    first = sys.unraisablehook
    with stop_signals():
        pass
    assert sys.unraisablehook is first
    with pytest.raises(Stopped) as asked:
        run()
    assert sys.unraisablehook is meanwhile
    dropped(ValueError("another's"))
    # What asked to stop is over: nobody sends it again.
    dropped(asked.value)
    assert heard == ["another's", "meanwhile", "SIGTERM", "meanwhile"]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_other_threads_hear_nothing(usual):
    def listen():
        with stop_signals(), die_at_once():
            found.append(signal.getsignal(signal.SIGTERM))

    found = []
    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert found == [signal.SIG_DFL]


def test_a_wait_that_hears_nothing_is_ended_by_the_system(usual):
    with stop_signals():
        ours = signal.getsignal(signal.SIGTERM)
        with die_at_once():
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
            assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
        assert signal.getsignal(signal.SIGTERM) is ours
