"""What `jaxreid doctor` finds out: software, devices, machine, storage and datasets.

Each check gives findings and never raises: a broken machine is what this is for.
"""

import dataclasses
import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from packaging.requirements import Requirement

from jaxreid.cli.backend import CACHE_VARIABLE, cache_folder, devices_of_none
from jaxreid.data import default_data_dir, open_split, prepared_folder
from jaxreid.data.catalogue import DATASETS
from jaxreid.data.prepare.report import read_report
from jaxreid.errors import InputError, reason_of
from jaxreid.processors import usable_processors

__all__ = ["Finding", "datasets", "devices", "machine", "software", "storage"]

_GIB = 1 << 30
_NEEDED_BYTES = _GIB // 4  # the synthetic default, a training run and its report
_COMFORTABLE_BYTES = 5 * _GIB  # several ResNet-50 checkpoints with their optimiser states
_DEVICE_SECONDS = 120
# https://docs.nvidia.com/cuda/cuda-toolkit-release-notes/: what jaxreid[cuda] needs.
_CUDA13_DRIVER = 580

_PIP = f"{sys.executable} -m pip install"

_ASK_JAX = """
import json, jax
print(json.dumps({
    "backend": jax.default_backend(),
    "processes": jax.process_count(),
    "devices": [f"{d.platform}:{d.id} {d.device_kind}" for d in jax.local_devices()],
}))
"""


@dataclass(frozen=True)
class Finding:
    """What a check found, as text for people and as facts for programs, and what to do about it.

    The state is "note" where something could be better, and "broken" where `jaxreid quickstart`
    cannot run.
    """

    name: str
    state: Literal["ok", "note", "broken"]
    text: str
    remedy: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


def software() -> Iterator[Finding]:
    """Compares Python and the packages with what this version of jaxreid asks for."""
    facts = {"version": platform.python_version(), "executable": sys.executable}
    yield Finding("python", "ok", f"{platform.python_version()} ({sys.executable})", facts=facts)
    for text in importlib.metadata.requires("jaxreid") or []:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield _package(requirement)
    found, needless = _version("torch"), "absent: only PyTorch's own checkpoint files need it"
    remedy = "" if found else f"{_PIP} 'jaxreid[torch]'"
    yield Finding("torch", "ok", found or needless, remedy, {"version": found})


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _package(requirement: Requirement) -> Finding:
    found, name = _version(requirement.name), requirement.name
    facts = {"version": found, "needed": str(requirement.specifier)}
    if found is not None and requirement.specifier.contains(found, prereleases=True):
        return Finding(name, "ok", found, facts=facts)
    text = f"{found or 'missing'}; expected {requirement.specifier or 'any version'}"
    plain = f"{name}{requirement.specifier}"
    return Finding(name, "broken", text, f"{_PIP} --upgrade '{plain}'", facts=facts)


