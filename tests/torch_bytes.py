"""PyTorch's checkpoint files made by hand, instruction by instruction, without PyTorch."""

import io
import pickle
import struct
import zipfile

import numpy as np

KINDS = {
    "float64": "DoubleStorage",
    "float32": "FloatStorage",
    "float16": "HalfStorage",
    "bfloat16": "BFloat16Storage",
    "int64": "LongStorage",
    "int32": "IntStorage",
    "int16": "ShortStorage",
    "int8": "CharStorage",
    "uint8": "ByteStorage",
    "bool": "BoolStorage",
    "complex64": "ComplexFloatStorage",
}
MAGIC = 0x1950A86A20F9469CFC6C


def name(module, word):
    return f"c{module}\n{word}\n".encode()


def text(value):
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def number(value):
    return b"J" + struct.pack("<i", value)


def group(*items):
    return b"(" + b"".join(items) + b"t"


def ordered():
    return name("collections", "OrderedDict") + b")R"


def mapping(items):
    return b"}(" + b"".join(text(key) + value for key, value in items.items()) + b"u"


def storage(key, dtype, count, *more):
    kind = name("torch", KINDS[dtype])
    return group(text("storage"), kind, text(key), text("cpu"), number(count), *more) + b"Q"


def tensor(stored, shape, strides, offset=0):
    sides = (group(*map(number, numbers)) for numbers in (shape, strides))
    arguments = group(stored, number(offset), *sides, b"\x89", ordered())
    return name("torch._utils", "_rebuild_tensor_v2") + arguments + b"R"


def whole(key, array, *more):
    """A tensor that fills a storage of its own."""
    strides = [step // array.itemsize for step in np.ascontiguousarray(array).strides]
    return tensor(storage(key, array.dtype.name, array.size, *more), array.shape, strides)


def stream(content):
    return b"\x80\x02" + content + b"."


def zipped(content, data, order="little", **entries):
    """The zip format: content is the instructions, data key -> bytes of a storage."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", stream(content))
        if order is not None:
            archive.writestr("archive/byteorder", order)
        for key, value in data.items():
            archive.writestr(f"archive/data/{key}", value)
        for entry, value in entries.items():
            archive.writestr(entry, value)
        archive.writestr("archive/version", "3\n")
    return buffer.getvalue()


def legacy(content, data):
    """The stream of before PyTorch 1.6: data is key -> (bytes of a storage, its numbers)."""
    parts = [pickle.dumps(part, 2) for part in (MAGIC, 1001, {"little_endian": True})]
    parts += [stream(content), pickle.dumps(sorted(data), 2)]
    parts += [struct.pack("<q", count) + value for _, (value, count) in sorted(data.items())]
    return b"".join(parts)
