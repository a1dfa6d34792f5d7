"""The benchmark of surrogates, on a gallery and a network that take no time."""

import dataclasses

import pytest

from jaxreid.benchmark.surrogates import DISTANCES, NETWORK, STANDING, benchmark_surrogates
from jaxreid.models import ARCHITECTURES


@pytest.mark.slow
def test_every_contestant_is_measured_by_the_network(monkeypatch):
    config = dataclasses.replace(ARCHITECTURES["resnet_patch"], depths=(1,), widths=(4,))
    monkeypatch.setitem(ARCHITECTURES, "tiny", config)
    result = benchmark_surrogates(
        "tiny", architecture="tiny", size=(16, 8), batch_size=2, repeats=1
    )
    assert set(result.shares) == set(result.timings) - {NETWORK}
    assert {DISTANCES, STANDING, "margin", "smooth_ap", "log_intruders"} <= set(result.shares)
    assert min(result.shares.values()) > 0
    assert result.matches >= 1
