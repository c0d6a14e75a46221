"""Not a test: small videos of coloured squares, and a detector that finds them by their colour."""

from fractions import Fraction

import numpy as np
import pytest
from scipy import ndimage

av = pytest.importorskip("av", reason="needs the extra: pip install -e '.[video]'")

COLOURS = {"red": (220, 40, 40), "green": (40, 200, 60), "blue": (50, 80, 230)}
SIDE = 24


def scene(number, shape=(120, 160), hidden=()):
    """Frame `number` of a video: a red square goes right, a green one left, on grey; they cross at frame 15."""
    pixels = np.full((*shape, 3), 128, np.uint8)
    for name, x, y in (("red", 10 + 4 * number, 30), ("green", 130 - 4 * number, 36)):
        if name not in hidden:
            pixels[y : y + SIDE, max(x, 0) : max(x + SIDE, 0)] = COLOURS[name]
    return pixels


def write_frames(path, frames, *, rate=25, codec="libx264", pts=None, time_base=None, options=None, **extra):
    """A video as other programs write it; the sides of the frames must be even."""
    time_base = time_base or Fraction(1, rate)
    with av.open(str(path), "w", **extra) as container:
        stream = container.add_stream(codec, rate=rate, options={"threads": "1", **(options or {})})
        stream.pix_fmt, stream.codec_context.time_base = "yuv420p", time_base
        for number, pixels in enumerate(frames):
            if not number:
                stream.height, stream.width = pixels.shape[:2]
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = pts[number] if pts else number, time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def by_colour(frames):
    """A box around each patch of one of COLOURS."""
    return [{"boxes": [box for name in COLOURS for box in _patches(frame, name)]} for frame in frames]


def _patches(frame, name):
    alike = np.abs(frame.astype(int) - COLOURS[name]).max(axis=2) < 60
    found = ndimage.find_objects(ndimage.label(alike)[0])
    return [
        {
            "label": name,
            "score": 0.9,
            "box": [float(across.start), float(down.start), float(across.stop), float(down.stop)],
        }
        for down, across in found
        if (down.stop - down.start) * (across.stop - across.start) >= 40
    ]
