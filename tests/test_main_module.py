"""`python -m jaxreid` is `jaxreid`."""

import importlib
import subprocess
import sys

import pytest

import jaxreid


def test_the_module_runs():
    words = [sys.executable, "-m", "jaxreid"]
    shown = subprocess.run([*words, "--version"], capture_output=True, text=True, check=True)
    assert shown.stdout == f"jaxreid, version {jaxreid.__version__}\n"
    wrong = subprocess.run([*words, "attak"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("Usage: jaxreid [OPTIONS]")


@pytest.mark.parametrize("name", ["jaxreid.__main__", "jaxreid.cli.running"])
def test_importing_it_runs_nothing(name, capsys):
    importlib.reload(importlib.import_module(name))
    assert capsys.readouterr() == ("", "")
