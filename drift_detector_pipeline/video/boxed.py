"""A video and a detector -> boxes of every frame, things with numbers, and a video with all of it drawn in.

In: a file and a function. Out: boxes.jsonl, which grows while the video is read and from which a stopped run goes on;
then boxed.mp4, drawn from those lines and the frames once more. Both are, to the byte, what an undisturbed run leaves.
Run by __main__.py.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.console import progress_bar
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.frames.read import BrokenVideoError, Frame, Video, open_video
from drift_detector_pipeline.frames.write import SUFFIX, Codec, video_writer
from drift_detector_pipeline.video.draw import drawn
from drift_detector_pipeline.video.lines import Line, append_lines, read_lines, whole_lines
from drift_detector_pipeline.video.numbering import Numbering

LINES = "boxes.jsonl"

Answer = dict[str, Any]  # of boxes {"boxes": [{"label", "score", "box": [x0, y0, x1, y1]}]}, in px of the frame


class Detector(NamedTuple):
    """What is asked about frames."""

    view: Callable[[Pixels], Any]  # a frame (H, W, 3) -> what the network is given of it, which is smaller
    answer: Callable[[Sequence[Any]], list[Answer]]  # at most `batch` views -> an answer each, about the frame
    batch: int
    classes: Sequence[str]


class Stopped(Exception):  # noqa: N818  (no error: somebody has asked for it)
    """The run ended before the video did."""


class Boxed(NamedTuple):
    """What became of a video."""

    frames: int
    seconds: float  # of the last frame
    problem: str | None  # why there were no more
    boxes: dict[str, int]  # of the score that is drawn, by class; of a classification frames, by label
    things: dict[str, int] | None  # numbers given, by class; None of a classification
    stream: dict[str, object]  # codec, rate, and what the header says


def boxed(
    video: Path, folder: Path, detector: Detector, score: float, codec: Codec, stopping: Callable[[], bool]
) -> Boxed:
    """Fill `folder` with boxes.jsonl and boxed.mp4 (or .webm), going on where an earlier call was stopped.

    `score`: a box is drawn and begins a thing from it on. `stopping` is asked between batches: if it says yes,
    `Stopped` is raised. Raises DataError if not one frame can be read.
    """
    lines = folder / LINES
    problem = _ask(video, lines, detector, score, stopping)
    for other in SUFFIX.values():  # begun with another codec
        (folder / f"boxed{other}").unlink(missing_ok=True)
    _draw(video, lines, folder / f"boxed{SUFFIX[codec]}", codec, stopping)
    return _told(video, lines, score, problem)


def _ask(
    video: Path, lines: Path, detector: Detector, score: float, stopping: Callable[[], bool]
) -> str | None:  # fmt: skip
    """Write a line of each frame that has none; return why the video ended early, if it did."""
    known = whole_lines(lines, detector.batch)
    problems = list[str]()
    with open_video(video) as opened, _bar(opened, "boxes", len(known)) as bar:
        tracker = Numbering(float(opened.rate), score, detector.classes)
        for line in known:
            tracker.number(line)
        frames = _until_broken(opened, len(known), problems)
        seen = ((frame.number, frame.seconds, detector.view(frame.pixels)) for frame in frames)
        while group := list(itertools.islice(seen, detector.batch)):
            answers = detector.answer([view for _, _, view in group])
            further = [_line(*frame[:2], answer) for frame, answer in zip(group, answers, strict=True)]
            for line in further:
                tracker.number(line)
            append_lines(lines, further)
            bar.update(len(group))
            if stopping():
                raise Stopped
    if not known and not lines.exists():
        raise DataError(problems[0] if problems else f"{video}: no frame in it")
    return problems[0] if problems else None


def _draw(video: Path, lines: Path, target: Path, codec: Codec, stopping: Callable[[], bool]) -> None:
    """Read the frames again and write them with what the lines say."""
    with (
        open_video(video) as opened,
        video_writer(target, opened.rate, codec) as writer,
        _bar(opened, "drawing", 0) as bar,
    ):
        for frame, line in zip(_until_broken(opened, 0, []), read_lines(lines), strict=True):
            writer.write(drawn(frame.pixels, line), frame.seconds)
            bar.update()
            if stopping():
                raise Stopped


def _line(number: int, seconds: float, answer: Answer) -> Line:
    line = {"frame": number, "seconds": seconds, **answer}
    if "boxes" in answer:
        line["boxes"] = [{"track": None, **box} for box in answer["boxes"]]
    return line


def _until_broken(video: Video, skip: int, problems: list[str]) -> Iterator[Frame]:
    """All frames that can be read; why there are no more goes into `problems`."""
    try:
        yield from video.frames(skip)
    except BrokenVideoError as error:
        problems.append(str(error))


def _told(video: Path, lines: Path, score: float, problem: str | None) -> Boxed:
    boxes, things, last = Counter[str](), dict[int, str](), Line()
    for last in read_lines(lines):
        boxes.update(box["label"] for box in last.get("boxes", [last]) if box.get("score", 1) >= score)
        things |= {box["track"]: box["label"] for box in last.get("boxes", []) if box["track"]}
    with open_video(video) as opened:
        header = {"frames": opened.claimed_frames, "seconds": opened.claimed_seconds}
        stream = {"codec": opened.codec, "frames_a_second": float(opened.rate), "header": header}
    numbered = _sorted(Counter(things.values())) if "boxes" in last else None
    return Boxed(last["frame"] + 1, last["seconds"], problem, _sorted(boxes), numbered, stream)


def _sorted(counts: Counter[str]) -> dict[str, int]:
    return {name: counts[name] for name in sorted(counts)}


def _bar(video: Video, title: str, done: int) -> Any:
    return progress_bar(total=video.claimed_frames, title=title, unit=" frames", done=done)


def words(done: Boxed) -> str:
    """What came out, in a line: things by class, or frames by label."""
    counts = done.boxes if done.things is None else done.things
    counted = ", ".join(f"{name} {number}" for name, number in counts.items())
    return f"{done.frames} frames, {done.seconds:.1f} s; {counted or 'nothing found'}"
