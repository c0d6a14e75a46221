"""A PNG without what is said beside its pixels: text and colour profile, of which Pillow takes only so much.

In: a file's bytes. Out: bytes with the same pixels. Read by decoder.py.
"""

import re
import struct

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_REMARKS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"tIME")
# How the image is turned stands in eXIf, or in these texts, of which Pillow reads it as well.
_TURNING = re.compile(rb"XML:com\.adobe\.xmp\0|Raw profile type exif\0")


def without_remarks(content: bytes) -> bytes:
    """A PNG without time, profile and text but what turns it, other chunks as they were; other bytes unchanged."""
    if not content.startswith(_SIGNATURE):
        return content
    kept, place = [_SIGNATURE], len(_SIGNATURE)
    while place + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, place)
        if kind not in _REMARKS or _TURNING.match(content, place + 8):
            kept.append(content[place : place + length + 12])  # with length, kind and checksum
        place += length + 12
    return b"".join(kept)
