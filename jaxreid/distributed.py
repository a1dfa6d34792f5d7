"""Several processes, one computation: who they are, from flags or from the cluster they run in.

JAX is imported where it is asked: commands that need none read this module, too.
"""

import contextlib
import importlib.util
import multiprocessing
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from jaxreid.errors import InputError

__all__ = ["Cluster", "detect", "initialize", "is_main_process", "leave"]

# Seconds of silence after which a process is taken for dead, and the others stop.
_HEARTBEAT = 60
# Seconds: processes of a large job start minutes apart (images are pulled, environments loaded).
_INITIALIZATION = 300
# Seconds that a process that failed waits at its exit for the others, which are stuck.
_SHUTDOWN = 60

_FLAGS = ("--coordinator", "--processes", "--process")
_VARIABLES = ("JAXREID_COORDINATOR", "JAXREID_PROCESSES", "JAXREID_PROCESS")


class Cluster(NamedTuple):
    """The processes of a run.

    Attributes:
        coordinator: HOST:PORT where process 0 listens; None where JAX finds out by itself (TPUs).
        processes: how many there are; None likewise.
        process: this one's number, from 0; None likewise.
    """

    coordinator: str | None
    processes: int | None
    process: int | None


def _first_host(nodes: str) -> str:
    """The first of Slurm's list of nodes: gpu[07-09,12]-ib,login1 -> gpu07-ib."""
    match = re.match(r"([^\[,]*)(?:\[([^\],-]+)[^\]]*\]([^,\[]*))?", nodes)
    assert match is not None
    return "".join(part or "" for part in match.groups())


def _slurm(environment: Mapping[str, str]) -> dict[str, str]:
    """What Slurm's `srun` says to a task, by our variables' names; nothing outside of `srun`.

    A batch script without `srun` is one process, however many tasks the job may have: the variables
    of the step count, not those of the job.
    """
    step = {name: environment.get(f"SLURM_{name}", "") for name in ("STEP_NODELIST", "JOB_ID")}
    tasks = environment.get("SLURM_STEP_NUM_TASKS", "1")
    if not all(step.values()) or tasks == "1" or "SLURM_PROCID" not in environment:
        return {}
    # Above the ports that Linux gives to outgoing connections, and the same in all tasks.
    port = 61440 + _whole("SLURM_JOB_ID", step["JOB_ID"]) % 4096
    values = (f"{_first_host(step['STEP_NODELIST'])}:{port}", tasks, environment["SLURM_PROCID"])
    return dict(zip(_VARIABLES, values, strict=True))


def _tpu_hosts(environment: Mapping[str, str]) -> bool:
    """Whether JAX can find out who the other hosts of this TPU are."""
    platforms = environment.get("JAX_PLATFORMS", "tpu")
    if "tpu" not in platforms or importlib.util.find_spec("libtpu") is None:
        return False
    # Google Kubernetes Engine says so in variables, a TPU virtual machine has the chips.
    if "TPU_WORKER_HOSTNAMES" in environment or "TPU_PROCESS_ADDRESSES" in environment:
        return True
    return any(Path("/dev").glob("accel[0-9]*")) or any(Path("/dev/vfio").glob("[0-9]*"))


def _whole(name: str, text: str) -> int:
    # Python reads no number of thousands of digits.
    if not text.isdecimal() or len(text) > 18:
        raise InputError(f"{name} must be a whole number, got {text[:60]!r}")
    return int(text)


def _checked(values: Mapping[str, str]) -> Cluster:
    """Our three variables as a cluster."""
    missing = [name for name in _VARIABLES if name not in values]
    if missing:
        flag = _FLAGS[_VARIABLES.index(missing[0])]
        raise InputError(
            f"{flag} (or {missing[0]}) is missing: --coordinator, --processes and --process are "
            "needed together, and the coordinator is process 0's HOST:PORT"
        )
    coordinator, *counts = (values[name] for name in _VARIABLES)
    processes, process = map(_whole, _FLAGS[1:], counts)
    host, _, port = coordinator.rpartition(":")
    if not host or not (port.isdecimal() and len(port) <= 5 and 0 < int(port) < 65536):
        raise InputError(f"--coordinator must be HOST:PORT, got {coordinator[:80]!r}")
    if not 0 <= process < processes:
        raise InputError(
            f"--process must be from 0 to {processes - 1} (--processes {processes}), got {process}"
            if processes
            else "--processes must be 1 or more, got 0"
        )
    return Cluster(coordinator, processes, process)


