"""What exceptions of others mean to the user: a line, and an exit code."""

import errno
import os
import traceback

__all__ = ["explained", "no_devices", "one_line"]

_FULL = (errno.ENOSPC, errno.EDQUOT)
# About the name that was given, not about what happened to a run.
_NAMED = (
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ENOTDIR),
    *(errno.EISDIR, errno.ELOOP, errno.EEXIST),
)
_MEMORY = ("RESOURCE_EXHAUSTED", "Out of memory", "Unable to allocate")


def one_line(text: str) -> str:
    """A message as one line that any terminal prints.

    Args:
        text: with line breaks, control characters or bytes of names that are no UTF-8.

    Returns:
        One line; what cannot be printed is written as backslash and number.
    """
    line = " ".join(text.split())
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)


def explained(error: Exception) -> tuple[str, int]:
    """Says what an exception means.

    Args:
        error: anything but an InputError, which explains itself.

    Returns:
        The line, and the exit code: 2 if the environment or a name that was given is at fault.
    """
    if _is_memory(error):
        return "out of memory; a smaller --batch-size (or --config.batch.size) needs less", 1
    if isinstance(error, OSError) and error.errno is not None:
        return _of_system(error)
    if isinstance(error, UnicodeEncodeError) and error.reason.startswith("surrogates"):
        return f"expected a name in UTF-8, got {error.object!r}", 2
    where = _innermost(error)
    # JAX hides its own frames, where it can.
    if where.endswith("xla_bridge.py") or "Unable to initialize backend" in str(error):
        return no_devices(error), 2
    if where.endswith("config.py") and isinstance(error, ValueError):
        return f"a variable of the environment is wrong: {error}", 2
    return f"{type(error).__name__}: {error} (--debug shows where)", 1


def _is_memory(error: Exception) -> bool:
    named = isinstance(error, RuntimeError) and any(word in str(error) for word in _MEMORY)
    return isinstance(error, MemoryError) or named


def _of_system(error: OSError) -> tuple[str, int]:
    name = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else ""
    what, reason = "cannot write", os.strerror(error.errno or 0)
    # Said by whoever knows more than the system does, such as what of a run is whole.
    said = "" if name or error.strerror in (None, reason) else str(error.strerror)
    if error.errno in _FULL:
        return f"{said or f'{name or what}: {reason}'}; free some space", 1
    if said:
        return said, 1
    if error.errno == errno.ENOENT and not os.path.isdir(os.curdir):
        return "the current folder is gone; change to another one", 2
    if not name:
        return f"{type(error).__name__}: {error} (--debug shows where)", 1
    return f"{name}: {reason}", 2 if error.errno in _NAMED else 1


def _innermost(error: Exception) -> str:
    """The file of JAX's own in which an exception was raised; "" if it was not in JAX."""
    last = ""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        last = frame.f_code.co_filename
    return last if "/jax/_src/" in last.replace(os.sep, "/") else ""


def no_devices(error: Exception) -> str:
    """The words for JAX that cannot start.

    Args:
        error: of JAX.

    Returns:
        What it says, and the way out.
    """
    said = " ".join(str(error).split()).partition(" (set JAX_PLATFORMS")[0]
    platforms = os.environ.get("JAX_PLATFORMS", "")
    # Where the wanted platform is not installed, JAX fails without a word.
    said = f" ({said})" if said else ""
    if platforms:
        way = f"JAX_PLATFORMS is {platforms!r}: unset it, or set it to cpu"
    else:
        way = "JAX_PLATFORMS=cpu makes do with the CPU"
    return f"JAX finds no device{said}; {way}; `jaxreid doctor` looks at this machine"
