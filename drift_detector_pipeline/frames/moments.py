"""The clips of one file -> the frames of each that are stored: evenly spaced in time, small, of one size.

In: a file, and where its clips lie in it. Out: uint8 (T, H, W, 3) a clip, or why there is none. A video is decoded
once, from its beginning, and only frames that are stored are made into arrays. Read by decode_clips.py, and by whatever
is given a video; no PyTorch.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.frames.array_file import read_array
from drift_detector_pipeline.frames.read import Picture, Video, open_video
from drift_detector_pipeline.images.decode_many import read_image
from drift_detector_pipeline.images.decoder import LARGEST_ASPECT, decode
from drift_detector_pipeline.raw.listing import Footage

_AS_IT_IS = 1 << 30  # px, longer than any picture


def clips_of(root: Path, clips: Sequence[Footage], side_px: int, most: int) -> Iterator[Pixels | DataError]:
    """The frames of all clips of one file, in their order: (T, H, W, 3), shorter side at most `side_px`, T <= `most`.

    `clips`: of one file, as frames/pieces.py gives them. Instead of a clip that cannot be had whole comes the reason.
    """
    file = root / clips[0].file
    if clips[0].pictures or file.suffix.lower() == ".npz":
        yield from (_still(file, clip, side_px, most) for clip in clips)
    else:
        yield from _of_video(file, clips, side_px, most)


def small_frames(frames: Pixels, side_px: int, most: int) -> Pixels:
    """Of an array (T, H, W, 3) at most `most` frames, evenly spaced, shorter side at most `side_px`."""
    return np.stack([_smaller(frames[place], side_px) for place in chosen(len(frames), most)])


def chosen(frames: int, most: int) -> list[int]:
    """Which of so many frames to keep: all, or `most` of them, evenly spaced."""
    kept = min(frames, most)
    return [int((place + 0.5) * frames / kept) for place in range(kept)]


def stored_sides(height: int, width: int, side_px: int) -> tuple[int, int]:
    """Height and width that frames are stored in. Raises DataError for a strip that is no picture of something."""
    if max(height, width) > LARGEST_ASPECT * min(height, width):
        raise DataError(f"{width} x {height} px is longer than {LARGEST_ASPECT}:1")
    scale = min(1.0, side_px / min(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _still(file: Path, clip: Footage, side_px: int, most: int) -> Pixels | DataError:
    try:
        return np.stack((_of_pictures if clip.pictures else _of_array)(file, clip, side_px, most))
    except DataError as error:
        return error


def _of_pictures(file: Path, clip: Footage, side_px: int, most: int) -> list[Pixels]:
    found = list[Pixels]()
    for name in (clip.pictures[place] for place in chosen(len(clip.pictures), most)):
        try:
            pixels = decode(read_image(file / name), _AS_IT_IS, "longer")
        except DataError as error:
            raise DataError(f"{name}: {error}") from error
        found.append(_smaller(pixels, side_px))
        if found[0].shape != found[-1].shape:
            raise DataError(f"{name}: {pixels.shape[1]} x {pixels.shape[0]} px, another shape than the first frame")
    return found


def _of_array(file: Path, clip: Footage, side_px: int, most: int) -> list[Pixels]:
    return list(small_frames(read_array(file, name=file.name), side_px, most))


def _smaller(pixels: Pixels, side_px: int) -> Pixels:
    height, width = stored_sides(pixels.shape[0], pixels.shape[1], side_px)
    if pixels.shape[:2] == (height, width):
        return pixels
    return np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))


def _of_video(file: Path, clips: Sequence[Footage], side_px: int, most: int) -> Iterator[Pixels | DataError]:
    wanted, given, problem = [_Wanted(clip, most) for clip in clips], 0, DataError("")
    looking = sorted(wanted, key=lambda clip: clip.start)
    try:
        with open_video(file, name=file.name) as video:
            film = _Film(video, side_px)
            for picture in video.pictures():
                film.show(picture, looking)
                while given < len(wanted) and wanted[given].whole:
                    yield wanted[given].take()
                    looking.remove(wanted[given])
                    given += 1
                if given == len(wanted):
                    return
            film.end(looking)
            problem = DataError(f"ends at {film.seconds:.3f} s, before the clip begins")
    except DataError as error:
        problem = error
    for clip in wanted[given:]:
        yield clip.take() if clip.whole else problem


class _Wanted:
    """A clip on its way: the moments at which it is looked at, and what was seen."""

    def __init__(self, clip: Footage, most: int) -> None:
        self.start, end = clip.start or 0.0, clip.end or 0.0
        count = max(1, min(clip.frames or 0, most))
        self.moments = [self.start + (place + 0.5) * (end - self.start) / count for place in range(count)]
        self._frames: Pixels | None = None  # (T, H, W, 3), filled up to:
        self._seen = 0

    @property
    def whole(self) -> bool:
        return self._seen == len(self.moments)

    @property
    def next(self) -> float:
        """The next moment to look at; never, once it is whole."""
        return float("inf") if self.whole else self.moments[self._seen]

    def see(self, pixels: Pixels) -> None:
        if self._frames is None:
            self._frames = np.empty((len(self.moments), *pixels.shape), np.uint8)
        self._frames[self._seen] = pixels
        self._seen += 1

    def take(self) -> Pixels:
        """The frames, which are kept here no longer."""
        assert self._frames is not None
        frames, self._frames = self._frames, None
        return frames


class _Film:
    """A video running: at any moment the last frame that has come is seen."""

    def __init__(self, video: Video, side_px: int) -> None:
        self._video, self._side_px = video, side_px
        self._seen: Picture | None = None
        self._sides: tuple[int, int] | None = None  # of the first frame, smaller

    def show(self, picture: Picture, wanted: Sequence[_Wanted]) -> None:
        """Go on to a frame; whoever wanted to look before it has come gets the one before."""
        self._look(picture.seconds, wanted)
        self._seen = picture

    @property
    def seconds(self) -> float:
        """When the frame that is seen will be over, unless another comes before."""
        return self._seen.seconds + float(1 / self._video.rate) if self._seen else 0.0

    def end(self, wanted: Sequence[_Wanted]) -> None:
        """What has begun goes on to show the last frame."""
        self._look(float("inf"), [clip for clip in wanted if clip.start < self.seconds])

    def _look(self, until: float, wanted: Sequence[_Wanted]) -> None:
        pixels: Pixels | None = None
        for clip in wanted:
            while self._seen is not None and clip.next < until:
                pixels = self._small(self._seen) if pixels is None else pixels
                clip.see(pixels)
            if clip.start > until:
                break

    def _small(self, picture: Picture) -> Pixels:
        if self._sides is None:
            self._sides = stored_sides(*picture.sides, self._side_px)
        return self._video.upright(picture, self._sides)
