"""What a command settles before it computes: XLA's flags, the cache, devices, other processes."""

import contextlib
import importlib.metadata
import math
import os
import re
import sys
from pathlib import Path
from typing import Any

import click

from jaxreid.cli.parameters import PROCESSES, Command, Whole, add_options
from jaxreid.cli.stopping import die_at_once
from jaxreid.errors import InputError
from jaxreid.processors import usable_processors

__all__ = [
    "CACHE_VARIABLE",
    "cache_folder",
    "connect",
    "devices_of_none",
    "find_devices",
    "no_devices",
    "process_options",
    "set_up_compiler",
]

_EIGEN_IN_TURN = {
    # Eigen computes products: inside an attack's loop YNNPACK is slower.
    "--xla_cpu_experimental_ynn_fusion_type": "",
    # One operation after the other, each on all cores, while its operands are in the cache.
    "--xla_cpu_enable_concurrency_optimized_scheduler": "false",
}

# Release of jaxlib -> flags of XLA's CPU backend that pay there (docs/benchmarks.md, "Attacks").
# XLA ends the process on a flag that it does not know: a release takes a place here once a process
# of it has started with each flag, and was quicker for it; others are left alone.
_FLAGS: dict[str, dict[str, str]] = {
    "0.10": _EIGEN_IN_TURN,
    "0.11": _EIGEN_IN_TURN,
    "0.12": _EIGEN_IN_TURN,
}

_COUNT = "--xla_force_host_platform_device_count"

# Each device holds the weights, and has an equal part of XLA's threads.
_MOST_OF_CPU = 4

_PROCESS_OPTIONS = (
    click.option("--coordinator", metavar="HOST:PORT", help="Of the first of several processes."),
    click.option("--processes", type=PROCESSES, help="How many processes there are."),
    click.option("--process", type=Whole(0, PROCESSES.max), help="Which of them this one is."),
    click.option(
        "--distributed",
        type=click.Choice(["auto", "off"]),
        default="auto",
        show_default=True,
        help="Whether to look for other processes in the environment (Slurm, GKE, TPU).",
    ),
)

CACHE_VARIABLE = "JAX_COMPILATION_CACHE_DIR"
"""The environment variable by which users name the folder; empty for none."""

_LEAST_VARIABLE = "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"


def cache_folder() -> Path | None:
    """The folder of compiled programs; None where the variable is empty, or there is no home."""
    named = os.environ.get(CACHE_VARIABLE)
    if named is not None:
        return Path(named) if named else None
    try:
        return Path("~/.cache/jaxreid").expanduser()
    except RuntimeError:  # a user of a container, with a number and nothing else
        return None


def set_up_compiler() -> None:
    """Decides how JAX compiles, wherever the user did not; before JAX is asked for devices.

    Raises:
        InputError: $XLA_FLAGS holds a word that is neither a flag nor a file of flags. XLA itself
            ends the process on flags that it does not know, after a line that names them (exit 1).
    """
    _check_flags()
    _set_flags()
    _keep_compiled()


def find_devices(*, divide_cpu: bool = False) -> None:
    """Asks JAX for its devices; an InputError if there are none of the kind that is asked for.

    Args:
        divide_cpu: whether a CPU is to be several devices, for a command that splits its rows over
            all devices and lets them wait for each other seldom.
    """
    import jax

    if divide_cpu:
        _divide_cpu()
    try:
        jax.devices()
    except Exception as error:  # an AssertionError, where the platform is not installed
        raise InputError(no_devices(error)) from error


def _divide_cpu() -> None:
    """Lets JAX see a CPU as several devices, unless the user has a word about it.

    XLA runs one operation after the other on all cores, and small ones on a single core; devices
    wait for each other once per batch (docs/scaling.md). They share XLA's threads: what runs on one
    device alone still has all cores. Several processes must have as many devices each, whatever
    machine they run on: they keep one.
    """
    import jax

    flags = os.environ.get("XLA_FLAGS", "")
    decided = jax.config.values["jax_num_cpu_devices"] != -1 or _COUNT in flags
    # What a file of flags says, nobody reads here: it may be the number.
    if decided or _is_file(flags) or jax.distributed.is_initialized():
        return
    # A command before this one, in the same process, may have asked for devices.
    with contextlib.suppress(RuntimeError):
        jax.config.update("jax_num_cpu_devices", math.gcd(usable_processors(), _MOST_OF_CPU))


def _is_file(flags: str) -> bool:
    """Whether XLA reads its flags from a file: the first word, if it is no flag, names that."""
    return bool(flags.strip()) and not flags.lstrip().startswith("--")


