import errno
import os

import pytest

from jaxreid.errors import reason_of


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "a"),
            os.strerror(errno.ENOENT),
        ),
        (OSError("cut\n  short"), "cut short"),
        (ValueError(), "ValueError"),
    ],
)
def test_a_reason_is_one_line(error: Exception, reason: str) -> None:
    assert reason_of(error) == reason
