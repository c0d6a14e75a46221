"""How long an image waits while the service watches a video: one client asks about images, another about films.

In: a service and image files. Out: milliseconds of the clock, alone and beside films, in turn. Read by serving_load.py.
"""

import contextlib
import json
import statistics
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from drift_detector_pipeline.frames.write import video_writer

FRAMES, RATE, ROUNDS, REQUESTS = 120, 25, 4, 60
_SIDES = (480, 640)  # of a frame
_TIMEOUT_S = 120


def beside_a_film(address: str, images: Sequence[Path], place: Path) -> dict[str, Any]:
    """Milliseconds of an image, median and 99th of a hundred, and frames a second that the films got."""
    film = _film(images, place / "film.mp4").read_bytes()
    contents = [path.read_bytes() for path in images[:REQUESTS]]
    found: dict[str, list[float]] = {"alone": [], "beside_films": []}
    frames, watched_s = 0, 0.0
    for _ in range(ROUNDS):
        found["alone"] += _asked(address, contents)
        over = threading.Event()
        watching = _Watching(address, film, over)
        watching.start()
        found["beside_films"] += _asked(address, contents)
        over.set()
        watching.join()
        frames, watched_s = frames + watching.frames, watched_s + watching.seconds
    rows = {name: {"med": statistics.median(ms), "p(99)": float(np.quantile(ms, 0.99))} for name, ms in found.items()}
    return {
        **rows,
        "frames_a_second": round(frames / watched_s, 1),
        "film": f"{FRAMES} frames of {_SIDES[1]} px, H.264",
    }


class _Watching(threading.Thread):
    """A client that sends the film until the event is set, and then waits for its last answer."""

    def __init__(self, address: str, film: bytes, over: threading.Event) -> None:
        super().__init__(daemon=True)
        self._address, self._film, self._over = address, film, over
        self.frames, self.seconds = 0, 0.0

    def run(self) -> None:
        while not self._over.is_set():
            begun = time.monotonic()
            with contextlib.suppress(urllib.error.HTTPError):
                said = json.loads(_post(self._address, self._film))["answers"][0]
                self.frames += len(said["frames"])
            self.seconds += time.monotonic() - begun


def _asked(address: str, contents: Sequence[bytes]) -> list[float]:
    """Milliseconds of each image, one after another."""
    return [_milliseconds(lambda one=one: _post(address, one)) for one in contents]  # type: ignore[misc]


def _milliseconds(work: Callable[[], object]) -> float:
    begun = time.monotonic()
    work()
    return 1000 * (time.monotonic() - begun)


def _post(address: str, content: bytes) -> bytes:
    request = urllib.request.Request(f"{address}/predict", content, {"Content-Type": "application/octet-stream"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310
        said: bytes = answer.read()
        return said


def _film(images: Sequence[Path], target: Path) -> Path:
    """A window that moves over the images, a second each."""
    height, width = _SIDES
    with video_writer(target, Fraction(RATE)) as writer:
        for number in range(FRAMES):
            with Image.open(images[number // RATE % len(images)]) as opened:
                larger = opened.convert("RGB").resize((width + 2 * RATE, height))
            left = 2 * (number % RATE)
            writer.write(np.asarray(larger)[:, left : left + width])
    return target
