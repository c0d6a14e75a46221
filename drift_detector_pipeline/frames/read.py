"""A video file from anywhere -> its frames, one after another, upright.

In: a file, or its bytes. Out: `Frame`s, numbered as they are decoded: what the header says of their number is a claim.
Read by video/boxed.py and by whatever takes uploads; no PyTorch. Needs PyAV: an extra, as its wheel holds encoders
under GPL.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, cast

import numpy as np

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.errors import ConfigError, DataError
from drift_detector_pipeline.first_bytes import first_bytes, what_else

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

# Files of frames. FFmpeg also reads playlists and scripts that name other files and addresses: never from strangers.
_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,asf,ogg"
_CODECS = (
    "h264", "hevc", "vp8", "vp9", "av1", "libdav1d", "mpeg4", "msmpeg4v3", "mpeg1video", "mpeg2video", "h263", "mjpeg",
    "prores", "dnxhd", "theora", "wmv2", "wmv3", "vc1", "rawvideo", "ffv1",
)  # fmt: skip
_LEAST_CODED = 1 << 16  # pixels: small frames are decoded with wide margins
_SLOWEST, _USUAL_RATE, _FASTEST = Fraction(1, 60), Fraction(25), Fraction(1000)  # frames a second; usual: none is named


class Limits(NamedTuple):
    """What a video may cost at most; None: whatever it has."""

    frames: int | None = None
    seconds: float | None = None
    pixels: int = 36_000_000  # of one frame; 8K has 33 million


class Frame(NamedTuple):
    """One picture of a video."""

    number: int  # from 0, in the order of decoding
    pts: int  # its time in units of `Video.time_base`, as in the file; grows from frame to frame
    seconds: float  # since the first frame
    pixels: Pixels  # (H, W, 3), upright


class Picture(NamedTuple):
    """A frame before it is made into an array, which costs as much as decoding it."""

    number: int
    pts: int
    seconds: float
    coded: "VideoFrame"

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width in px, upright."""
        across = _quarters(self.coded) % 2
        return (self.coded.width, self.coded.height) if across else (self.coded.height, self.coded.width)


class BrokenVideoError(DataError):
    """The file cannot be read on from here; all frames before were given."""


@contextmanager
def open_video(source: Path | BinaryIO, limits: Limits = Limits(), name: str = "") -> Iterator["Video"]:  # noqa: B008
    """Open a video file; `name` is what errors call it.

    Raises DataError if it is none that can be decoded, or its header promises more than `limits`; ConfigError without
    PyAV. An OSError of the file itself comes through.
    """
    with _file(source, name) as (file, name):
        with _container(file, name, codec_whitelist="none") as header:  # frames are not decoded to learn their size
            context = _stream(header, name).codec_context
            _check_size(context.width, context.height, limits, name)
        file.seek(0)
        with _container(file, name) as container:
            yield Video(container, _stream(container, name), limits, name)


def frame_times(source: Path | BinaryIO, limits: Limits = Limits(), name: str = "") -> tuple[list[float], float]:  # noqa: B008
    """When each frame of a video comes, in seconds since the first, sorted, and when the last one ends.

    Nothing is decoded, so it costs little; of a broken file those before the break. Raises as `open_video` does, and
    DataError if there are more frames or seconds than the limits allow.
    """
    times = list[int]()
    with _file(source, name) as (file, name), _container(file, name, codec_whitelist="none") as container:
        stream = _stream(container, name)
        _check_size(stream.codec_context.width, stream.codec_context.height, limits, name)
        _check_header(container, stream, limits, name)
        base = stream.time_base or 1 / _rate(stream)
        step = max(1, round(1 / _rate(stream) / base))
        try:
            for packet in container.demux(stream):
                if packet.size and not packet.is_discard:
                    pts = packet.pts if packet.pts is not None else packet.dts
                    times.append(pts if pts is not None else (times[-1] + step if times else 0))
                    _check_count(len(times), limits, name)
        except _unreadable():
            pass  # decoding says where and why
    if not times:
        return [], 0.0
    times = sorted(times)
    *seconds, end = (float((pts - times[0]) * base) for pts in (*times, times[-1] + step))
    _check_length(seconds[-1], limits, name)
    return seconds, end


