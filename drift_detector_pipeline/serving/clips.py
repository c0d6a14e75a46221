"""A clip's bytes -> what a model of clips says of it, and of a video second by second.

In: a short video, or an .npz of frames, of unknown origin; what either costs is read from its header first. Out: a
`ClipSaid`. Frames are chosen as at packing and in `make predict`; what is said of a clip is computed from its frames in
NumPy, as an evaluation does. Read by service.py.
"""

import io
import tempfile
from collections.abc import Generator
from contextlib import aclosing
from pathlib import Path
from typing import NamedTuple

import numpy as np

from drift_detector_pipeline.arrays import Float32s, Float64s, Pixels
from drift_detector_pipeline.clip_cut import ClipCut
from drift_detector_pipeline.drift.scores.signals import Signals
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.frames.array_file import read_array
from drift_detector_pipeline.frames.moments import clips_of, small_frames
from drift_detector_pipeline.frames.pieces import by_second
from drift_detector_pipeline.frames.read import Limits, frame_times
from drift_detector_pipeline.raw.listing import Footage
from drift_detector_pipeline.release.artefact import MOST_FRAMES
from drift_detector_pipeline.serving.batcher import Answered
from drift_detector_pipeline.serving.engine import Crop
from drift_detector_pipeline.serving.lane import NAME, Lane, Sent
from drift_detector_pipeline.tasks.classification.metrics import probabilities
from drift_detector_pipeline.tasks.clips.frames import looked_at, said_together

MOST_ARRAY_BYTES = 256_000_000  # of frames, once they are unpacked
_LONG = 1.5  # clips' lengths from which on a video is more than one clip, as at packing
_SAME_S = 1e-6


class Moment(NamedTuple):
    """What is said of the clip that begins at a second of a video."""

    start: float  # seconds
    end: float
    probabilities: Float64s  # (K,)


class ClipSaid(NamedTuple):
    """What is said of a clip."""

    answered: Answered  # of its middle frame
    probabilities: Float64s  # (K,) of all of it
    frames: int  # that were looked at, for that
    seconds: float | None  # of a video
    timeline: list[Moment]  # of a video
    problem: str | None  # what of the video could not be had


class _Piece(NamedTuple):
    """A clip that can be asked about, or why it cannot be had."""

    where: Footage | None  # of one second; None: all of it
    frames: list[Crop]
    problem: str | None = None


async def look_at_clip(lane: Lane, sent: Sent, cut: ClipCut, limits: Limits) -> ClipSaid:
    """Ask about a video as one clip and second by second, or about an array as one clip.

    Raises RequestError as `videos.watch` does.
    """
    reading = _Reading(sent.content, cut, sent.engine.sizes_px, limits)
    moments, problems, whole = list[tuple[Footage, Answered]](), list[str](), list[tuple[Answered, int]]()
    async with lane.turn():
        async with aclosing(lane.ahead(reading.pieces())) as pieces:  # type: ignore[type-var]
            async for piece in pieces:
                if piece.problem is not None:
                    problems.append(piece.problem)
                    continue
                said = of_frames(await sent.ask_all(piece.frames))
                if piece.where is None:
                    whole.append((said, len(piece.frames)))
                else:
                    moments.append((piece.where, said))
        if not whole and moments:  # broken: what can be had of it
            whole.append((_mean([said for _, said in moments]), 0))
        if not whole:
            raise DataError(problems[0] if problems else f"{NAME}: no frame in it")
    [(one, frames)] = whole
    row = (
        _row_of_clips(one, moments, cut.clip_seconds) if (reading.seconds or 0) > _LONG * cut.clip_seconds else one.phi
    )
    timeline = [Moment(where.start or 0.0, where.end or 0.0, _chances(said)) for where, said in moments]
    problem = next(iter(problems), None)
    return ClipSaid(one._replace(phi=row), _chances(one), frames, reading.seconds, timeline, problem)


