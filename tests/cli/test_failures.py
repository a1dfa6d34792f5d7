"""What exceptions of others become: a line that says what to do, and the right code."""

import errno
import os

import jax
import pytest

from jaxreid.cli.failures import explained, no_devices, one_line


def raised(code, *names):
    return OSError(code, os.strerror(code), *names)


@pytest.mark.parametrize(
    ("error", "text", "code"),
    [
        (raised(errno.ENOSPC, "a/b"), "a/b: No space left on device; free some space", 1),
        (raised(errno.ENOSPC), "cannot write: No space left on device; free some space", 1),
        (raised(errno.EDQUOT, "a"), "a: Disk quota exceeded; free some space", 1),
        (raised(errno.EROFS, "a"), "a: Read-only file system", 2),
        (raised(errno.EACCES, "a"), "a: Permission denied", 2),
        (raised(errno.ENAMETOOLONG, 300 * "a"), f"{300 * 'a'}: File name too long", 2),
        (raised(errno.ENOTDIR, b"a\xff"), "a\udcff: Not a directory", 2),
        (raised(errno.EIO, "a"), "a: Input/output error", 1),
        (OSError(errno.ENOSPC, "a: all before is whole"), "a: all before is whole; free some", 1),
        (OSError(errno.EFBIG, "a: all before is whole"), "a: all before is whole", 1),
        (OSError("odd"), "OSError: odd (--debug shows where)", 1),
        (MemoryError(), "out of memory; a smaller --batch-size", 1),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes"), "out of memory;", 1),
        (RecursionError("too deep"), "RecursionError: too deep (--debug shows where)", 1),
        (RuntimeError("the device is gone"), "RuntimeError: the device is gone (--debug", 1),
    ],
)
def test_a_line_and_a_code(kind, error, text, code):
    said, found = explained(error)
    assert found == code
    assert said.startswith(text)
    if len(said) < 200:
        kind(f"any command: {type(error).__name__} {error}", f"exit {code}: {one_line(said)}")


def test_jax_out_of_memory_is_told_for_real():
    with pytest.raises(Exception, match="RESOURCE_EXHAUSTED") as told:
        # More than any machine has; nothing is written to it.
        jax.numpy.zeros((1 << 40, 1 << 10)).block_until_ready()
    assert explained(told.value)[0].startswith("out of memory")


def test_a_name_that_is_no_utf8():
    with pytest.raises(UnicodeEncodeError) as told:
        "a\udcff".encode()
    assert explained(told.value) == (r"expected a name in UTF-8, got 'a\udcff'", 2)


def test_a_folder_that_is_gone(tmp_path, monkeypatch):
    monkeypatch.setattr(os.path, "isdir", lambda path: False)
    assert explained(raised(errno.ENOENT)) == (
        "the current folder is gone; change to another one",
        2,
    )


def test_the_way_out_depends_on_who_asked(monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    assert "JAX_PLATFORMS is 'cuda': unset it, or set it to cpu" in no_devices(AssertionError())
    monkeypatch.delenv("JAX_PLATFORMS")
    said = no_devices(RuntimeError("Unable to start (set JAX_PLATFORMS='' to choose)"))
    assert said.startswith("JAX finds no device (Unable to start); JAX_PLATFORMS=cpu makes do")


def test_one_line_for_any_terminal():
    assert one_line("a\n  b\tc\x1b[2J \udcff é") == r"a b c\x1b[2J \udcff é"
