"""Files of the Hugging Face hub, by the names that the hub gives."""

import re
from pathlib import Path

from jaxreid.errors import InputError, first_line

__all__ = ["download"]

_EXPECTED = "expected hf:owner/name or hf:owner/name/file, and @revision behind it if need be"
# The hub's own rule for the two parts of a repository's name.
_PART = re.compile(r"(?!.*(--|\.\.))[A-Za-z0-9_](?:[\w.-]{0,94}[A-Za-z0-9_])?", re.ASCII)
_REVISION = re.compile(r"(?!.*\.\.)[A-Za-z0-9_][\w./-]{0,254}", re.ASCII)


def download(source: str) -> Path:
    """Path in the local Hugging Face cache of "hf:owner/name", fetched where it is not there."""
    from huggingface_hub import errors, hf_hub_download

    owner, name, file, revision = _parts(source)
    candidates = [file] if file else ["model.safetensors", "pytorch_model.bin"]
    for candidate in candidates:
        try:
            return Path(hf_hub_download(f"{owner}/{name}", candidate, revision=revision or None))
        except errors.LocalEntryNotFoundError as error:
            raise InputError(
                f"{source}: not in the local cache, and huggingface.co cannot be reached"
            ) from error
        except errors.EntryNotFoundError:
            continue
        # Whatever else: the network, the disk, a name that the hub does not take.
        except Exception as error:
            reason = f"{type(error).__name__}: {first_line(error)[:200]}"
            raise InputError(f"{source}: {reason}") from error
    raise InputError(f"{source}: the repository has none of {', '.join(candidates)}")


def _parts(source: str) -> tuple[str, str, str, str]:
    """Owner, name, file and revision, none of which can lead out of the cache."""
    spec, at, revision = source.removeprefix("hf:").partition("@")
    owner, _, rest = spec.partition("/")
    name, slash, file = rest.partition("/")
    steps = file.split("/") if slash else []
    if not (_PART.fullmatch(owner) and _PART.fullmatch(name)):
        raise InputError(f"{source}: {_EXPECTED}")
    if any(step in ("", ".", "..") or not step.isprintable() or "\\" in step for step in steps):
        raise InputError(f"{source}: {file!r} is no path inside a repository; {_EXPECTED}")
    if at and not _REVISION.fullmatch(revision):
        raise InputError(f"{source}: {revision!r} is no revision; {_EXPECTED}")
    return owner, name, file, revision