class Video:
    """An open video; what it says of itself is a claim until its frames are read."""

    def __init__(self, container: "InputContainer", stream: "VideoStream", limits: Limits, name: str) -> None:
        self.name = name
        self.limits = limits
        self.codec: str = stream.codec_context.name
        self.claimed_frames: int | None = stream.frames or None
        self.claimed_seconds = None if container.duration is None else container.duration / 1_000_000
        self.rate = _rate(stream)  # frames a second, on average where they are not equally far apart
        self.time_base: Fraction = stream.time_base or 1 / self.rate  # seconds
        self._container, self._stream = container, stream
        self._formatter = pyav().video.reformatter.VideoReformatter()  # kept: one a frame takes as long again
        kinds = pyav().video.reformatter.Interpolation
        self._exact = int(kinds.AREA | kinds.ACCURATE_RND | kinds.BITEXACT)
        self._check_claims()

    def frames(self, skip: int = 0) -> Iterator[Frame]:
        """Decode frame after frame, in one thread; the first `skip` are counted and not given.

        Raises BrokenVideoError where the file cannot be read on, or ends before what its index promises; DataError
        where it has more than the limits allow.
        """
        for picture in self.pictures():
            if picture.number >= skip:
                yield Frame(*picture[:3], np.ascontiguousarray(self.upright(picture)))

    def pictures(self) -> Iterator[Picture]:
        """As `frames`, for who wants few of them or small ones: see `upright`."""
        first = last = None
        for number, decoded in enumerate(self._decoded()):
            self._check(number, decoded)
            pts = decoded.pts if decoded.pts is not None else decoded.dts
            if last is not None and (pts is None or pts <= last):  # no time, or one that has been
                pts = last + max(1, round(1 / self.rate / self.time_base))
            pts = last = pts or 0
            first = pts if first is None else first
            seconds = float((pts - first) * self.time_base)
            _check_length(seconds, self.limits, self.name)
            yield Picture(number, pts, seconds, decoded)

    def upright(self, picture: Picture, sides: tuple[int, int] | None = None) -> Pixels:
        """RGB as a player shows it, its rows perhaps apart: phones store frames lying on their side and say so.

        sides: height and width in px to scale to, by the mean over areas in FFmpeg's exact arithmetic. Raises
        BrokenVideoError if FFmpeg cannot convert the frame.
        """
        turns, options = _quarters(picture.coded), dict[str, int]()
        if sides is not None:
            height, width = sides[::-1] if turns % 2 else sides
            options = {"width": width, "height": height, "interpolation": self._exact}
        try:
            rgb = self._formatter.reformat(picture.coded, format="rgb24", threads=1, **options)
            [rows] = rgb.planes  # looked at where they are: a copy of each frame would cost a tenth of decoding it
            pixels = np.ndarray((rgb.height, rgb.width, 3), np.uint8, rows, strides=(rows.line_size, 3, 1))
        except _unreadable() as error:
            raise BrokenVideoError(f"{self.name}: readable up to frame {picture.number} ({_reason(error)})") from error
        return np.rot90(pixels, turns)

    def _decoded(self) -> Iterator["VideoFrame"]:
        """Frames as FFmpeg gives them."""
        packets = given = 0
        try:
            for packet in self._container.demux(self._stream):
                packets += bool(packet.size)
                for frame in packet.decode():
                    yield frame
                    given += 1
        except _unreadable() as error:
            raise BrokenVideoError(f"{self.name}: readable up to frame {given} ({_reason(error)})") from error
        # The index of an MP4 stands apart from the frames, and every one of them is in it, shown or not.
        if "mp4" in self._container.format.name and packets < self._stream.frames:
            raise BrokenVideoError(
                f"{self.name}: readable up to frame {given}, then the file is cut off; it had {self._stream.frames}"
            )

    def _check_claims(self) -> None:
        _check_header(self._container, self._stream, self.limits, self.name)
        # Frames that grow later: FFmpeg refuses them before they take memory. It counts their margins, too.
        most = max(2 * self.limits.pixels, _LEAST_CODED)
        self._stream.codec_context.options = {"max_pixels": str(most)}
        self._stream.thread_count = 1

    def _check(self, number: int, frame: "VideoFrame") -> None:
        _check_count(number + 1, self.limits, self.name)
        _check_size(frame.width, frame.height, self.limits, self.name)


