"""The same surroundings for every test, with several devices: set before JAX is imported."""

import atexit
import gc
import io
import locale
import os
import shutil
import signal
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from hypothesis import HealthCheck, settings
from PIL import Image

# What a test sees is the same wherever and by whomever it is started: another language or clock, a
# wide or coloured terminal, settings of JAX and of programs that start jaxreid, a closed umask.
_OTHERS = (
    *("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE"),
    *("PYTHONWARNINGS", "PYTHONIOENCODING", "PYTHONOPTIMIZE", "PYTHONSAFEPATH", "PYTHONUTF8"),
    *("LANGUAGE", "TFDS_DATA_DIR", "JAXREID", "DEVICES", "GRACE", "MAX_RESTARTS"),
)
_FAMILIES = ("HF_", "JAX_", "JAXREID_", "LC_", "SLURM_", "TPU_", "TTY_", "XLA_", "_JAXREID")
_KEPT = ("JAX_COMPILATION_CACHE_DIR",)  # for who wants the tests to be quicker
for _name in list(os.environ):
    if _name in _OTHERS or (_name.startswith(_FAMILIES) and _name not in _KEPT):
        del os.environ[_name]
try:
    locale.setlocale(locale.LC_ALL, "C.UTF-8")
    os.environ["LC_ALL"] = "C.UTF-8"
except locale.Error:  # macOS; Python then writes UTF-8, too
    os.environ["LC_ALL"] = "C"
os.environ |= {"TZ": "UTC", "TERM": "dumb"}
time.tzset()
os.umask(0o022)
if not os.access(os.environ.get("HOME", ""), os.W_OK | os.X_OK):
    os.environ["HOME"] = tempfile.mkdtemp(prefix="jaxreid-home-")
    atexit.register(shutil.rmtree, os.environ["HOME"], ignore_errors=True)
# TEST_PLATFORM=cuda pytest tests/attacks: on the one accelerator that is there, at full precision.
# What needs several devices fails, and what is told apart by float32's last digits may.
_PLATFORM = os.environ.get("TEST_PLATFORM", "cpu")
os.environ["JAX_PLATFORMS"] = _PLATFORM
if _PLATFORM != "cpu":
    os.environ["JAX_DEFAULT_MATMUL_PRECISION"] = "highest"
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=4"
# What one worker compiled, the others and the processes they start need not compile again. Nothing
# is kept in anyone's home; a folder that the environment names is used, and stays.
if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="jaxreid-compiled-")
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
# Most tests compile much and compute little: unoptimised they take half as long, and a third where
# XLA does not fuse by MLIR. Those that are marked `optimized`, and the processes of
# `commands.start`, run what users run.
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = str(int(_PLATFORM == "cpu"))
_QUICK_TO_COMPILE = {
    "xla_cpu_use_fusion_emitters": False,
    "xla_cpu_parallel_codegen_split_count": 1,
}


# A tenth of what is left went into noting where every operation of a program was written, which
# nobody reads here, and into looking for circles among what is kept anyway.
os.environ["JAX_TRACEBACK_IN_LOCATIONS_LIMIT"] = "0"
gc.set_threshold(50_000, 20, 50)


# Examples are the same in every run, take the time they take, and leave nothing behind.
settings.register_profile(
    "anywhere",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("anywhere")


@pytest.fixture(autouse=True, scope="session")
def _interrupts_are_heard() -> None:
    """What a terminal gives: processes of a shell's background ignore Ctrl-C, and so do theirs."""
    main = threading.current_thread() is threading.main_thread()
    if main and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def _devices() -> None:
    """XLA reads its flags once: those that a command sets in this process come too late."""
    import jax

    jax.devices()


@pytest.fixture(autouse=True, scope="session")
def _compiles_quickly(_devices: None) -> None:
    """Options for all programs but the optimised; a JAX that has none of them takes longer."""
    import jax

    try:
        from jax._src import compiler

        options_of = compiler.get_compile_options
        jax.jit(lambda: 0, compiler_options=_QUICK_TO_COMPILE)()
    except (AttributeError, ImportError, jax.errors.JaxRuntimeError):
        return

    def quick_options(*args: object, **kwargs: object) -> object:
        options = options_of(*args, **kwargs)
        if jax.config._read("jax_disable_most_optimizations"):
            options.env_option_overrides += list(_QUICK_TO_COMPILE.items())
        return options

    compiler.get_compile_options = quick_options


@pytest.fixture(autouse=True, scope="session")
def _lowers_quickly(_devices: None) -> None:
    """A context of MLIR serves a hundred programs: to make one takes as long as a small program."""
    try:
        from jax._src.interpreters import mlir

        make, kept = mlir.make_ir_context, threading.local()
    except (AttributeError, ImportError):
        return

    def context() -> object:
        # What is lowered while another program is needs a context of its own: the place where
        # operations are put is the context's.
        if mlir.ir.Context.current is not None:
            return make()
        # It keeps the constants of its programs for as long as it lives.
        if not getattr(kept, "left", 0):
            kept.context, kept.left = make(), 100
        kept.left -= 1
        return kept.context

    mlir.make_ir_context = context


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Keeps the tests of a file on one worker, so that nothing is set up or compiled twice."""
    from xdist.scheduler import LoadFileScheduling

    # In the order of the folders: the longest files have the fewest tests, and would come last.
    config.option.loadscopereorder = False
    return LoadFileScheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of a file that are marked `optimized` come last: what is compiled is cleared once."""
    marked = {item: item.get_closest_marker("optimized") is not None for item in items}
    first = {item.path: place for place, item in reversed(list(enumerate(items)))}
    items.sort(key=lambda item: (first[item.path], marked[item]))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--kinds", action="store_true", help="Print what each kind of bad input gave (`kind`)."
    )


