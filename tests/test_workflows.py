"""What runs on every change exists, and covers what the package says it supports."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def loaded(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_every_command_is_one_of_make(path):
    targets = re.findall(r"^([\w-]+):", MAKEFILE, re.MULTILINE)
    steps = [step for job in loaded(path)["jobs"].values() for step in job["steps"]]
    commands = [step["run"] for step in steps if "run" in step]
    assert commands
    assert {re.fullmatch(r"make ([\w-]+)", command)[1] for command in commands} <= set(targets)
    assert all(re.search(r"@v?\d", step["uses"]) for step in steps if "uses" in step)


def test_the_matrix_is_what_the_package_says():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = re.findall(r"Python :: (3\.\d+)", " ".join(project["classifiers"]))
    matrix = loaded(ROOT / ".github/workflows/ci.yml")["jobs"]["test"]["strategy"]["matrix"]
    assert matrix == {"python": named, "packages": ["pinned", "newest"]}


def test_hooks_are_pinned_to_what_is_tested():
    hooks = loaded(ROOT / ".pre-commit-config.yaml")["repos"]
    pinned = {repo["repo"].split("/")[-1]: repo["rev"] for repo in hooks if repo["repo"] != "local"}
    assert all(re.fullmatch(r"v[\d.]+", version) for version in pinned.values())
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert f"ruff=={pinned['ruff-pre-commit'].removeprefix('v')}\n" in constraints


def test_every_dependency_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    named = [*project["dependencies"], *extras["test"], *extras["lint"], *extras["docs"]]
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    pins = re.findall(r"^([\w.-]+)==", constraints, re.MULTILINE)
    wanted = {re.match(r"[\w.-]+", name).group() for name in named}
    assert {name.lower() for name in wanted} <= {name.lower() for name in pins}


def test_the_citation_is_that_of_the_readme():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    cited = loaded(ROOT / "CITATION.cff")["preferred-citation"]
    assert cited["title"] in readme
    assert f"pages     = {{{cited['start']}--{cited['end']}}}" in readme