def detect(
    coordinator: str | None = None,
    processes: int | None = None,
    process: int | None = None,
    *,
    environment: Mapping[str, str] | None = None,
) -> Cluster | None:
    """Finds out whether this process is one of several; None for a process of its own.

    Each of the three comes from the argument, or else from JAXREID_COORDINATOR, JAXREID_PROCESSES
    and JAXREID_PROCESS, or else from Slurm; without any of these, TPU hosts know by themselves.

    Args:
        coordinator: HOST:PORT of process 0.
        processes: how many there are.
        process: this one's number, from 0.
        environment: `os.environ` by default.
    """
    environment = os.environ if environment is None else environment
    given = dict(zip(_VARIABLES, (coordinator, processes, process), strict=True))
    values = _slurm(environment)
    values |= {name: environment[name] for name in _VARIABLES if environment.get(name)}
    values |= {name: str(value) for name, value in given.items() if value is not None}
    if values:
        cluster = _checked(values)
        return None if cluster.processes == 1 else cluster
    return Cluster(None, None, None) if _tpu_hosts(environment) else None


def initialize(
    coordinator: str | None = None,
    processes: int | None = None,
    process: int | None = None,
    mode: Literal["auto", "off"] = "auto",
) -> None:
    """Connects this process with the others of its run, if there are any; arguments as in `detect`.

    Must come before anything that asks JAX for devices. If the others do not come within 5 minutes,
    or when one of them dies later, JAX ends this process (SIGABRT) within about a minute, with a
    message that names the missing one. With mode "off" it is one process whatever the environment
    says.
    """
    if mode == "off":
        if (coordinator, processes, process) != (None, None, None):
            raise InputError("--distributed off goes without --coordinator, --processes, --process")
        return
    if mode != "auto":
        raise InputError(f"--distributed must be auto or off, got {mode!r}")
    cluster = detect(coordinator, processes, process)
    if cluster is None:
        return
    import jax

    # Of no effect where the devices are no CPUs.
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    # It would swallow SIGTERM; the training loop listens to it itself.
    jax.config.update("jax_enable_preemption_service", False)
    options: dict[str, Any] = {}
    if cluster.coordinator is not None:
        # JAX's own look at Slurm would leave each task one GPU; ours keep what Slurm shows them.
        options = {
            "coordinator_address": cluster.coordinator,
            "num_processes": cluster.processes,
            "process_id": cluster.process,
            "cluster_detection_method": "deactivate",
        }
    # JAX ends a process that waits in vain, without a chance to say where it waited.
    print(f"jaxreid: {_described(cluster)}", file=sys.stderr, flush=True)
    jax.distributed.initialize(
        **options,
        initialization_timeout=_INITIALIZATION,
        heartbeat_timeout_seconds=_HEARTBEAT,
        shutdown_timeout_seconds=_SHUTDOWN,
    )


def _described(cluster: Cluster) -> str:
    if cluster.coordinator is None:
        return f"asks the TPU for its hosts and waits up to {_INITIALIZATION} s for them"
    return (
        f"process {cluster.process} of {cluster.processes} waits up to {_INITIALIZATION} s for the "
        f"others at {cluster.coordinator}"
    )


def leave(code: int) -> None:
    """Ends this process at once with an exit code once JAX is imported; returns before.

    An ordinary end waits for the other processes, which may be waiting for this one's part of a
    sum, and gives up after a minute with an exit code of its own; and it takes XLA apart while
    threads of it are still at work, which has ended in segmentation faults.

    Args:
        code: the exit code.
    """
    if "jax" not in sys.modules:
        return
    # Those that read data; an ordinary end stops them as well.
    for child in multiprocessing.active_children():
        child.terminate()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def is_main_process() -> bool:
    """Whether this process speaks and writes for all of the run: ``process_index == 0``."""
    import jax

    return jax.process_index() == 0
