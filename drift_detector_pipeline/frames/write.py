"""Frames -> a file that plays in a browser.

In: uint8 (H, W, 3) and the time of each. Out: H.264 in an MP4, which every browser plays and whose encoder is GPL, or
VP9 in a WebM, which is free of that. Fed by video/boxed.py; no PyTorch.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import numpy as np

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.files import disk_full_explained
from drift_detector_pipeline.frames.read import pyav

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.stream import VideoStream

Codec = Literal["h264", "vp9"]
SUFFIX: dict[Codec, str] = {"h264": ".mp4", "vp9": ".webm"}
_ENCODER: dict[Codec, str] = {"h264": "libx264", "vp9": "libvpx-vp9"}
# Constant quality, 43 dB of a street, at 5 ms a frame of 768 x 432 px. Without mbtree: with it the same frames
# gave other bytes in 1 to 40 of 60 runs (x264 165 beside a decoder; never with no-asm=1); files are twice as large.
_OPTIONS: dict[Codec, dict[str, str]] = {
    "h264": {"crf": "23", "preset": "veryfast", "mbtree": "0", "threads": "1"},
    "vp9": {"crf": "24", "b": "0", "deadline": "realtime", "cpu-used": "5", "threads": "1"},
}
_TICK = Fraction(1, 90_000)  # seconds, the unit of times: of all usual rates a frame takes a whole number of them
_LONGEST_GAP = 2**28  # ticks from frame to frame, 50 minutes: with frames out of order an MP4 has room for some four
_BT709 = 1  # the number of HD's colours in H.264's and FFmpeg's tables
_LIMITED = 1  # of values 16 to 235, as browsers expect


@contextmanager
def video_writer(path: Path, rate: Fraction, codec: Codec = "h264") -> Iterator["VideoWriter"]:
    """Open `path` for writing; it is complete when the context ends without an error.

    `rate` in frames a second; frames are that far apart unless they are given times of their own. Raises ConfigError
    without PyAV, DataError if the disk is full.
    """
    options = {"movflags": "+faststart"} if codec == "h264" else {}  # plays before the last byte has come
    with (
        disk_full_explained(path),
        pyav().open(
            str(path), "w", format=SUFFIX[codec].removeprefix("."), options={"fflags": "+bitexact", **options}
        ) as container,
    ):
        writer = VideoWriter(container, rate, codec)
        yield writer
        writer.end()


class VideoWriter:
    """A video being written; the first frame decides its size."""

    def __init__(self, container: "OutputContainer", rate: Fraction, codec: Codec) -> None:
        self._av = pyav()
        self._container = container
        self._frame_s = 1 / rate
        self._stream = cast(
            "VideoStream", container.add_stream(_ENCODER[codec], rate=rate, options=dict(_OPTIONS[codec]))
        )
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = _TICK
        self._stream.codec_context.thread_count = 1
        self._say_colours()
        self._size: tuple[int, int] | None = None  # height, width of the first frame
        self._next_pts = self._count = 0

    def write(self, pixels: Pixels, seconds: float | None = None) -> None:
        """Add a frame, uint8 (H, W, 3) RGB, at `seconds`, or where it would be if all frames were equally far apart.

        A side that is odd gets its last row or column twice: H.264 in browsers has even sides. A frame of another size
        than the first is scaled to it.
        """
        if self._size is None:
            self._size = pixels.shape[0], pixels.shape[1]
            self._stream.height, self._stream.width = (side + side % 2 for side in self._size)
        odd = ((0, pixels.shape[0] % 2), (0, pixels.shape[1] % 2), (0, 0))
        frame = self._av.VideoFrame.from_ndarray(np.pad(pixels, odd, mode="edge"), format="rgb24")
        coded = frame.reformat(
            self._stream.width, self._stream.height, "yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG"
        )
        when = self._count * self._frame_s if seconds is None else Fraction(seconds)
        coded.pts = min(max(self._next_pts, round(when / _TICK)), self._next_pts + _LONGEST_GAP)  # times only grow
        coded.time_base = _TICK
        self._next_pts = coded.pts + 1
        self._count += 1
        for packet in self._stream.encode(coded):
            self._container.mux(packet)

    def end(self) -> None:
        """Write what the encoder still holds."""
        if self._size is not None:
            for packet in self._stream.encode():
                self._container.mux(packet)

    def _say_colours(self) -> None:
        """Without these words players guess them by the size of the frame."""
        context = self._stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _LIMITED
