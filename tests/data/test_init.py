import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "module",
    ["jaxreid.data", "jaxreid.data.source", "jaxreid.data.prepare", "jaxreid.cli.data"],
)
def test_heavy_packages_wait_until_they_are_needed(module: str) -> None:
    code = (
        f"import sys, {module}\n"
        "heavy = ('array_record', 'flax', 'grain', 'jax', 'tensorflow_datasets')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