def devices() -> Iterator[Finding]:
    """Asks JAX for its devices, in a process of its own, and looks for accelerators it misses."""
    try:
        asked = subprocess.run(
            [sys.executable, "-c", _ASK_JAX],
            capture_output=True,
            text=True,
            timeout=_DEVICE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        yield Finding(
            "jax",
            "broken",
            f"no device answers within {_DEVICE_SECONDS} s; another process may hold it",
            "JAX_PLATFORMS=cpu jaxreid doctor  # tells whether the device is at fault",
        )
        return
    lines = asked.stdout.splitlines()
    if asked.returncode or not lines:
        last = (asked.stderr.strip().splitlines() or [f"exit code {asked.returncode}"])[-1]
        if last == "AssertionError" and os.environ.get("JAX_PLATFORMS"):
            # Where the wanted platform is not installed, JAX fails without a word.
            last = f"there is no device for JAX_PLATFORMS={os.environ['JAX_PLATFORMS']}"
        yield Finding("jax", "broken", f"does not start: {last}", _remedy_of_jax(last))
        return
    answer = json.loads(lines[-1])
    names = answer["devices"]
    kinds = ", ".join([*names[:8], *(["..."] if names[8:] else [])])
    yield Finding("jax", "ok", f"{len(names)} on {answer['backend']}: {kinds}", facts=answer)
    yield from _unused(answer["backend"])


def _remedy_of_jax(message: str) -> str:
    named = re.search(r"XLA_FLAGS|environment '(\w+)'", message)
    if named:
        return f"unset {named[1] or named[0]}"
    none = devices_of_none(message)
    if none is not None:
        return f"unset {none[0]}  # it asks for less than 1 device of the CPU"
    if os.environ.get("JAX_PLATFORMS"):
        return "unset JAX_PLATFORMS"
    if "jaxlib" in message:
        return f"{_PIP} --upgrade jax jaxlib"
    return "JAX_PLATFORMS=cpu jaxreid doctor  # tells whether the device is at fault"


def _unused(backend: str, root: Path = Path("/")) -> Iterator[Finding]:
    """Accelerators that the machine has and JAX does not use."""
    if backend != "cpu":
        return
    chosen = "unset JAX_PLATFORMS" if os.environ.get("JAX_PLATFORMS") == "cpu" else ""
    text = "the machine has one, JAX does not use it"
    driver = root / "proc/driver/nvidia/version"
    if driver.exists() or list(root.glob("dev/nvidia[0-9]*")):
        yield Finding("NVIDIA GPU", "note", text, chosen or _cuda(driver))
    if list(root.glob("dev/accel[0-9]*")):
        yield Finding("TPU", "note", text, chosen or f"{_PIP} 'jaxreid[tpu]'")


def _cuda(driver: Path) -> str:
    """Installs the build of JAX that the driver takes."""
    text = driver.read_text(errors="replace") if driver.exists() else ""
    version = re.search(r"\s(\d{3,})\.\d+", text)
    old = version is not None and int(version[1]) < _CUDA13_DRIVER
    return f"{_PIP} 'jax[cuda12]'" if old else f"{_PIP} 'jaxreid[cuda]'"


def machine() -> Iterator[Finding]:
    """Counts processors and memory."""
    usable = usable_processors()
    kind = f"{platform.processor() or platform.machine()}, {platform.system()}"
    counts = {"usable": usable, "all": os.cpu_count()}
    yield Finding("processors", "ok", f"{usable} usable of {counts['all']} ({kind})", facts=counts)
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = _memory_limit()
    usable_bytes = min(total, limit) if limit else total
    text = f"{usable_bytes / _GIB:.1f} GiB"
    facts = {"bytes": usable_bytes, "limited": usable_bytes < total}
    if usable_bytes >= 2 * _GIB:
        yield Finding("memory", "ok", text, facts=facts)
    else:
        yield Finding("memory", "note", f"{text}; expected 2 GiB", "use smaller batches", facts)


def _memory_limit() -> int | None:
    """What a container may use, or None."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        file = Path("/sys/fs/cgroup", name)
        text = file.read_text().strip() if file.is_file() else ""
        if text.isdecimal():
            return int(text)
    return None


def storage(data_dir: Path | None, workdir: Path) -> Iterator[Finding]:
    """Whether the folders of datasets, runs and compiled programs can be written to, and hold."""
    by = "--data-dir or $TFDS_DATA_DIR"
    try:
        yield _folder("datasets", data_dir or default_data_dir(), by)
    except InputError as error:
        yield Finding("datasets", "broken", str(error), f"name a folder with {by}", {"path": None})
    yield _folder("runs", workdir, "--workdir")
    yield _compiled_programs()


def _compiled_programs() -> Finding:
    """The cache is never broken: runs do without it."""
    name, path = "compilation cache", cache_folder()
    if path is None:
        text = f"none (${CACHE_VARIABLE} is empty): every process compiles its programs anew"
        return Finding(name, "ok", text, f"unset {CACHE_VARIABLE}", {"path": None})
    found = _folder(name, path, f"${CACHE_VARIABLE}")
    return dataclasses.replace(found, state="note") if found.state == "broken" else found


def _folder(name: str, path: Path, named_by: str) -> Finding:
    elsewhere = f"name another folder with {named_by}"
    try:
        path = path.expanduser().absolute()
    except (RuntimeError, OSError) as error:  # no home; the current folder is gone
        text = f"{path} cannot be found: {error}"
        return Finding(name, "broken", text, elsewhere, {"path": str(path), "exists": False})
    # Unlike Path.exists, this one is False where permission is denied.
    exists = os.path.exists
    existing = next(parent for parent in (path, *path.parents) if exists(parent))
    facts: dict[str, Any] = {"path": str(path), "exists": exists(path)}
    if not existing.is_dir():
        return Finding(name, "broken", f"{existing} is no folder", elsewhere, facts)
    if not os.access(existing, os.W_OK | os.X_OK):
        remedy = f"chmod u+rwx {existing}, or {elsewhere}"
        return Finding(name, "broken", f"{existing} cannot be written to", remedy, facts)
    free = shutil.disk_usage(existing).free
    facts["free_bytes"] = free
    text = f"{path}, {free / _GIB:.1f} GiB free" + ("" if exists(path) else ", made when needed")
    if free >= _COMFORTABLE_BYTES:
        return Finding(name, "ok", text, facts=facts)
    state: Literal["note", "broken"] = "note" if free >= _NEEDED_BYTES else "broken"
    return Finding(name, state, text, f"free some space, or {elsewhere}", facts)


def datasets(data_dir: Path | None) -> Iterator[Finding]:
    """Which datasets are prepared; the others are notes, for `jaxreid quickstart` needs none."""
    try:
        root = Path(data_dir or default_data_dir()).expanduser()
    except (InputError, RuntimeError):
        return  # `storage` says so
    for base, card in DATASETS.items():
        configs = card.configs
        if base == "reid_folder":
            configs = tuple(sorted(p.name for p in (root / base).glob("*") if p.is_dir()))
        names = [f"{base}/{config}" for config in configs] if configs else [base]
        for name in names if base != "reid_folder" or configs else []:
            command = f"jaxreid data prepare {name}"
            command += f" --data-dir {data_dir}" if data_dir else ""
            command += " --manual-dir FOLDER_OR_ARCHIVE" if card.placement else ""
            yield _dataset(name, root, command)


def _dataset(name: str, root: Path, command: str) -> Finding:
    try:
        folder = prepared_folder(name, data_dir=root)
    except InputError:
        return Finding(name, "note", "not prepared", command, {"path": None})
    facts: dict[str, Any] = {"path": str(folder)}
    try:
        splits = read_report(folder).splits
        for split in splits:
            open_split(name, split, data_dir=root)
    except Exception as error:  # whatever a damaged file makes a reader raise
        text = f"damaged: {reason_of(error)}"
        return Finding(name, "note", text, f"{command} --force", facts)
    images = {split: counts.images for split, counts in splits.items()}
    counted = ", ".join(f"{split} {count:,}" for split, count in images.items())
    return Finding(name, "ok", f"{folder} ({counted})", facts={**facts, "images": images})
