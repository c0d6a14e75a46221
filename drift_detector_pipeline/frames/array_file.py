"""An .npz from anywhere -> the frames in it; what it would cost is read from its header first.

In: a file, or its bytes, with an array `frames`, uint8 (T, H, W, 3), as numpy.savez and savez_compressed write it. Out:
that array. Nothing is unpickled. Read by packing and by whatever takes uploads; no PyTorch.
"""

import math
import struct
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.first_bytes import first_bytes, what_else
from drift_detector_pipeline.frames.read import Limits

MEMBER = "frames.npy"
_MOST_BYTES = 1 << 30  # of an array, whatever else is allowed
_HEADER_BYTES = 4096
# What zipfile and NumPy raise on damaged bytes (seen by fuzzing): a header is text that NumPy parses as Python's.
_UNREADABLE = (
    zipfile.BadZipFile, zlib.error, ValueError, EOFError, NotImplementedError, RuntimeError, OverflowError, SyntaxError,
    tokenize.TokenError, TypeError, LookupError, struct.error, MemoryError,
)  # fmt: skip


def read_array(
    source: Path | BinaryIO,
    limits: Limits = Limits(),  # noqa: B008
    name: str = "",
    most_bytes: int = _MOST_BYTES,
) -> Pixels:
    """Read the frames of an .npz: uint8 (T, H, W, 3); `name` is what errors call it.

    Raises DataError if it holds no such array, has no frame, or its header promises more than `limits` allow; their
    seconds mean nothing here. An OSError of the file itself comes through.
    """
    name = name or str(source if isinstance(source, Path) else getattr(source, "name", "array"))
    try:
        with zipfile.ZipFile(source) as opened:
            if MEMBER not in opened.namelist():
                raise DataError(f"{name}: holds no array named frames; save it with numpy.savez(path, frames=...)")
            if opened.getinfo(MEMBER).compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise DataError(f"{name}: packed in a way that numpy.savez does not know; save it again")
            shape = _checked(opened, limits, name, most_bytes)
            with opened.open(MEMBER) as file:
                _header(file)
                pixels = np.frombuffer(file.read(math.prod(shape)), np.uint8)
                if len(pixels) < math.prod(shape) or file.read(1):
                    raise DataError(f"{name}: its array is not as long as its header says")
            return pixels.reshape(shape)
    except _UNREADABLE as error:
        if not isinstance(source, Path):
            source.seek(0)
        raise DataError(f"{name}: no whole .npz ({what_else(first_bytes(source)) or error})") from error


def _checked(opened: zipfile.ZipFile, limits: Limits, name: str, most_bytes: int) -> tuple[int, ...]:
    """The shape of the array, from its first bytes."""
    with opened.open(MEMBER) as file:
        shape, in_order, kind = _header(file)
    if kind != np.uint8 or len(shape) != 4 or shape[3] != 3 or not in_order or min(shape) < 1:
        raise DataError(f"{name}: its frames are {kind} {shape}; expected uint8 (T, H, W, 3), RGB, in C order")
    frames, height, width, _ = shape
    if limits.frames is not None and frames > limits.frames:
        raise DataError(f"{name}: {frames} frames, more than {limits.frames}; leave some out")
    if height * width > limits.pixels or math.prod(shape) > most_bytes:
        raise DataError(
            f"{name}: {frames} frames of {width} x {height} px are more than {limits.pixels:,} pixels a frame, or than "
            f"{most_bytes >> 20} MiB in all; make it smaller"
        )
    return shape


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, Any]:
    """Shape, whether it is in C order, and kind of an array, leaving `file` where its values begin."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, kind = read(file, max_header_size=_HEADER_BYTES)
    return shape, not fortran, kind