@pytest.fixture
def kind(record_property: Callable[[str, object], None]) -> Callable[[str, str], None]:
    """Notes for the table of `pytest --kinds`: `kind("a full disk in train", "exit 1: ...")`."""

    def note(given: str, gives: str) -> None:
        record_property("kind", [given, " ".join(gives.split())])

    return note


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints the table of `kind`, of tests that passed: 80 columns."""
    if not terminalreporter.config.getoption("--kinds"):
        return
    passed = terminalreporter.stats.get("passed", [])
    rows = sorted(
        {
            tuple(value)
            for report in passed
            for name, value in report.user_properties
            if name == "kind"
        }
    )
    terminalreporter.section("bad input, and what it gives")
    for given, gives in rows:
        for line in textwrap.wrap(given, 78, subsequent_indent="  "):
            terminalreporter.write_line(line)
        for line in textwrap.wrap(gives, 74):
            terminalreporter.write_line(f"    {line}")


@pytest.fixture(autouse=True)
def _optimization(request: pytest.FixtureRequest) -> None:
    """Lets XLA optimise where a test is marked so, and only there."""
    marked = request.node.get_closest_marker("optimized") is not None
    if not marked and "jax" not in sys.modules:
        return
    import jax

    if jax.config._read("jax_disable_most_optimizations") == marked:
        jax.config.update("jax_disable_most_optimizations", not marked)
        # Programs that are compiled already would stay as they are.
        jax.clear_caches()


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of golden numbers."""
    return Path(__file__).parent / "golden"


@pytest.fixture(scope="session")
def encoded() -> Callable[..., bytes]:
    """Makes the bytes of a small noise image from a seed: `encoded(3, format="PNG")`."""

    def make(seed: int, format: str = "JPEG") -> bytes:
        pixels = np.random.default_rng(seed).integers(0, 256, (16, 8, 3), dtype=np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, format)
        return buffer.getvalue()

    return make


@pytest.fixture
def market_folder(tmp_path: Path, encoded: Callable[..., bytes]) -> Path:
    """A tiny Market-1501 folder: 6 training people, 4 test people, distractors, junk, 3 cameras."""
    root = tmp_path / "Market-1501-v15.09.15"
    shots = {
        "bounding_box_train": (("0002", "0003", "0007", "0010", "0011", "0012"), 2),
        "query": (("0001", "0004", "0005", "0006"), 1),
        "bounding_box_test": (("-1", "0000", "0001", "0004", "0005", "0006"), 2),
    }
    seed = 0
    for folder, (people, count) in shots.items():
        (root / folder).mkdir(parents=True)
        for person in people:
            for camera in (1, 2, 3):
                for shot in range(count):
                    seed += 1
                    name = f"{person}_c{camera}s2_{seed:06d}_{shot:02d}.jpg"
                    (root / folder / name).write_bytes(encoded(seed))
        (root / folder / "Thumbs.db").write_bytes(b"left by Windows")
    return root


@pytest.fixture(scope="session")
def of_the_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of a run share."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@pytest.fixture(scope="session")
def tiny_data(of_the_run: Path) -> Path:
    """The data_dir of synthetic_reid/tiny: 86 training images of 11 people; only to be read."""
    from jaxreid.data.prepare import prepare_dataset

    folder = of_the_run / "datasets"
    with FileLock(of_the_run / "datasets.lock"):
        prepare_dataset("synthetic_reid/tiny", data_dir=folder, workers=1)
    return folder


@pytest.fixture(scope="session")
def compiled() -> Path:
    """Where this run, its workers and the processes they start keep what they compiled."""
    return Path(os.environ["JAX_COMPILATION_CACHE_DIR"])