def pyav() -> ModuleType:
    """PyAV, which reads and writes videos. Raises ConfigError if it is not installed."""
    try:
        import av
    except ImportError as error:
        raise ConfigError("videos need PyAV, which is not installed here; pip install -e '.[video]'") from error
    return av


def _unreadable() -> tuple[type[Exception], ...]:
    """What PyAV raises on damaged and hostile bytes (seen by fuzzing): a place that is not there is an OSError."""
    return pyav().FFmpegError, ValueError, OSError, OverflowError, MemoryError


@contextmanager
def _file(source: Path | BinaryIO, name: str) -> Iterator[tuple[BinaryIO, str]]:
    """The bytes, and how errors call them."""
    pyav()
    if isinstance(source, Path) and source.is_dir():
        raise DataError(f"{source}: is a folder; expected one video")
    file = source.open("rb") if isinstance(source, Path) else source
    try:
        yield file, name or str(source if isinstance(source, Path) else getattr(source, "name", "video"))
    finally:
        if isinstance(source, Path):
            file.close()


def _container(file: BinaryIO, name: str, **options: str) -> "InputContainer":
    """Open a file object, which has no name: FFmpeg would take some names for addresses."""
    allowed = {"format_whitelist": _FORMATS, "protocol_whitelist": "file", **options}
    try:
        return cast("InputContainer", pyav().open(file, container_options=allowed))
    except _unreadable() as error:
        file.seek(0)
        reason = what_else(first_bytes(file)) or _reason(error)
        raise DataError(f"{name}: no video that can be read ({reason}), as MP4, WebM, MKV, AVI are") from error


def _check_size(width: int, height: int, limits: Limits, name: str) -> None:
    if width * height > limits.pixels:
        raise DataError(f"{name}: {width} x {height} px are more than {limits.pixels:,} pixels; make it smaller")


def _check_header(container: "InputContainer", stream: "VideoStream", limits: Limits, name: str) -> None:
    """Raise DataError if a header promises more than is allowed; it may still lie."""
    seconds = (container.duration or 0) / 1_000_000
    if limits.frames is not None and stream.frames > limits.frames:
        raise DataError(f"{name}: {stream.frames} frames, more than {limits.frames}; cut it")
    if limits.seconds is not None and seconds > limits.seconds:
        raise DataError(f"{name}: {seconds:.1f} s, more than {limits.seconds:g}; cut it")


def _check_count(frames: int, limits: Limits, name: str) -> None:
    if limits.frames is not None and frames > limits.frames:
        raise DataError(f"{name}: more than {limits.frames} frames; cut it")


def _check_length(seconds: float, limits: Limits, name: str) -> None:
    if limits.seconds is not None and seconds > limits.seconds:
        raise DataError(f"{name}: longer than {limits.seconds:g} s; cut it")


def _stream(container: "InputContainer", name: str) -> "VideoStream":
    stream = container.streams.best("video")
    if stream is None:
        raise DataError(f"{name}: nothing to see in it, only sound or text")
    codec = stream.codec_context.name if stream.codec_context else "unknown"
    if codec not in _CODECS:
        raise DataError(f"{name}: its frames are {codec}, which is not read here; save it as H.264 in an MP4")
    return stream  # type: ignore[return-value]


def _rate(stream: "VideoStream") -> Fraction:
    """The rate that a header names, if a video can have it."""
    named = (stream.average_rate, stream.guessed_rate)
    return next((Fraction(rate) for rate in named if rate and _SLOWEST <= rate <= _FASTEST), _USUAL_RATE)


def _quarters(frame: "VideoFrame") -> int:
    """Quarter turns, against the clock, that set a frame upright."""
    return round(frame.rotation / 90)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
