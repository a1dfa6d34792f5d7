"""What the commands tell XLA, and what they leave to the user."""

import importlib.metadata
import os
import subprocess
import sys

import pytest

from jaxreid.cli import backend
from jaxreid.cli.backend import no_devices, set_up_compiler

KERNELS = "--xla_cpu_experimental_ynn_fusion_type"
SCHEDULER = "--xla_cpu_enable_concurrency_optimized_scheduler"


@pytest.fixture
def flags(monkeypatch):
    """Flags of XLA after set_up_compiler, with a version of jaxlib and the user's flags."""
    # Named, though for none: the compilation cache of the tests stays as it is.
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "")

    def after(version, users):
        monkeypatch.setattr(importlib.metadata, "version", lambda name: version)
        monkeypatch.setenv("XLA_FLAGS", users)
        set_up_compiler()
        return os.environ["XLA_FLAGS"].split()

    return after


@pytest.mark.parametrize("version", ["0.10.2", "0.11.2", "0.12.0"])
def test_releases_that_were_measured_have_their_flags(flags, version):
    assert flags(version, "") == [f"{KERNELS}=", f"{SCHEDULER}=false"]


def test_flags_are_set_beside_the_users(flags):
    mine = "--xla_force_host_platform_device_count=8"
    assert flags("0.10.0", mine) == [mine, f"{KERNELS}=", f"{SCHEDULER}=false"]


def test_the_users_word_counts(flags):
    mine = f"{SCHEDULER}=true"
    assert flags("0.10.2", mine) == [mine, f"{KERNELS}="]


def test_the_release_that_is_installed_is_known_and_starts_with_its_flags():
    release = ".".join(importlib.metadata.version("jaxlib").split(".")[:2])
    assert release in backend._FLAGS, (
        f"jaxlib {release} is new: time `jaxreid benchmark attack` with and without each flag of "
        "jaxreid/cli/backend.py, and give it a row there"
    )
    words = " ".join(f"{name}={value}" for name, value in backend._FLAGS[release].items())
    started = subprocess.run(
        [sys.executable, "-c", "import jax; print(jax.jit(lambda x: x + 1)(2.0))"],
        env={**os.environ, "XLA_FLAGS": words, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    assert started.stdout == "3.0\n", started.stderr


@pytest.mark.parametrize("version", ["0.9.2", "0.13.0", "1.0.0"])
def test_other_versions_may_not_know_them(flags, version):
    assert flags(version, "--xla_dump_to=/x") == ["--xla_dump_to=/x"]


@pytest.mark.parametrize(("least", "kept"), [(None, True), ("60", False)])
def test_programs_that_compile_quickly_are_kept_unless_the_user_says_otherwise(
    tmp_path, least, kept
):
    name = "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"
    environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(tmp_path)}
    environment.pop(name, None)
    if least is not None:
        environment[name] = least
    code = (
        "from jaxreid.cli.backend import set_up_compiler; set_up_compiler()\n"
        "import jax; jax.jit(lambda x: x + 1)(2.0)"
    )
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert any(path.name.endswith("-cache") for path in tmp_path.iterdir()) == kept


def test_the_way_out_depends_on_who_asked(monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    assert "JAX_PLATFORMS is 'cuda': unset it, or set it to cpu" in no_devices(AssertionError())
    monkeypatch.delenv("JAX_PLATFORMS")
    said = no_devices(RuntimeError("Unable to start (set JAX_PLATFORMS='' to choose)"))
    assert said.startswith("JAX finds no device (Unable to start); JAX_PLATFORMS=cpu makes do")


ZERO = "INVALID_ARGUMENT: Could not determine process_index for this process"


@pytest.mark.parametrize(
    ("name", "value", "got"),
    [
        ("JAX_NUM_CPU_DEVICES", "0", "0"),
        ("XLA_FLAGS", f"{backend._COUNT}=4 {backend._COUNT}=0", f"{backend._COUNT}=0"),
        ("XLA_FLAGS", f"{backend._COUNT}=-2", f"{backend._COUNT}=-2"),
    ],
)
@pytest.mark.parametrize("platforms", ["", "cpu"])
def test_no_device_of_the_cpu_is_no_number_to_ask_for(monkeypatch, platforms, name, value, got):
    monkeypatch.setenv("JAX_PLATFORMS", platforms)
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    monkeypatch.setenv(name, value)
    error = RuntimeError(f"Unable to initialize backend 'cpu': {ZERO}")
    assert no_devices(error) == f"{name}: expected 1 device of the CPU or more, got {got}"
    assert name not in no_devices(RuntimeError("Unable to initialize backend 'cuda': no driver"))


def test_jax_says_that_the_cpu_is_at_fault_where_no_device_is_asked_for():
    environment = {**os.environ, "XLA_FLAGS": "", "JAX_NUM_CPU_DEVICES": "0"}
    words = [sys.executable, "-c", COUNTED, "2", "divided"]
    found = subprocess.run(words, env=environment, capture_output=True, text=True)
    assert "JAX_NUM_CPU_DEVICES: expected 1 device of the CPU or more, got 0" in found.stderr


COUNTED = """
import sys
import jax
from jaxreid.cli import backend

backend.usable_processors = lambda: int(sys.argv[1])
if sys.argv[2] == "late":
    jax.devices()
backend.find_devices(divide_cpu=sys.argv[2] != "whole")
print(jax.local_device_count())
"""


@pytest.mark.parametrize(
    ("processors", "how", "users", "devices"),
    [
        (2, "divided", {}, 2),
        (6, "divided", {}, 2),  # three threads for each
        (8, "divided", {}, 4),  # the weights are held no more often
        (5, "divided", {}, 1),
        (2, "whole", {}, 1),
        (2, "late", {}, 1),
        (4, "divided", {"XLA_FLAGS": "--xla_force_host_platform_device_count=3"}, 3),
        (4, "divided", {"JAX_NUM_CPU_DEVICES": "1"}, 1),
    ],
)
def test_a_cpu_is_several_devices_that_divide_its_cores(processors, how, users, devices):
    environment = {**os.environ, "XLA_FLAGS": "", "JAX_PLATFORMS": "cpu", **users}
    words = [sys.executable, "-c", COUNTED, str(processors), how]
    found = subprocess.run(words, env=environment, capture_output=True, text=True)
    assert found.stdout == f"{devices}\n", found.stderr


def test_a_file_of_flags_may_name_the_number_of_devices(tmp_path):
    (tmp_path / "flags").write_text("--xla_force_host_platform_device_count=3")
    environment = {**os.environ, "XLA_FLAGS": str(tmp_path / "flags"), "JAX_PLATFORMS": "cpu"}
    words = [sys.executable, "-c", COUNTED, "2", "divided"]
    found = subprocess.run(words, env=environment, capture_output=True, text=True)
    assert found.stdout == "3\n", found.stderr


# The same word of XLA's as in the variable itself, which JAX answers with the same error.
@pytest.mark.parametrize("words", ["{0}=0", "--xla_dump_to=x\n{0}=4\n{0}=-2\n"])
def test_a_file_of_flags_may_ask_for_no_device(tmp_path, words):
    file = tmp_path / "flags"
    file.write_text(words.format(backend._COUNT))
    environment = {**os.environ, "XLA_FLAGS": str(file), "JAX_PLATFORMS": "cpu"}
    words = [sys.executable, "-c", COUNTED, "2", "divided"]
    found = subprocess.run(words, env=environment, capture_output=True, text=True, cwd=tmp_path)
    flag = file.read_text().split()[-1]
    assert f"XLA_FLAGS: expected 1 device of the CPU or more, got {flag} in {file}" in found.stderr
