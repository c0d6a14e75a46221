"""What a file is that is not what its name says, by its first bytes.

In: how a file begins. Out: words for an error. Asked by whatever finds a file that it cannot read: archives, images,
videos, arrays, weights.
"""

import codecs
import re
from pathlib import Path
from typing import BinaryIO

_FOREIGN = {  # as it is often found under the name of something else
    b"version https://git-lfs.github.com": "it is a Git LFS pointer, fetch the file with git lfs pull",
    b"outs:": "it is a DVC pointer, fetch the file with make dvc_pull",
    b"<": "it is a web page or XML, perhaps a page for signing in or of an error",
    b"{": "it is JSON, perhaps an error of the server",
    b"": "it is empty",
}
_PACKED = {  # what begins so is nothing else, zeros behind it or not
    b"7z\xbc\xaf\x27\x1c": "it is a 7z archive",
    b"Rar!\x1a\x07": "it is a RAR archive",
    b"\x28\xb5\x2f\xfd": "it is compressed with zstd",
}
_UNPACKED = {  # what is no archive, by the same rule
    b"%PDF": "it is a PDF",
    b"\x89PNG": "it is a single image",
    b"\xff\xd8\xff": "it is a single image",
    b"GIF87a": "it is a single image",
    b"GIF89a": "it is a single image",
    b"\x04\x22\x4d\x18": "it is compressed with LZ4",
    b"\x1f\x9d": "it is compressed with compress",
    b"LZIP": "it is compressed with lzip",
}
_PICTURES = {  # what other programs open as an image, by patterns
    rb"....ftyp(hei[cxms]|hev[cx]|mif1|msf1)": "it is HEIC, as phones write it",
    rb"\xff\x0a|\x00\x00\x00\x0cJXL ": "it is JPEG XL",
    rb"8BPS": "it is a Photoshop file",
    rb"\x00\x00\x01\x00[^\x00]\x00": "it is an icon",
    rb"v/1\x01": "it is OpenEXR",
    rb"#\?RADIANCE": "it is Radiance HDR",
    rb".{128}DICM": "it is DICOM",
    rb"%PDF": "it is a PDF",
    rb"%!PS|\xc5\xd0\xd3\xc6": "it is PostScript",
    rb"(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?<svg\b": "it is SVG",
    rb"qoif": "it is QOI",
    rb"(\xef\xbb\xbf)?\x89?PNG\r?\n\x1a\n": "it was copied as text, which changed a PNG's line ends; copy it as it is",
}
_MOST_BYTES = 512
_SHOWN = 40  # letters of a text
_EBML = b"\x1a\x45\xdf\xa3"  # begins WebM and MKV
_BOXES = (b"moov", b"mdat", b"wide", b"skip", b"free")  # begin a MOV of former days
_STILL = (b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1")  # brands of ftyp that are images


def first_bytes(source: Path | BinaryIO) -> bytes:
    """How a file begins, or what comes next of an open one: as much of it as `what_else` looks at."""
    if not isinstance(source, Path):
        return source.read(_MOST_BYTES)
    with source.open("rb") as file:
        return file.read(_MOST_BYTES)


def what_else(start: bytes) -> str | None:
    """What a file is that cannot be read as what it should be; None: nothing known."""
    if packed := next((said for magic, said in _PACKED.items() if start.startswith(magic)), None):
        return packed
    text = start[:_MOST_BYTES].removeprefix(b"\xef\xbb\xbf").lstrip()
    if b"\0\0\0\0" in start[:_MOST_BYTES]:
        return None  # a tar begins with a name, whatever it is, and zeros
    return next((said for magic, said in _FOREIGN.items() if (text.startswith(magic) if magic else not start)), None)


def what_unpacked(start: bytes) -> str | None:
    """What a file is that is no archive: also a text, such as a server's "Not Found", an image or another packing."""
    if start[257:262] == b"ustar":  # a tar begins with a name, which may be as in GIF89a
        return None
    if said := what_else(start) or next((said for magic, said in _UNPACKED.items() if start.startswith(magic)), None):
        return said
    try:
        words = codecs.getincrementaldecoder("utf-8")().decode(start).split()  # a last letter may be cut
    except UnicodeDecodeError:
        return None
    text = " ".join(words)
    return f"it is a text that begins {text[:_SHOWN]!r}" if words and text.isprintable() else None


def in_brackets(start: bytes) -> str:
    """The same behind a blank, for the end of a sentence; empty if nothing is known."""
    said = what_else(start)
    return f" ({said})" if said else ""


def what_picture(start: bytes) -> str | None:
    """What a file is that shows an image elsewhere, but not here, and what to do about it; None: nothing known."""
    start = start[:_MOST_BYTES]
    said = next((said for begins, said in _PICTURES.items() if re.match(begins, start, re.DOTALL)), None)
    return f"{said}; save it as JPEG or PNG" if said and ";" not in said else said


def is_video(content: bytes) -> bool:
    """Whether a file begins as MP4, MOV, WebM, MKV or AVI do."""
    kind, brand = content[4:8], content[8:12]
    if content.startswith(b"RIFF"):
        return brand == b"AVI "
    return content.startswith(_EBML) or kind in _BOXES or (kind == b"ftyp" and brand not in _STILL)
