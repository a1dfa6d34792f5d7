"""What is released: built from its own archive, checked, installed elsewhere, and run there."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("build")
pytest.importorskip("hatchling")
pytest.importorskip("twine")

ROOT = Path(__file__).parent.parent


def run(*words, cwd, **options):
    return subprocess.run([*map(str, words)], cwd=cwd, check=True, text=True, **options)


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """The folder with the source archive and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    words = ("-m", "build", "--no-isolation", "--outdir", folder, ROOT)
    run(sys.executable, *words, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def elsewhere(released, tmp_path_factory):
    """The programs of an environment with the wheel, whose dependencies are this one's."""
    folder = tmp_path_factory.mktemp("elsewhere")
    run(sys.executable, "-m", "venv", folder, cwd=folder)
    (packages,) = folder.glob("lib/python*/site-packages")
    # Packages of this environment are found; what is installed into it in place is not.
    dependencies = [path for path in sys.path if path.endswith("-packages")]
    (packages / "dependencies.pth").write_text("\n".join(dependencies) + "\n")
    (wheel,) = released.glob("*.whl")
    pip = (folder / "bin" / "python", "-m", "pip", "--quiet", "--disable-pip-version-check")
    run(*pip, "install", "--no-deps", "--no-index", wheel, cwd=folder)
    return folder / "bin"


@pytest.fixture
def environment():
    """As a user's: none of the variables of the tests."""
    ours = ("JAX_", "PYTHON", "XLA_", "TFDS_")
    return {k: v for k, v in os.environ.items() if not k.startswith(ours)} | {
        "JAX_PLATFORMS": "cpu"
    }


@pytest.mark.slow
def test_the_archives_are_fit_for_an_index(released):
    archives = sorted(released.iterdir())
    assert [path.suffix for path in archives] == [".whl", ".gz"]
    run(sys.executable, "-m", "twine", "check", "--strict", *archives, cwd=released)


@pytest.mark.slow
def test_it_is_the_wheel_that_runs(elsewhere, environment, tmp_path):
    code = "import jaxreid, json; print(json.dumps([jaxreid.__file__, jaxreid.__version__]))"
    done = run(
        *(elsewhere / "python", "-c", code), cwd=tmp_path, env=environment, capture_output=True
    )
    where, version = json.loads(done.stdout)
    assert Path(where).is_relative_to(elsewhere.parent)
    assert f'version = "{version}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_quickstart_in_an_empty_folder(elsewhere, environment, tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    variables = {**environment, "HOME": str(tmp_path)}
    done = run(
        *(elsewhere / "jaxreid", "quickstart", "--fast"),
        cwd=work,
        env=variables,
        capture_output=True,
    )
    assert done.stdout.endswith("report: runs/quickstart-fast/report/report.html\n")
    assert (work / "runs/quickstart-fast/report/report.html").stat().st_size > 10_000
