import os

import pytest

from jaxreid.data.workers import check_workers
from jaxreid.errors import InputError


@pytest.mark.parametrize("processors", [None, 2, 100])
def test_what_a_machine_can_mean(processors: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: processors)
    most = 400 if processors == 100 else 64
    assert [check_workers(n, least=0) for n in (0, 1, most)] == [0, 1, most]
    for workers in (most + 1, 10**30):
        with pytest.raises(InputError, match=f"at most {most} on this machine, got {workers}"):
            check_workers(workers, least=0)
    with pytest.raises(InputError, match="workers must be 1 or more, got 0"):
        check_workers(0, least=1)
