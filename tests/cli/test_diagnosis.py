"""Each kind of broken machine is found, and the command that mends it named."""

import importlib.metadata
import json
import os
import shutil
import subprocess
from collections import namedtuple
from pathlib import Path

import pytest

from jaxreid.cli import diagnosis
from jaxreid.data.prepare import prepare_dataset
from jaxreid.data.prepared import INDEX_FILE


def only(findings, name):
    return next(finding for finding in findings if finding.name == name)


@pytest.fixture(autouse=True)
def roomy(monkeypatch):
    """The disk of the machine that runs the tests may be full."""
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(diagnosis.shutil, "disk_usage", lambda path: usage(1 << 40, 0, 1 << 37))


def test_every_required_package_of_this_environment_fits():
    found = {finding.name: finding for finding in diagnosis.software()}
    assert {"jax", "jaxlib", "flax", "optax", "grain", "numpy", "tensorflow-datasets"} <= set(found)
    assert "pytest" not in found, "packages of extras are not needed"
    assert {finding.state for finding in found.values()} == {"ok"}


def test_an_old_and_a_missing_package_are_broken(monkeypatch):
    versions = {"jax": "0.4.1"}

    def version(name):
        if name == "flax":
            raise importlib.metadata.PackageNotFoundError(name)
        return versions.get(name, "99")

    monkeypatch.setattr(diagnosis.importlib.metadata, "version", version)
    old, missing = (only(diagnosis.software(), name) for name in ("jax", "flax"))
    assert (old.state, missing.state) == ("broken", "broken")
    assert old.text.startswith("0.4.1; expected >=")
    assert "pip install --upgrade 'jax>=" in old.remedy
    assert missing.text.startswith("missing")


@pytest.fixture
def jax_says(monkeypatch):
    """JAX in its own process, with a given answer."""

    def install(code=0, out="", err="", timeout=False):
        def run(command, **options):
            if timeout:
                raise subprocess.TimeoutExpired(command, options["timeout"])
            return subprocess.CompletedProcess(command, code, out, err)

        monkeypatch.setattr(diagnosis.subprocess, "run", run)

    return install


def test_devices_are_listed(jax_says):
    many = [f"gpu:{i} H100" for i in range(9)]
    answer = {"backend": "gpu", "processes": 1, "devices": many}
    jax_says(out="a line of some plugin\n" + json.dumps(answer))
    (finding,) = diagnosis.devices()
    assert finding.state == "ok"
    assert finding.text.startswith("9 on gpu: gpu:0 H100, ")
    assert finding.facts == answer


@pytest.mark.parametrize(
    ("platforms", "error", "remedy"),
    [
        ("", "RuntimeError: jaxlib is version 0.9, but this version of jax needs", "jax jaxlib"),
        ("", "RuntimeError: Unable to initialize backend", "JAX_PLATFORMS=cpu jaxreid doctor"),
        ("tpu", "RuntimeError: Unable to initialize backend", "unset JAX_PLATFORMS"),
    ],
)
def test_a_jax_that_does_not_start_is_broken(jax_says, monkeypatch, platforms, error, remedy):
    monkeypatch.setenv("JAX_PLATFORMS", platforms)
    jax_says(code=1, err=f"Traceback\n{error}\n")
    (finding,) = diagnosis.devices()
    assert (finding.state, finding.text) == ("broken", f"does not start: {error}")
    assert remedy in finding.remedy


@pytest.mark.parametrize(
    ("variable", "value", "text", "remedy"),
    [
        ("JAX_PLATFORMS", "cuda", "no device for JAX_PLATFORMS=cuda", "unset JAX_PLATFORMS"),
        ("JAX_PLATFORMS", "nonsense", "Unable to initialize backend 'nonsense'", "JAX_PLATFORMS"),
        ("XLA_FLAGS", "--nonsense", "Unknown flag in XLA_FLAGS: --nonsense", "unset XLA_FLAGS"),
        ("JAX_ENABLE_X64", "maybe", "invalid truth value 'maybe'", "unset JAX_ENABLE_X64"),
        ("JAX_NUM_CPU_DEVICES", "0", "initialize backend 'cpu'", "unset JAX_NUM_CPU_DEVICES"),
    ],
)
@pytest.mark.skipif(bool(shutil.which("nvidia-smi")), reason="may have what is asked for")
def test_an_environment_in_which_jax_does_not_start(
    monkeypatch, kind, variable, value, text, remedy
):
    monkeypatch.setenv(variable, value)
    (finding,) = diagnosis.devices()
    assert finding.state == "broken"
    assert text in finding.text
    assert remedy in finding.remedy
    kind(f"doctor with {variable}={value}", f"exit 1: {finding.text}; {finding.remedy}")


def test_a_user_without_a_home(tmp_path, monkeypatch):
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    found = list(diagnosis.storage(None, tmp_path))
    assert [finding.state for finding in found] == ["broken", "ok", "ok"]
    assert found[0].text.startswith("there is no home folder")
    assert list(diagnosis.datasets(None)) == []


