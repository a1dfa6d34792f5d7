"""What a file is, by its first bytes; and what it is when it is none that holds weights."""

import re
from collections.abc import Collection

__all__ = [
    "CARD",
    "EXPORTED",
    "HEAD",
    "PROGRAM",
    "SAFETENSORS",
    "TORCH",
    "foreign",
    "holds_programs",
    "kind_of_file",
    "other_download",
]

HEAD = 1024
"""Bytes of a file that tell what it is."""
SAFETENSORS, TORCH = "safetensors", "torch"
"""Kinds that are read here."""
EXPORTED = ".exported"
"""Ending of a model without its code, which `jaxreid.models.exported` reads: a ZIP archive."""
CARD, PROGRAM = "card.json", "program"
"""What lies in it: a card, and for each kind of machine MACHINE.program."""

_LFS = b"version https://git-lfs.github.com/spec/"
_ONNX_FIRST_FIELD, _ONNX_SECOND_FIELDS = b"\x08", (b"\x12", b"\x1a", b"\x2a", b"\x3a", b"\x42")
_HTML = re.compile(rb"\s*<(!doctype|html|head|\?xml)", re.IGNORECASE)
# First bytes -> what the file is and what to do.
_OTHERS = {
    b"\x89HDF": "is an HDF5 file, as Keras writes; expected a .safetensors or PyTorch file",
    b"\x1f\x8b": "is packed with gzip: unpack it first",
    b"BZh": "is packed with bzip2: unpack it first",
    b"\xfd7zXZ": "is packed with xz: unpack it first",
    b"7z\xbc\xaf": "is packed with 7-Zip: unpack it first",
    b"Rar!": "is packed with RAR: unpack it first",
    b"\x93NUMPY": "is one NumPy array; expected a .safetensors or PyTorch file",
}


def kind_of_file(head: bytes) -> str | None:
    """SAFETENSORS, TORCH or None, by the first HEAD bytes."""
    if head[8:9] == b"{":
        return SAFETENSORS
    return TORCH if head[:2] == b"PK" or head[:1] == b"\x80" else None


def holds_programs(names: Collection[str]) -> bool:
    """Whether a ZIP archive of files of these names is an exported model."""
    return CARD in names and any(name.endswith(f".{PROGRAM}") for name in names)


def other_download(head: bytes) -> str:
    """What is there in place of a file that was to be fetched, for a message; "" if nothing is."""
    if not head:
        return ": the file is empty (0 bytes): it was not downloaded or copied whole"
    if head.startswith(_LFS):
        size = re.search(rb"size (\d+)", head)
        whole = f" of {int(size[1]):,} bytes" if size and len(size[1]) < 20 else ""
        return f" is a Git LFS pointer, not the file{whole}: git lfs pull fetches it"
    if _HTML.match(head):
        return (
            " is a web page, not weights: what was saved is the page around a download; open the "
            "address in a browser, or ask the hub for the raw file"
        )
    return ""


def foreign(head: bytes) -> str:
    """What a file of another kind is, to be put behind its name in a message."""
    if other := other_download(head):
        return other
    if head[257:262] == b"ustar":
        return " is a tar archive: unpack it, or write it anew with torch.save of PyTorch 0.2 on"
    if head[:1] == _ONNX_FIRST_FIELD and head[1] < 32 and head[2:3] in _ONNX_SECOND_FIELDS:
        return " is an ONNX file, a program with its weights; expected its PyTorch state_dict"
    for mark, what in _OTHERS.items():
        if head.startswith(mark):
            return f" {what}"
    return ": neither a .safetensors nor a PyTorch file"