def _check_flags() -> None:
    flags = os.environ.get("XLA_FLAGS", "")
    if _is_file(flags) and not os.path.isfile(named := flags.split()[0]):
        raise InputError(f"XLA_FLAGS: expected flags such as --xla_dump_to=DIR, got {named!r}")


def _set_flags() -> None:
    """Sets the flags of XLA's CPU backend that were measured to pay, unless the user set them."""
    release = ".".join(importlib.metadata.version("jaxlib").split(".")[:2])
    known = _FLAGS.get(release)
    flags = os.environ.get("XLA_FLAGS", "")
    if not known or _is_file(flags):
        return  # a release that nobody has measured, or flags that cannot be added to
    ours = [f"{name}={value}" for name, value in known.items() if name not in flags]
    os.environ["XLA_FLAGS"] = " ".join(filter(None, [flags, *ours]))


def _keep_compiled() -> None:
    """Lets JAX keep compiled programs in `cache_folder`, unless the user decided about it.

    A folder that cannot be written to costs a note, and nothing else.
    """
    import jax

    chosen = jax.config.values["jax_compilation_cache_dir"]
    folder = Path(chosen) if chosen and CACHE_VARIABLE not in os.environ else cache_folder()
    if folder is None or "://" in str(chosen):
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK | os.X_OK)
    except OSError:
        writable = False
    if not writable:
        # JAX would warn at every program, and sends what it finds to standard error.
        print(f"note: compiled programs are not kept: cannot write to {folder}", file=sys.stderr)
        jax.config.update("jax_compilation_cache_dir", None)
        return
    if not chosen:
        jax.config.update("jax_compilation_cache_dir", str(folder))
    if _LEAST_VARIABLE not in os.environ:
        # A start of a process compiles hundreds of programs that take less than JAX's second each,
        # to draw weights and to fold them, and together more than the attack.
        jax.config.update(_LEAST_VARIABLE.lower(), 0.0)


def devices_of_none(said: str) -> tuple[str, str] | None:
    """The variable that asks for less than one device of the CPU, and its value.

    Args:
        said: by JAX, which cannot start.

    Returns:
        None where the CPU is not at fault, or no variable is.
    """
    if "backend 'cpu'" not in said:
        return None
    number = os.environ.get("JAX_NUM_CPU_DEVICES", "").strip()
    if re.fullmatch(r"[+-]?0+", number):  # JAX takes what is below as its own -1: nobody's word
        return "JAX_NUM_CPU_DEVICES", number
    said, where = _flags_of_user()
    # XLA takes the last one.
    flags = re.findall(rf"{_COUNT}=(\S+)", said)
    if flags and re.fullmatch(r"[+-]?0+|-\d+", flags[-1]):
        return "XLA_FLAGS", f"{_COUNT}={flags[-1]}{where}"
    return None


def _flags_of_user() -> tuple[str, str]:
    """XLA's flags, and where they stand, for a message, if not in the variable itself."""
    flags = os.environ.get("XLA_FLAGS", "")
    if not _is_file(flags):
        return flags, ""
    name = flags.split()[0]
    try:
        return Path(name).read_text(errors="replace"), f" in {name}"
    except OSError:
        return "", ""


def no_devices(error: Exception) -> str:
    """What JAX says that cannot start, and the way out."""
    none = devices_of_none(str(error))
    if none is not None:
        return f"{none[0]}: expected 1 device of the CPU or more, got {none[1]}"
    said = " ".join(str(error).split()).partition(" (set JAX_PLATFORMS")[0]
    platforms = os.environ.get("JAX_PLATFORMS", "")
    # Where the wanted platform is not installed, JAX fails without a word.
    said = f" ({said})" if said else ""
    if platforms:
        way = f"JAX_PLATFORMS is {platforms!r}: unset it, or set it to cpu"
    else:
        way = "JAX_PLATFORMS=cpu makes do with the CPU"
    return f"JAX finds no device{said}; {way}; `jaxreid doctor` looks at this machine"


def process_options(command: Command) -> Command:
    """Adds the options by which several processes find each other."""
    return add_options(command, _PROCESS_OPTIONS)


def connect(options: dict[str, Any], *, divide_cpu: bool = False) -> None:
    """Connects with the other processes that the options name, if any, and finds the devices."""
    import jax

    from jaxreid.distributed import initialize

    # One process may run several commands, one after the other.
    if not jax.distributed.is_initialized():
        with die_at_once():
            initialize(
                coordinator=options["coordinator"],
                processes=options["processes"],
                process=options["process"],
                mode=options["distributed"],
            )
    find_devices(divide_cpu=divide_cpu)
