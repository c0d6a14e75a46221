"""How often things in a video lose their numbers: drawn scenes, and the tracker beside those of Roboflow's `trackers`.

`python -m drift_detector_pipeline.proof.video_tracking` writes reports/video_tracking.json. The peers need an
environment of their own (`pip install trackers`, which brings OpenCV) with this package on its path; without them ours
alone is measured. Scenes are read by tests/video/test_track.py, too.
"""

import inspect
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from drift_detector_pipeline.files import write_json
from drift_detector_pipeline.video.track import SURE, Tracker

REPORT = Path("reports/video_tracking.json")
SEEDS = range(10)
FRAMES, RATE = 150, 25.0
WIDTH, HEIGHT = 640, 480  # px
_PEERS = ("SORTTracker", "ByteTrackTracker", "OCSORTTracker", "CBIoUTracker")
_BAR_PX = 30  # to either side of the middle: what is behind it is not seen


class Motion(NamedTuple):
    """A kind of scene."""

    things: int = 8
    fastest_px: float = 6.0  # a frame
    side_px: float = 40.0
    noise_px: float = 1.5
    missed: float = 0.05  # share of the boxes
    bar: bool = True


MOTIONS = {
    "usual": Motion(), "nothing in the way": Motion(bar=False), "crowded": Motion(things=20),
    "noisy": Motion(noise_px=4.0, missed=0.2), "fast": Motion(fastest_px=20.0),
    "fast and small": Motion(fastest_px=20.0, side_px=24.0),
}  # fmt: skip


class Found(NamedTuple):
    """A box of a frame."""

    thing: int  # whose it is; -1: nobody's
    box: list[float]  # x0 y0 x1 y1
    score: float


class Numbering(Protocol):
    """What gives numbers to boxes, as `Tracker` does."""

    def update(
        self, seconds: float, boxes: Sequence[Sequence[float]], labels: Sequence[int], scores: Sequence[float]
    ) -> list[int | None]:
        """The number of each box, or None."""


def scene(seed: int, motion: Motion, frames: int = FRAMES) -> Iterator[list[Found]]:
    """Boxes of things that bounce about, one of ten faint; every fifth frame has one of nothing."""
    rng = np.random.default_rng(seed)
    place = rng.uniform(40, [WIDTH - 40, HEIGHT - 40], (motion.things, 2))
    angle = rng.uniform(0, 2 * np.pi, motion.things)
    speed = motion.fastest_px * rng.uniform(0.3, 1, (motion.things, 1))
    move = speed * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    half = motion.side_px / 2 * rng.uniform(0.7, 1.4, (motion.things, 2))
    for _ in range(frames):
        place += move
        move[((place < 20) & (move < 0)) | ((place > (WIDTH - 20, HEIGHT - 20)) & (move > 0))] *= -1
        seen = rng.random(motion.things) >= motion.missed
        if motion.bar:
            seen &= np.abs(place[:, 0] - WIDTH / 2) >= _BAR_PX
        corners = np.hstack([place - half, place + half]) + rng.normal(0, motion.noise_px, (motion.things, 4))
        score = np.where(rng.random(motion.things) < 0.9, 0.9, 0.3)
        found = [Found(int(one), corners[one].tolist(), float(score[one])) for one in np.flatnonzero(seen)]
        if rng.random() < 0.2:
            x, y = rng.uniform(0, [WIDTH, HEIGHT])
            found.append(Found(-1, [x - 20, y - 20, x + 20, y + 20], 0.55))
        yield found


class Followed(NamedTuple):
    """How well a scene was followed."""

    switches: int  # how often a thing has another number than when last seen, as CLEAR MOT counts
    numbered: float  # share of the things' boxes that have a number


def follow(frames: Sequence[Sequence[Found]], tracker: Numbering) -> Followed:
    """Ask a tracker for the numbers of all boxes, and compare them with whose they are."""
    last, switches, numbered, total = dict[int, int](), 0, 0, 0
    for place, found in enumerate(frames):
        numbers = tracker.update(
            place / RATE, [one.box for one in found], [0] * len(found), [one.score for one in found]
        )
        for one, number in zip(found, numbers, strict=True):
            total += one.thing >= 0
            if one.thing >= 0 and number is not None:
                numbered += 1
                switches += last.get(one.thing, number) != number
                last[one.thing] = number
    return Followed(switches, numbered / total)


def main() -> int:
    """Measure every tracker on every kind of scene, print a row each, write the report."""
    trackers: dict[str, Callable[[], Numbering]] = {"ours": lambda: Tracker(RATE, SURE)} | _peers()
    rows = [_row(motion, name, make) for motion in MOTIONS for name, make in trackers.items()]
    versions = {"trackers": metadata.version("trackers")} if len(trackers) > 1 else {}
    facts = {"scenes": len(SEEDS), "frames": FRAMES, "unit": "identity switches a scene", "versions": versions}
    write_json(REPORT, facts | {"motions": {name: one._asdict() for name, one in MOTIONS.items()}, "rows": rows})
    return 0


def _row(motion: str, name: str, make: Callable[[], Numbering]) -> dict[str, Any]:
    scenes = [list(scene(seed, MOTIONS[motion])) for seed in SEEDS]
    start = time.process_time()
    found = [follow(frames, make()) for frames in scenes]
    spent_ms = 1000 * (time.process_time() - start) / (len(scenes) * FRAMES)
    switches, numbered = [one.switches for one in found], float(np.mean([one.numbered for one in found]))
    mean, error = float(np.mean(switches)), float(np.std(switches, ddof=1) / len(switches) ** 0.5)
    print(f"{motion:20}{name:20}{mean:7.1f} +- {error:.1f}  {numbered:.1%} numbered  {spent_ms:.2f} ms a frame")
    return {"motion": motion, "tracker": name, "switches": mean, "standard_error": error,
            "numbered": numbered, "cpu_ms_a_frame": spent_ms}  # fmt: skip


def _peers() -> dict[str, Callable[[], Numbering]]:
    if find_spec("trackers") is None:
        return {}
    kinds = import_module("trackers")
    return {name: partial(_Peer, getattr(kinds, name)) for name in _PEERS}


class _Peer:
    """A tracker of that package, asked as ours is."""

    def __init__(self, kind: Any) -> None:
        takes_rate = "frame_rate" in inspect.signature(kind.__init__).parameters
        self._tracker = kind(frame_rate=RATE) if takes_rate else kind()

    def update(
        self, seconds: float, boxes: Sequence[Sequence[float]], labels: Sequence[int], scores: Sequence[float]
    ) -> list[int | None]:
        """The number of each box, None for one that it has not followed for long enough."""
        del seconds
        given = import_module("supervision").Detections(
            xyxy=np.array(boxes, float).reshape(-1, 4), confidence=np.array(scores, float),
            class_id=np.array(labels, int), data={"place": np.arange(len(boxes))},
        )  # fmt: skip
        said, numbers = self._tracker.update(given), dict[int, int]()
        if said.tracker_id is not None:
            numbers = {
                int(at): int(one) for at, one in zip(said.data["place"], said.tracker_id, strict=True) if one >= 0
            }
        return [numbers.get(place) for place in range(len(boxes))]


if __name__ == "__main__":
    sys.exit(main())
