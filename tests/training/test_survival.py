"""Runs that are killed, preempted or run out of disk, as real processes of the command line."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import trainings

from jaxreid.errors import InputError
from jaxreid.locks import held
from jaxreid.models import weights
from jaxreid.training.trainer import train

GOAT = {
    "goat.enabled": True,
    "goat.push": 2,
    "goat.pull": 1,
    "checkpoint.every_steps": 3,
    "checkpoint.keep": 50,
    "epochs": 3,
}


BANK = {"goat.push": 2, "goat.guide_bank": True}
PATHS = {"PYTHONPATH": os.pathsep.join([str(trainings.ROOT), *sys.path])}


class Killed(BaseException):
    """What no handler of errors expects, as nothing hears a SIGKILL."""


@pytest.fixture
def environment(compiled):
    return trainings.environment(compiled, devices=2)


def wait_for_step(process, workdir, step):
    until = time.monotonic() + 900  # fails where something hangs, not where it is slow
    while max(trainings.steps(workdir), default=0) < step:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.slow
def test_a_killed_run_ends_as_one_never_killed(tmp_path, tiny_data, environment):
    changes = GOAT | {"dataset.data_dir": tiny_data, "optimizer.ema": 0.9}
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    trainings.finish(trainings.start(whole, changes, env=environment))
    assert trainings.steps(whole) == list(range(1, 31))
    draw = random.Random(5)
    for earliest, latest in ((2, 11), (16, 25)):
        step = draw.randint(earliest, latest)
        process = trainings.start(killed, changes, env=environment, code=trainings.HELD)
        wait_for_step(process, killed, step)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert step <= max(trainings.steps(killed)) < 30
    said = trainings.finish(trainings.start(killed, changes, env=environment))
    assert "going on after step" in said
    for name in ("last.safetensors", "config.json"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes()
    (step, expected, _), (other, found, _) = (
        trainings.last_checkpoint(whole),
        trainings.last_checkpoint(killed),
    )
    assert step == other == 30
    assert expected.arrays.keys() == found.arrays.keys()
    assert sum(name.startswith("optimizer_state") for name in found.arrays) > 20
    for name, array in expected.arrays.items():
        np.testing.assert_array_equal(found.arrays[name], array, err_msg=name)
    assert found.notes == expected.notes
    assert trainings.without_clock(killed) == trainings.without_clock(whole)


@pytest.mark.slow
def test_a_preempted_run_says_75_and_goes_on(tmp_path, tiny_data, environment):
    """With a checkpoint after every step too, where a request is easily missed."""
    changes = GOAT | {"dataset.data_dir": tiny_data, "checkpoint.every_steps": 1, "epochs": 30}
    process = trainings.start(tmp_path, changes, env=environment)
    wait_for_step(process, tmp_path, 2)
    process.send_signal(signal.SIGTERM)
    said = trainings.finish(process, code=75)
    stopped = max(trainings.steps(tmp_path))
    assert f"asked to stop: saved at step {stopped} of 300" in said
    assert 2 <= stopped < 300
    assert trainings.last_checkpoint(tmp_path)[0] == stopped
    process = trainings.start(tmp_path, changes, env=environment)
    wait_for_step(process, tmp_path, stopped + 1)
    process.send_signal(signal.SIGTERM)
    assert f"going on after step {stopped} of 300" in trainings.finish(process, code=75)
    assert trainings.steps(tmp_path) == list(range(1, max(trainings.steps(tmp_path)) + 1))


def in_this_process(workdir, changes, tiny_data, **options):
    return train(trainings.settings({"dataset.data_dir": tiny_data, **changes}), workdir, **options)


@pytest.mark.slow
def test_a_log_goes_on_in_the_middle_of_a_window(tmp_path, tiny_data, monkeypatch, kind):
    """Killed between two lines of the log: every figure of the next line is as if it had not."""
    changes = {"log_every_steps": 4, "checkpoint.every_steps": 3, "epochs": 1}
    in_this_process(tmp_path / "whole", changes, tiny_data)

    def killed(progress):
        # Step 6 is saved in the background, and lies behind the line of step 4.
        if progress.stage == "training" and progress.done == 7:
            raise Killed

    with pytest.raises(Killed):
        in_this_process(tmp_path / "killed", changes, tiny_data, watch=killed)
    assert trainings.steps(tmp_path / "killed") == [4]
    said = []
    in_this_process(tmp_path / "killed", changes, tiny_data, say=said.append)
    assert said[0] == "going on after step 6 of 10"
    whole, again = (trainings.without_clock(tmp_path / run) for run in ("whole", "killed"))
    assert [line["step"] for line in whole] == [4, 8, 10]
    assert again == whole
    kind("train, killed between two lines of its log", "metrics.jsonl as if it had not been")


@pytest.mark.slow
def test_a_mean_of_weights_goes_on_where_it_was(tmp_path, tiny_data):
    """SWA begins after step 5; the run is killed behind the checkpoint of step 6."""
    changes = {"optimizer.swa_from_epoch": 0.5, "checkpoint.every_steps": 3}
    in_this_process(tmp_path / "whole", changes, tiny_data)

    def killed(progress):
        if progress.stage == "training" and progress.done == 8:
            raise Killed

    with pytest.raises(Killed):
        in_this_process(tmp_path / "killed", changes, tiny_data, watch=killed)
    said = []
    in_this_process(tmp_path / "killed", changes, tiny_data, say=said.append)
    assert said[0] == "going on after step 6 of 10"
    whole, again = ((tmp_path / run / "last.safetensors") for run in ("whole", "killed"))
    assert again.read_bytes() == whole.read_bytes()
    arrays = trainings.last_checkpoint(tmp_path / "killed")[1].arrays
    for name, array in trainings.last_checkpoint(tmp_path / "whole")[1].arrays.items():
        np.testing.assert_array_equal(arrays[name], array, err_msg=name)
    # What is saved are the mean and its own statistics.
    model = weights.load(again)
    norm = model.backbone.bn1
    for group, name, own in (
        ("average", "scale", True),
        ("params", "scale", False),
        ("average_stats", "mean", True),
        ("stats", "mean", False),
    ):
        start = f"{group}.backbone.bn1.{name}"
        (array,) = (array for path, array in arrays.items() if path.startswith(start))
        assert np.array_equal(array, getattr(norm, name)[...]) == own, group


@pytest.mark.slow
def test_a_second_run_is_refused_with_the_name_of_the_first(tmp_path, tiny_data, environment, kind):
    changes = {"dataset.data_dir": tiny_data}
    with held(tmp_path):
        said = trainings.finish(trainings.start(tmp_path, changes, env=environment), code=2)
    (line,) = said.splitlines()
    assert line.startswith(f"jaxreid: {tmp_path} is in use by process {os.getpid()} of ")
    assert line.endswith("wait for it to end, or name another folder")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock"]
    kind("train in a work directory where another one runs", line.replace(str(tmp_path), "DIR"))


@pytest.mark.slow
def test_all_processes_of_a_run_are_refused_together(tmp_path, tiny_data, environment):
    changes = {"dataset.data_dir": tiny_data}
    options = ("--coordinator", f"127.0.0.1:{trainings.free_port()}", "--processes", 2)
    with held(tmp_path):
        both = [
            trainings.start(tmp_path, changes, *options, "--process", process, env=environment)
            for process in (0, 1)
        ]
        said = trainings.finish(*both, code=2)
    first, second = (text.splitlines()[-1] for text in said)
    assert first == second
    assert first.startswith(f"jaxreid: {tmp_path} is in use by process {os.getpid()} of ")


@pytest.mark.parametrize("changes", [{}, {"goat.enabled": True} | BANK], ids=["decoding", "bank"])
def test_a_request_before_the_first_step_is_heard_there(tmp_path, tiny_data, changes, kind):
    stage = "bank" if changes else "decoding"

    def ask(progress):
        assert progress.stage != "training"
        if progress.stage == stage:
            signal.raise_signal(signal.SIGTERM)

    said = []
    before = signal.getsignal(signal.SIGTERM)
    outcome = in_this_process(tmp_path, changes, tiny_data, watch=ask, say=said.append)
    assert outcome == (False, 0, None, None, True)
    assert said == ["asked to stop before the first step: still at step 0"]
    assert signal.getsignal(signal.SIGTERM) == before
    assert not (tmp_path / "metrics.jsonl").exists()
    kind("SIGTERM while train reads its data", f"exit 75: {said[0]}")


@pytest.mark.slow
def test_a_request_after_the_last_reading_is_heard_before_compiling(tmp_path, tiny_data):
    def ask(line):
        if line == "going on after step 5 of 10":
            signal.raise_signal(signal.SIGTERM)

    changes = {"checkpoint.every_steps": 5}
    in_this_process(tmp_path, changes, tiny_data)
    (tmp_path / "checkpoints" / "10").rename(tmp_path / "10")
    outcome = in_this_process(tmp_path, changes, tiny_data, say=ask)
    assert outcome[:2] == (False, 5)
    assert trainings.steps(tmp_path) == [1, 2, 3, 4, 5]


def test_a_request_after_the_last_step_is_told(tmp_path, tiny_data):
    def ask(line):
        if "validation mAP" in line:
            signal.raise_signal(signal.SIGTERM)

    changes = {"evaluation.every_epochs": 1}
    outcome = in_this_process(tmp_path, changes, tiny_data, say=ask)
    assert (outcome.finished, outcome.step, outcome.stop_requested) == (True, 10, True)
    assert (tmp_path / "last.safetensors").exists()
    again = in_this_process(tmp_path, changes, tiny_data)
    assert again == outcome._replace(stop_requested=False)


@pytest.mark.slow
def test_what_killed_runs_left_is_cleared_at_the_next_start(tmp_path, tiny_data, kind):
    in_this_process(tmp_path, {}, tiny_data)
    before = sorted(path.name for path in tmp_path.iterdir())
    code = (
        "import os, pathlib; from jaxreid.files import replacing\n"
        f"with replacing(pathlib.Path({str(tmp_path / 'best.safetensors')!r})) as temporary:\n"
        "    temporary.write_bytes(b'half'); temporary.with_name('.tmpXyZ123').touch()\n"
        "    os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run([sys.executable, "-c", code], env=os.environ | PATHS)
    assert killed.returncode == -signal.SIGKILL
    # As earlier versions left them.
    (tmp_path / ".best.safetensors.abcd12_9.part").write_bytes(b"half")
    (tmp_path / ".tmpAbC123").write_bytes((8).to_bytes(8, "little") + b'{"a')
    (tmp_path / "checkpoints" / "11.orbax-checkpoint-tmp").mkdir()
    left = {path.name for path in tmp_path.glob(".*")}
    assert len(left) == 4  # with the lock's file
    (tmp_path / ".tmpNotes1").write_text("of the user")
    in_this_process(tmp_path, {}, tiny_data)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*before, ".tmpNotes1"])
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["10"]
    kind("temporary files of a train that was killed", "gone after the next start")


@pytest.mark.slow
def test_a_damaged_log_keeps_its_good_lines(tmp_path, tiny_data, kind):
    in_this_process(tmp_path, {}, tiny_data)
    log = tmp_path / "metrics.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    bad = [b'{"kind": "train", "step": "3"}\n', b"\xff\xfe\x00\n", b"[" * 5000 + b"\n", b"7\n"]
    log.write_bytes(b"".join(lines[:5] + bad + lines[5:]) + b'{"kind": "tr')
    said = []
    in_this_process(tmp_path, {}, tiny_data, say=said.append)
    assert log.read_bytes() == b"".join(lines)
    assert (tmp_path / "metrics-damaged.jsonl").read_bytes() == b"".join(bad)
    warning = f"warning: 4 damaged lines of {log} were put aside in metrics-damaged.jsonl"
    assert warning in said
    kind("damaged lines in metrics.jsonl", warning.replace(str(tmp_path), "DIR"))
    log.unlink()
    log.mkdir()
    with pytest.raises(InputError, match=r"cannot read .*metrics\.jsonl: Is a directory"):
        in_this_process(tmp_path, {}, tiny_data)


def test_a_name_that_no_checkpoint_can_have_is_refused(tmp_path, tiny_data, kind):
    with pytest.raises(InputError, match="not UTF-8; name another work directory") as refused:
        in_this_process(tmp_path / os.fsdecode(bytes([119, 255])), {}, tiny_data)
    assert list(tmp_path.iterdir()) == []
    kind("a work directory whose name is not UTF-8", str(refused.value).replace(str(tmp_path), ""))


@pytest.mark.slow
def test_a_run_goes_on_before_notes_that_were_changed(tmp_path, tiny_data, kind):
    changes = {"checkpoint.every_steps": 5, "checkpoint.keep": 2}
    in_this_process(tmp_path, changes, tiny_data)
    last = (tmp_path / "last.safetensors").read_bytes()
    notes = tmp_path / "checkpoints" / "10" / "notes" / "metadata"
    notes.write_text(notes.read_text().replace('"next_batch": 10', '"next_batch": 11'))
    said = []
    outcome = in_this_process(tmp_path, changes, tiny_data, say=said.append)
    assert said[0].startswith("warning: checkpoint 10 in ")
    assert "damaged and was put aside: ValueError: the notes have other content" in said[0]
    assert said[1] == "going on after step 5 of 10"
    assert outcome.finished
    assert (tmp_path / "last.safetensors").read_bytes() == last
    kind("notes of a checkpoint that were changed", said[0].replace(str(tmp_path), "DIR"))


# As `jaxreid train`, but it dies without a word when it would log a step after the tenth.
DIES = """
import os
import trainings
from jaxreid.cli import main
from jaxreid.training.monitoring import MetricWriter

