"""Who a process is: flags, variables, Slurm, TPUs, in this order; what is missing is named."""

import multiprocessing
import os
import sys
from types import SimpleNamespace

import jax
import pytest

from jaxreid import distributed
from jaxreid.distributed import Cluster, detect, initialize, leave
from jaxreid.errors import InputError

OURS = {
    "JAXREID_COORDINATOR": "ten:1234",
    "JAXREID_PROCESSES": "4",
    "JAXREID_PROCESS": "3",
}
SLURM = {
    "SLURM_JOB_ID": "4097",
    "SLURM_NTASKS": "8",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_STEP_NODELIST": "gpu[07-09,12]",
    "SLURM_PROCID": "5",
}


def test_alone_is_the_default():
    assert detect(environment={}) is None


def test_flags_variables_and_slurm_in_this_order():
    assert detect("one:99", 2, 1, environment=OURS | SLURM) == Cluster("one:99", 2, 1)
    assert detect(environment=OURS | SLURM) == Cluster("ten:1234", 4, 3)
    assert detect(process=0, environment=OURS) == Cluster("ten:1234", 4, 0)
    assert detect(environment=SLURM) == Cluster("gpu07:61441", 8, 5)
    assert detect("other:5", environment=SLURM) == Cluster("other:5", 8, 5)


def test_one_process_needs_no_others():
    assert detect("one:99", 1, 0, environment={}) is None
    assert detect(environment=SLURM | {"SLURM_STEP_NUM_TASKS": "1"}) is None


def test_a_batch_script_without_srun_is_one_process():
    batch = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "8", "SLURM_PROCID": "0"}
    assert detect(environment=batch) is None


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("localhost", "localhost"),
        ("a,b", "a"),
        ("gpu[07-09,12],b", "gpu07"),
        ("gpu[3,5]", "gpu3"),
        ("rack1-gpu[08-12]-ib", "rack1-gpu08-ib"),
        ("login,gpu[1-2]", "login"),
    ],
)
def test_the_first_of_slurms_nodes(nodes, first):
    cluster = detect(environment=SLURM | {"SLURM_STEP_NODELIST": nodes})
    assert cluster.coordinator == f"{first}:61441"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("one:99", None, None), r"--processes \(or JAXREID_PROCESSES\) is missing"),
        (("one:99", 2, None), r"--process \(or JAXREID_PROCESS\) is missing"),
        ((None, 2, 1), r"--coordinator \(or JAXREID_COORDINATOR\) is missing"),
        (("one", 2, 1), "--coordinator must be HOST:PORT, got 'one'"),
        (("one:port", 2, 1), "--coordinator must be HOST:PORT"),
        (("one:99999", 2, 1), "--coordinator must be HOST:PORT"),
        (("one:99", 2, 2), r"--process must be from 0 to 1 \(--processes 2\), got 2"),
        (("one:99", 2, -1), "--process must be a whole number, got '-1'"),
        (("one:99", 0, 0), "--processes must be 1 or more, got 0"),
    ],
)
def test_what_is_missing_or_wrong_is_named(given, told):
    with pytest.raises(InputError, match=told):
        detect(*given, environment={})


def test_variables_are_checked_like_flags():
    with pytest.raises(InputError, match="--processes must be a whole number, got 'two'"):
        detect(environment=OURS | {"JAXREID_PROCESSES": "two"})
    long = 5000 * "9"
    with pytest.raises(InputError, match="--processes must be a whole number, got '999"):
        detect(environment=OURS | {"JAXREID_PROCESSES": long})
    with pytest.raises(InputError, match="--coordinator must be HOST:PORT, got 'one:999"):
        detect(f"one:{long}", 2, 1, environment={})
    with pytest.raises(InputError, match="SLURM_JOB_ID must be a whole number, got 'odd'"):
        detect(environment=SLURM | {"SLURM_JOB_ID": "odd"})


def test_tpu_hosts_know_by_themselves(monkeypatch):
    monkeypatch.setattr(distributed.importlib.util, "find_spec", lambda name: name == "libtpu")
    gke = {"TPU_WORKER_HOSTNAMES": "a,b", "TPU_WORKER_ID": "1"}
    assert detect(environment=gke) == Cluster(None, None, None)
    assert detect(environment=gke | OURS) == Cluster("ten:1234", 4, 3)
    assert detect(environment=gke | {"JAX_PLATFORMS": "cpu"}) is None
    monkeypatch.setattr(distributed.importlib.util, "find_spec", lambda name: None)
    assert detect(environment=gke) is None


@pytest.fixture
def calls(monkeypatch):
    """Arguments of jax.distributed.initialize, which does nothing."""
    made = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda **options: made.append(options))
    monkeypatch.setattr(jax.config, "update", lambda name, value: made.append((name, value)))
    for name in (*OURS, *SLURM):
        monkeypatch.delenv(name, raising=False)
    return made


def test_initialize_tells_jax_everything(calls, capsys):
    initialize("127.0.0.1:5000", 2, 1)
    assert ("jax_cpu_collectives_implementation", "gloo") in calls
    assert calls[-1] == {
        "coordinator_address": "127.0.0.1:5000",
        "num_processes": 2,
        "process_id": 1,
        "cluster_detection_method": "deactivate",
        "initialization_timeout": 300,
        "heartbeat_timeout_seconds": 60,
        "shutdown_timeout_seconds": 60,
    }
    assert capsys.readouterr().err == (
        "jaxreid: process 1 of 2 waits up to 300 s for the others at 127.0.0.1:5000\n"
    )


def test_initialize_leaves_tpus_to_jax(calls, monkeypatch):
    monkeypatch.setattr(distributed, "_tpu_hosts", lambda environment: True)
    initialize()
    assert "coordinator_address" not in calls[-1]
    assert calls[-1]["heartbeat_timeout_seconds"] == 60


def test_initialize_does_nothing_for_one_process(calls, monkeypatch):
    initialize()
    for name, value in OURS.items():
        monkeypatch.setenv(name, value)
    initialize(mode="off")
    assert calls == []
    initialize()
    assert calls[-1]["process_id"] == 3


def test_initialize_refuses_contradictions(calls):
    with pytest.raises(InputError, match="--distributed off goes without --coordinator"):
        initialize("one:99", mode="off")
    with pytest.raises(InputError, match="--distributed must be auto or off, got 'maybe'"):
        initialize(mode="maybe")
    assert calls == []


@pytest.mark.parametrize("imported", [True, False])
def test_who_leaves_waits_for_nothing_of_jax(monkeypatch, imported):
    codes, ended = [], []
    child = SimpleNamespace(terminate=lambda: ended.append("child"))
    monkeypatch.setattr(multiprocessing, "active_children", lambda: [child])
    monkeypatch.setattr(os, "_exit", codes.append)
    if not imported:
        monkeypatch.delitem(sys.modules, "jax")
    leave(75)
    assert (codes, ended) == (([75], ["child"]) if imported else ([], []))
