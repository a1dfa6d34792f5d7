"""Prepares what on_gpu.sh needs of a machine without network, to measure input and training there.

    python benchmarks/carry.py            on a machine with network and an installed jaxreid

leaves `carried/` beside the checkout, which git ignores: the packages that such a machine lacks,
unpacked for CPython 3.12 on Linux x86-64 (`packages`), and the synthetic people (`data`). Send it
along, by name where ignored files must be named; benchmarks/on_gpu.sh finds it. The folder appears
whole or not at all, and takes the place of an older one.
"""

import argparse
import re
import sys
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path

from record import JAXREID, ROOT, finished

from jaxreid.errors import InputError
from jaxreid.files import remove, replacing_folder

CARRIED = ROOT / "carried"
LIMIT = 48
"""MiB of the folder: where ignored files are sent along, 64 for all, and a checkout has 12."""

# What reading images and training import, beyond JAX, Flax, Optax, Orbax and what these ask for.
# Without the rest of what TFDS asks for: it asks for pyarrow, of 160 MB, for formats of others.
PACKAGES = (
    *("array_record", "cloudpickle", "flatbuffers", "grain", "immutabledict", "portpicker"),
    *("promise", "safetensors", "six", "tensorboardX", "tensorflow-datasets"),
    *("tensorflow-metadata", "toml", "tqdm", "wrapt"),
)
# Pure Python, which its authors left without a wheel.
_BUILT = "promise"
# These only, of the versions of glibc that wheels name: 2.35 is Ubuntu 22.04's.
_PLATFORMS = (*(f"manylinux_2_{n}_x86_64" for n in range(35, 16, -1)), "manylinux2014_x86_64")
# Tests, and lists of what TFDS would download.
_NEEDLESS = ("**/*_test.py", "**/tests", "tensorflow_datasets/url_checksums", "bin")


def pinned(names: Iterable[str], constraints: str) -> list[str]:
    """The versions of packages that the test suite passed on.

    Args:
        names: of packages.
        constraints: the text of constraints.txt.

    Returns:
        name==version of each.

    Raises:
        InputError: a package is not in it.
    """
    known = dict(re.findall(r"^([\w.-]+)==(\S+)$", constraints, re.MULTILINE))
    missing = [name for name in names if name not in known]
    if missing:
        raise InputError(f"constraints.txt has no version of: {', '.join(missing)}")
    return [f"{name}=={known[name]}" for name in names]


def pip_command(wanted: Sequence[str], target: Path) -> list[str]:
    """What unpacks packages, and nothing that they ask for, for the machine without network."""
    python = ["--python-version", "3.12", "--implementation", "cp"]
    platforms = [word for name in _PLATFORMS for word in ("--platform", name)]
    wheels = ["--only-binary", ":all:", "--no-binary", _BUILT, "--no-deps", "--no-compile"]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    return [*command, *wheels, *python, *platforms, "--target", str(target), *wanted]


def add_metadata(packages: Path, project: str) -> None:
    """Makes jaxreid known by name and version, as if it were installed; its code is the checkout's.

    Args:
        packages: the folder of the packages.
        project: the text of pyproject.toml.
    """
    about = tomllib.loads(project)["project"]
    name, version = about["name"], about["version"]
    folder = packages / f"{name}-{version}.dist-info"
    folder.mkdir(parents=True)
    said = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    (folder / "METADATA").write_text(said, encoding="utf-8")


def leave_out(packages: Path) -> None:
    """Removes what no step needs."""
    for pattern in _NEEDLESS:
        for path in list(packages.glob(pattern)):
            if path.exists():  # a folder of tests may lie in another one
                remove(path)


def check_size(folder: Path, limit: int = LIMIT) -> float:
    """MiB of all files of a folder.

    Raises:
        InputError: they are more than the limit.
    """
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20
    if size > limit:
        raise InputError(f"{folder.name} would have {size:.1f} MiB; expected at most {limit}")
    return size


def _run(command: Sequence[str]) -> None:
    code, _ = finished(command)  # faults are told on standard error
    if code:
        raise InputError(f"this ended with exit code {code}: {' '.join(command[:4])} ...")


def prepare(folder: Path) -> float:
    """Prepares the folder; gives its size in MiB.

    Raises:
        InputError: pip or jaxreid failed, or the folder would be too large.
    """
    versions = pinned(PACKAGES, (ROOT / "constraints.txt").read_text(encoding="utf-8"))
    with replacing_folder(folder) as made:
        _run(pip_command(versions, made / "packages"))
        leave_out(made / "packages")
        add_metadata(made / "packages", (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
        _run([*JAXREID, "data", "prepare", "synthetic_reid", "--data-dir", str(made / "data")])
        return check_size(made)


def main() -> None:
    """Prepares the folder and says its size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=CARRIED, help="another name for it")
    folder = parser.parse_args().folder
    try:
        size = prepare(folder)
    except InputError as error:
        sys.exit(f"carry.py: {error}")
    print(f"{folder}: {size:.1f} MiB")


if __name__ == "__main__":
    main()
