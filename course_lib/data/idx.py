"""The idx format of MNIST and its siblings: a magic number, the sizes, then the bytes; plain or gzip-compressed."""

import gzip
import struct
import zlib
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from course_lib.errors import InputError, MissingDataError

UBYTE = 8  # type code; the others of the format do not occur in image sets


def read_idx(path: str | Path) -> UInt8[Tensor, "..."]:
    """Read an idx file of unsigned bytes, with or without `.gz` at the end of its name.

    Returns a tensor of the shape that the file states. Raises `MissingDataError` if neither form is there, `InputError`
    for a damaged or truncated file or another kind of content.
    """
    path = Path(path)
    found = next((p for p in (path, path.with_name(path.name + ".gz")) if p.is_file()), None)
    if found is None:
        raise MissingDataError(f"neither {path} nor {path.name}.gz is there")
    try:
        raw = gzip.decompress(found.read_bytes()) if found.suffix == ".gz" else found.read_bytes()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{found} is damaged ({error}); delete it and fetch it again") from error
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] != UBYTE:
        raise InputError(
            f"{found} is not an idx file of unsigned bytes: it starts with {raw[:4].hex(' ') or 'nothing'}"
        )
    header = 4 + 4 * raw[3]
    if len(raw) < header:
        raise InputError(f"{found} is truncated within its header")
    shape = struct.unpack(f">{raw[3]}I", raw[4:header])
    size = 1
    for side in shape:
        size *= side
    if len(raw) != header + size:
        raise InputError(f"{found} holds {len(raw) - header:,} bytes of data where its shape {shape} needs {size:,}")
    return torch.frombuffer(bytearray(raw), dtype=torch.uint8)[header:].reshape(shape).clone()
