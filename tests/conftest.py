"""Several host devices and no accelerator, for every test: set before JAX is imported."""

import os
from pathlib import Path

import pytest

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4"
)


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of golden numbers."""
    return Path(__file__).parent / "golden"
