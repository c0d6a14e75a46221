"""A model of clips and a video -> what it says second by second, as lines, a table and a picture.

In: a weight file, a video, settings. Out: `predictions/<date>_<time>/` with timeline.jsonl, timeline.csv, timeline.png
and, last, summary.json. The line of a second is about the clip that begins there, cut as the training data was: a clip
of that place in `make predict IMAGES=...` gets the same probabilities, to the last digit. Run by __main__.py.
"""

import csv
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from drift_detector_pipeline.arrays import Pixels
from drift_detector_pipeline.config import load_section
from drift_detector_pipeline.console import log
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.files import (
    file_hash,
    final_name,
    new_folder,
    spreadsheet_row,
    write_atomically,
    write_json,
)
from drift_detector_pipeline.frames.pieces import by_second
from drift_detector_pipeline.frames.read import frame_times
from drift_detector_pipeline.modeling.answers import answers_of, check_for_task
from drift_detector_pipeline.modeling.clip_files import read_pieces
from drift_detector_pipeline.modeling.trained import Trained, facts_of, open_trained, precision_of
from drift_detector_pipeline.networks.header import read_description
from drift_detector_pipeline.raw.listing import Footage
from drift_detector_pipeline.runs.facts import now, this_command
from drift_detector_pipeline.runs.machine import Machine, prepared
from drift_detector_pipeline.settings import Run
from drift_detector_pipeline.settings_in_use import Predict
from drift_detector_pipeline.tasks.catalog import task_named
from drift_detector_pipeline.video.boxed import Stopped
from drift_detector_pipeline.video.predicted import Predicted
from drift_detector_pipeline.video.strip import Second, strip_png

_SHOWN = 10  # pictures of the strip
_PICTURE_PX = 96  # of their height


def is_over_time(file: Path) -> bool:
    """Whether a weight file is about clips. Raises ModelError if it is missing, damaged or foreign."""
    return task_named(read_description(file).get("task")).over_time


def predict_timeline(
    file: Path, video: Path, how: Predict, overrides: Sequence[str], stopping: Callable[[], bool]
) -> Predicted | None:  # fmt: skip
    """Say what happens in each second of a video; None, and no folder, if `stopping` said so between two clips.

    `overrides` are words of the `run` settings. Raises a PipelineError if the weights or the video cannot be read.
    """
    precision = precision_of(read_description(file).get("precision"))
    said, problems = list[Second](), dict[str, str]()
    with prepared(load_section(Run, [f"run.precision={precision}", *overrides])) as machine:
        trained = open_trained(file, machine)
        check_for_task(how, trained.task, trained.classes)
        lines = _lines(trained, machine, video, how, said, problems)
        try:
            with new_folder(file.parent / "predictions") as partial:
                _write(partial, lines, stopping)
                if not said:
                    raise DataError(f"{video}: {next(iter(problems.values()), 'no frame in it')}")
                write_atomically(partial / "timeline.png", strip_png(said, trained.classes, how.threshold))
                told = _told(said, problems)
                write_json(partial / "summary.json", {**told, **_facts(trained, machine, video, how)})
        except Stopped:
            return None
    if told["problem"]:
        log.warning("%s: %s", video, told["problem"])
    counted = ", ".join(f"{name} {count}" for name, count in told["seconds_by_label"].items())
    return Predicted(final_name(partial), f"{len(said)} s; {counted}")


def _lines(
    trained: Trained, machine: Machine, video: Path, how: Predict, said: list[Second], problems: dict[str, str]
) -> Iterator[dict[str, Any]]:
    """A line a second; what it says goes into `said`, too, with a picture where one is to be shown."""
    assert trained.clip is not None
    pieces = _pieces(video, trained.clip.clip_seconds)
    every = max(1, math.ceil(len(pieces) / _SHOWN))
    where = {str(number): piece for number, piece in enumerate(pieces)}
    stored = read_pieces(where.items(), trained.clip, trained.stored_side_px, problems)
    for image, answer in answers_of(trained, machine, stored, how):
        number, piece = int(image.name), where[image.name]
        shown = _small(image.stored.pixels) if number % every == 0 else None
        said.append(Second(piece.start or 0.0, piece.end or 0.0, answer, shown))
        yield {"second": number, "start": piece.start, "end": piece.end, **answer}


def _pieces(video: Path, clip_seconds: float) -> list[Footage]:
    times, length = frame_times(video)
    return by_second(str(video), times, length, clip_seconds)


def _small(frames: Pixels) -> Pixels:
    """The middle frame, only as large as it is shown."""
    middle: Pixels = frames[len(frames) // 2]
    step = max(1, middle.shape[0] // _PICTURE_PX)
    smaller: Pixels = middle[::step, ::step]
    return smaller


def _write(folder: Path, lines: Iterator[dict[str, Any]], stopping: Callable[[], bool]) -> None:
    """Write lines and table as they come."""
    with (
        (folder / "timeline.jsonl").open("w", encoding="utf-8") as text,
        (folder / "timeline.csv").open("w", newline="", encoding="utf-8") as table,
    ):
        cells = csv.writer(table, lineterminator="\n")
        cells.writerow(["second", "start", "end", "label", "probability"])
        for line in lines:
            text.write(json.dumps(line, ensure_ascii=False) + "\n")
            cells.writerow(spreadsheet_row([line[name] for name in ("second", "start", "end", "label", "probability")]))
            if stopping():
                raise Stopped


def _told(said: Sequence[Second], problems: dict[str, str]) -> dict[str, Any]:
    counts = Counter(one.answer["label"] for one in said)
    return {
        "seconds": len(said),
        "seconds_by_label": {name: counts[name] for name in sorted(counts)},
        "problem": next(iter(problems.values()), None),
    }


def _facts(trained: Trained, machine: Machine, video: Path, how: Predict) -> dict[str, Any]:
    assert trained.clip is not None
    return {
        "video": str(video),
        "video_sha256": file_hash(video),
        "threshold": how.threshold,
        **trained.clip._asdict(),
        "command": this_command(),
        "when": now(),
        **facts_of(trained, machine),
    }
