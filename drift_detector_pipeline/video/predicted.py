"""A weight file and a video -> a folder of predictions, begun once however often it is stopped.

In: a weight file, a video, settings. Out: `predictions/<date>_<time>/`; until all is done it is a hidden folder named
after what decides its bytes, by which the same command finds it. Read by __main__.py.
"""

import datetime
import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from drift_detector_pipeline.console import log
from drift_detector_pipeline.errors import DataError
from drift_detector_pipeline.files import disk_full_explained, file_hash, held_alone, settled, write_json
from drift_detector_pipeline.runs.facts import now, this_command
from drift_detector_pipeline.settings_in_use import Predict
from drift_detector_pipeline.video.boxed import LINES, Boxed, Stopped, boxed, words
from drift_detector_pipeline.video.detector import open_detector
from drift_detector_pipeline.video.track import SURE

_FORMAT = 1  # of boxes.jsonl; another one does not go on from lines of this one


class Predicted(NamedTuple):
    """What came of a video: of boxes or, by timeline.py, of clips."""

    folder: Path  # with summary.json, and boxes.jsonl and boxed.mp4, or timeline.jsonl, .csv and .png
    words: str  # how much was found


def predict_video(
    file: Path, video: Path, how: Predict, overrides: Sequence[str], stopping: Callable[[], bool]
) -> Predicted | None:  # fmt: skip
    """Box a video with the weights of `file`; None if `stopping` said so, asked between two batches of frames.

    `overrides` are words of the `run` settings. Raises a PipelineError if the weights or the video cannot be read, or
    another process is at the same.
    """
    place = file.parent / "predictions"
    with open_detector(file, how, overrides) as (detector, facts):
        facts |= {"video": str(video), "video_sha256": file_hash(video)}
        facts |= {"threshold": how.threshold, "tile_px": how.tile_px}
        partial = place / f".video_{_key(facts, detector.batch)}.partial"
        with disk_full_explained(place):
            partial.mkdir(parents=True, exist_ok=True)
            with held_alone(partial / ".lock") as alone:
                if not alone:
                    raise DataError(f"{partial}: another process is at this video; wait for it")
                try:
                    done = boxed(video, partial, detector, how.threshold or SURE, how.codec, stopping)
                except Stopped:
                    return None
                finally:
                    if not (partial / LINES).exists():
                        shutil.rmtree(partial)
                return Predicted(_finished(partial, facts, done), words(done))


def _key(facts: Mapping[str, Any], batch: int) -> str:
    """Sixteen digits that differ if a line might: weights, video, machine, threshold, tiles."""
    deciding = {name: value for name, value in facts.items() if name not in ("weights", "video")}
    text = json.dumps([_FORMAT, batch, deciding], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _finished(partial: Path, facts: Mapping[str, Any], done: Boxed) -> Path:
    if done.problem:
        log.warning("%s", done.problem)
    write_json(partial / "summary.json", {**done._asdict(), **facts, "command": this_command(), "when": now()})
    (partial / ".lock").unlink()
    return settled(partial, partial.with_name(f"{datetime.datetime.now():%Y-%m-%d_%H-%M-%S}"))