class _Reading:
    """A file that is being read."""

    def __init__(self, content: bytes, cut: ClipCut, sizes_px: tuple[int, int], limits: Limits) -> None:
        self.seconds: float | None = None
        self._content, self._cut, self._sizes_px, self._limits = content, cut, sizes_px, limits

    def pieces(self) -> Generator[_Piece, None, None]:
        """The seconds of a video, then all of it; of an array all of it. Belongs to one thread."""
        if is_array(self._content):
            limits = self._limits._replace(frames=MOST_FRAMES, seconds=None)
            frames = read_array(io.BytesIO(self._content), limits, "the array", MOST_ARRAY_BYTES)
            yield self._piece(None, small_frames(frames, self._sizes_px[0], self._cut.stored_frames))
            return
        with tempfile.TemporaryDirectory() as place:
            (Path(place) / NAME).write_bytes(self._content)
            yield from self._of_video(Path(place))

    def _of_video(self, place: Path) -> Generator[_Piece, None, None]:
        seconds, whole = self._measured()
        wanted = [*seconds, whole]
        found = clips_of(place, wanted, self._sizes_px[0], self._cut.stored_frames)
        for footage, stored in zip(wanted, found, strict=True):
            where = None if footage is whole else footage
            if isinstance(stored, DataError):
                yield _Piece(where, [], str(stored))
            else:
                yield self._piece(where, stored)

    def _measured(self) -> tuple[list[Footage], Footage]:
        """Each second, and all of it, by what the file says without being decoded."""
        times, self.seconds = frame_times(io.BytesIO(self._content), self._limits, NAME)
        seconds = by_second(NAME, times, self.seconds, self._cut.clip_seconds)
        return seconds, Footage(NAME, 0.0, self.seconds, len(times))

    def _piece(self, where: Footage | None, stored: Pixels) -> _Piece:
        shown, sides = looked_at(stored, self._cut.k_frames, self._sizes_px[1]), (stored.shape[1], stored.shape[2])
        return _Piece(where, [Crop(crop, sides, sides) for crop in shown])


def of_frames(answers: list[Answered]) -> Answered:
    """What is said of a clip by what is said of its frames, drift included; the rest is the middle frame's."""
    features = [one.features for one in answers if one.features is not None]
    said = answers[0].engine.logits_of_clip(_logits(answers), np.stack(features) if features else None)
    whole, signals = _as_one(answers, said), [one.signals for one in answers if one.signals is not None]
    if not signals:
        return whole
    joined = Signals(*map(np.concatenate, zip(*signals, strict=True)))
    return whole._replace(phi=whole.engine.row_of_clip(joined))


def _mean(clips: list[Answered]) -> Answered:
    """The mean of what is said of clips."""
    return _as_one(clips, said_together(_logits(clips)))


def _logits(answers: list[Answered]) -> Float32s:
    return np.stack([one.logits for one in answers])  # type: ignore[misc]


def _as_one(answers: list[Answered], logits: Float32s) -> Answered:
    """The middle one with other logits (K,) and their probabilities."""
    whole = answers[len(answers) // 2]._replace(logits=logits)
    return whole._replace(probabilities=_chances(whole).astype(np.float32))


def _row_of_clips(whole: Answered, moments: list[tuple[Footage, Answered]], clip_seconds: float) -> Float32s | None:
    """Scores of drift of all that was sent: of a long video the mean over clips as long as those learned from.

    Frames far apart differ more than those of such a clip do, and so would their mean.
    """
    rows = [
        said.phi for where, said in moments
        if said.phi is not None and (where.end or 0.0) - (where.start or 0.0) > clip_seconds - _SAME_S
    ]  # fmt: skip
    if not rows:
        return whole.phi
    row: Float32s = np.stack(rows).mean(axis=0, dtype=np.float64).astype(np.float32)
    return row


def is_array(content: bytes) -> bool:
    """Whether a file begins as an .npz does."""
    return content.startswith(b"PK\x03\x04")


def _chances(said: Answered) -> Float64s:
    assert said.logits is not None
    row: Float64s = probabilities(said.logits[None])[0]
    return row