def test_a_device_that_hangs_is_broken(jax_says):
    jax_says(timeout=True)
    (finding,) = diagnosis.devices()
    assert finding.state == "broken"
    assert "no device answers" in finding.text


@pytest.mark.parametrize(
    ("driver", "extra"), [("580.95.05", "jaxreid[cuda]"), ("535.183.01", "jax[cuda12]")]
)
def test_an_unused_gpu_is_noted_with_the_build_its_driver_takes(
    tmp_path, monkeypatch, driver, extra
):
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    file = tmp_path / "proc/driver/nvidia/version"
    file.parent.mkdir(parents=True)
    file.write_text(f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  {driver}  Tue Nov 12\n")
    (finding,) = diagnosis._unused("cpu", tmp_path)
    assert (finding.name, finding.state) == ("NVIDIA GPU", "note")
    assert finding.remedy.endswith(f"pip install '{extra}'")
    assert list(diagnosis._unused("gpu", tmp_path)) == []
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    (finding,) = diagnosis._unused("cpu", tmp_path)
    assert finding.remedy == "unset JAX_PLATFORMS"


def test_an_unused_tpu_is_noted(tmp_path, monkeypatch):
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/accel0").touch()
    (finding,) = diagnosis._unused("cpu", tmp_path)
    assert finding.remedy.endswith("'jaxreid[tpu]'")


def test_a_machine_has_processors_and_memory():
    found = {finding.name: finding.facts for finding in diagnosis.machine()}
    assert 1 <= found["processors"]["usable"] <= os.cpu_count()
    assert found["memory"]["bytes"] > 1 << 28


def test_folders_are_looked_at_and_not_made(tmp_path):
    found = list(diagnosis.storage(tmp_path / "data", tmp_path / "a" / "runs"))
    assert [finding.name for finding in found] == ["datasets", "runs", "compilation cache"]
    assert "made when needed" in found[1].text
    assert found[1].facts["free_bytes"] > 0
    assert list(tmp_path.iterdir()) == []


def test_compiled_programs_are_kept_where_it_says(tmp_path, monkeypatch):
    def cache():
        return only(diagnosis.storage(tmp_path, tmp_path), "compilation cache")

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    assert cache().state == "ok"
    assert cache().facts["path"] == str(tmp_path / ".cache/jaxreid")
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "mine"))
    assert cache().facts["path"] == str(tmp_path / "mine")
    (tmp_path / "mine").write_text("")
    assert (cache().state, cache().text) == ("note", f"{tmp_path / 'mine'} is no folder")
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "")
    assert cache().facts["path"] is None
    assert cache().remedy == "unset JAX_COMPILATION_CACHE_DIR"


def test_a_file_in_the_place_of_a_folder_is_broken(tmp_path):
    (tmp_path / "runs").write_text("")
    finding = only(diagnosis.storage(tmp_path, tmp_path / "runs"), "runs")
    assert (finding.state, finding.text) == ("broken", f"{tmp_path / 'runs'} is no folder")
    assert "--workdir" in finding.remedy


def test_a_folder_without_permission_is_broken(tmp_path, monkeypatch):
    monkeypatch.setattr(diagnosis.os, "access", lambda path, mode: False)
    finding = only(diagnosis.storage(tmp_path, tmp_path), "datasets")
    assert finding.state == "broken"
    assert "cannot be written to" in finding.text


@pytest.mark.parametrize(("free", "state"), [(1 << 20, "broken"), (1 << 30, "note")])
def test_a_full_disk_is_told(tmp_path, monkeypatch, free, state):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(diagnosis.shutil, "disk_usage", lambda path: usage(1 << 40, 0, free))
    assert only(diagnosis.storage(tmp_path, tmp_path), "runs").state == state


@pytest.mark.slow
def test_datasets_are_prepared_or_not_or_damaged(tmp_path):
    data = tmp_path / "data"
    prepare_dataset("synthetic_reid/tiny", data_dir=data)
    found = {finding.name: finding for finding in diagnosis.datasets(data)}
    tiny, default = found["synthetic_reid/tiny"], found["synthetic_reid/default"]
    assert (tiny.state, default.state) == ("ok", "note")
    assert tiny.facts["images"]["train"] > 0
    assert default.remedy == f"jaxreid data prepare synthetic_reid/default --data-dir {data}"
    assert found["market1501"].remedy.endswith("--manual-dir FOLDER_OR_ARCHIVE")
    assert "reid_folder/default" not in found

    index = Path(tiny.facts["path"]) / INDEX_FILE
    index.write_bytes(index.read_bytes()[:100])
    damaged = only(diagnosis.datasets(data), "synthetic_reid/tiny")
    assert damaged.text.startswith("damaged: ")
    assert damaged.remedy.endswith("--force")