write = MetricWriter.write


def until_step_10(self, kind, *, step, **rest):
    if step > 10:
        os._exit(3)
    write(self, kind, step=step, **rest)


MetricWriter.write = until_step_10
trainings.register()
main()
"""
# As `jaxreid train`, but files cannot grow beyond 6 kB: a stand-in for a full disk.
CAPPED = """
import resource
import signal
import trainings
from jaxreid.cli import main
from jaxreid.training import trainer

train = trainer.train


def capped(*arguments, **options):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6_000, 6_000))
    return train(*arguments, **options)


trainer.train = capped
trainings.register()
main()
"""


@pytest.mark.slow
def test_a_run_goes_on_on_other_devices_and_a_full_disk_leaves_what_was_saved(
    tmp_path, tiny_data, compiled, kind
):
    changes = {"dataset.data_dir": tiny_data, "checkpoint.every_steps": 2, "epochs": 2}

    def run(name, devices, code=trainings.COMMAND):
        env = trainings.environment(compiled, devices=devices)
        return trainings.start(tmp_path / name, changes, env=env, code=code)

    trainings.finish(run("four", 4, DIES), code=3)
    saved, before, _ = trainings.last_checkpoint(tmp_path / "four")
    # What was being written when it died may be lost.
    assert saved in (8, 10)
    for name in ("one", "two", "full"):
        shutil.copytree(tmp_path / "four", tmp_path / name)
    running = run("one", 1), run("two", 2)
    full = trainings.finish(run("full", 1, CAPPED), code=1)
    for said in trainings.finish(*running):
        assert f"going on after step {saved} of 20" in said
    one, two = ([line["loss"] for line in trainings.lines(tmp_path / n)] for n in ("one", "two"))
    assert trainings.steps(tmp_path / "one") == list(range(1, 21))
    assert one[:saved] == two[:saved]
    np.testing.assert_allclose(one, two, rtol=1e-4)
    # Last words, not all of them: under load XLA remarks in between that it compiles slowly.
    ours = [line for line in full.splitlines() if line.startswith(("going on", "jaxreid: "))]
    assert "Traceback" not in full
    assert ours[0] == f"going on after step {saved} of 20"
    assert len(ours) == 2
    said = ours[-1]
    assert full.rstrip().endswith(said)
    assert said.startswith("jaxreid: OSError: a checkpoint in ")
    assert "could not be written; those before are whole" in said
    assert "File too large" in said
    kind("a full disk in train", f"exit 1, one line: {said.replace(str(tmp_path), '')}")
    step, after, warnings = trainings.last_checkpoint(tmp_path / "full")
    assert (step, warnings) == (saved, [])
    for name, array in before.arrays.items():
        np.testing.assert_array_equal(after.arrays[name], array)
