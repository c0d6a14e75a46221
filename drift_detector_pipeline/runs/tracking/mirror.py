"""The near end of a mirror: a tracker that hands everything to a program that writes it elsewhere (writer.py).

In: what training reports. Out: lines of JSON to that program, in a process of its own. Training never waits for it
before its end, and then a bounded time; what goes wrong there is one warning here. Knows no tracker by name.
"""

import base64
import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple

from PIL import Image

from drift_detector_pipeline.console import log
from drift_detector_pipeline.runs.tracking.tracker import (
    NoTracker,
    Result,
    Row,
    SamplePrediction,
    Tracker,
    epoch_scalars,
    step_scalars,
)
from drift_detector_pipeline.runs.tracking.writer import ELSEWHERE, MESSAGES, Message, Start
from drift_detector_pipeline.settings import Settings

_SEND_S, _BYTES_PER_S = 15, 1_000_000  # what the end of a run may take: this, and the model over a line of 8 Mbit/s
_WRITER_SLACK_S = 20  # the writer ends itself before this is over
_AT_ONCE_S = 5  # nothing need be said; and a training that was asked to stop leaves then: its writer goes on alone


class Destination(NamedTuple):
    """A tracker beside a run's own files, and the program that writes to it."""

    title: str  # as people call it
    module: str  # dotted name of the program
    folder: Path  # where the program keeps its files: a folder of the run's
    environment: dict[str, str]  # all that the program sees
    options: dict[str, Any]  # for the program, of kinds that JSON has
    log_every: int  # steps
    python: str = sys.executable  # what runs the program: an environment of its own where packages do not go together


def mirror_to(destination: Destination, settings: Settings, run_id: str, weight_bytes: int) -> Tracker:
    """A tracker to `destination`, or none, and a warning, if its program cannot be started.

    `run_id` is the same after a resume; `weight_bytes` is about the size of the model's file.
    """
    try:
        return Mirror(destination, settings, run_id, weight_bytes)
    except OSError as error:
        log.warning("%s: cannot be started (%s); %s", destination.title, error, ELSEWHERE)
        return NoTracker()


class Mirror:
    """Tracks by telling a writer's process."""

    def __init__(self, destination: Destination, settings: Settings, run_id: str, weight_bytes: int) -> None:
        self._to, self._settings = destination, settings
        self._send_s = _SEND_S + weight_bytes / _BYTES_PER_S
        self._exit_code = 1  # until the run is finished
        self._queue: SimpleQueue[Message] = SimpleQueue()
        self._queue.put(_first_message(destination, settings, run_id, self._send_s))
        self._writer = _start_writer(destination)
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        threading.Thread(target=self._feed, daemon=True).start()

    def batch(self, step: int, loss: float, learning_rate: float) -> None:
        """Send the scalars of every `log_every`-th step."""
        if step % self._to.log_every == 0:
            self._queue.put({"step": step, "metrics": step_scalars(loss, learning_rate)})

    def epochs(self, history: list[Row]) -> None:
        """Send the scalars of the finished epoch."""
        self._queue.put({"step": history[-1]["step"], "metrics": epoch_scalars(history[-1])})

    def finished(self, result: Result) -> None:
        """Send the sample predictions and the best model."""
        pictures = [_picture(sample) for sample in result.samples()]
        self._queue.put({"step": result.final["step"], "samples": pictures})
        name = f"{self._settings.data.name}-{self._settings.model.name}"
        self._queue.put({"model": str(result.best_model.resolve()), "name": name, "about": result.best})
        self._exit_code = 0

    def close(self) -> None:
        """Let the writer send the rest, for a bounded time; after that it is ended and a warning says so."""
        title = self._to.title
        self._queue.put({"exit_code": self._exit_code})
        limit_s = round(self._send_s + _WRITER_SLACK_S)
        ended = self._ends_within(_AT_ONCE_S)
        if not ended and self._exit_code == 0:
            log.info("%s: finishing, for at most %d s", title, limit_s)
            ended = self._ends_within(limit_s)
            if not ended:
                self._writer.kill()
                self._writer.wait()
                log.warning("%s: came to no end in %d s and was ended; %s", title, limit_s, ELSEWHERE)
        if ended and self._writer.returncode != 0:
            log.warning("%s: its process died, see %s; %s", title, self._to.folder / MESSAGES, ELSEWHERE)

    def _ends_within(self, seconds: float) -> bool:
        try:
            self._writer.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        self._listener.join(2)  # what it said last
        return True

    def _feed(self) -> None:
        """Pass messages on; a pipe that is full, or has nobody at its other end, holds up only this thread."""
        assert self._writer.stdin is not None
        message: Message = {}
        while "exit_code" not in message:
            message = self._queue.get()
            with contextlib.suppress(OSError):
                self._writer.stdin.write(json.dumps(message).encode() + b"\n")
                self._writer.stdin.flush()
        with contextlib.suppress(OSError):
            self._writer.stdin.close()

    def _listen(self) -> None:
        """Show what the writer has to say, and stop the training if somebody asks for it on the run's page."""
        assert self._writer.stdout is not None
        with self._writer.stdout as lines:
            for said in map(json.loads, lines):
                if "stop" in said:
                    log.info("%s: asked to stop on the run's page", self._to.title)
                    os.kill(os.getpid(), signal.SIGINT)
                else:
                    log.log(said["level"], "%s: %s", self._to.title, said["text"])


def _first_message(destination: Destination, settings: Settings, run_id: str, send_s: float) -> Message:
    folder = destination.folder
    return Start(
        run_id=run_id, name="/".join(folder.parent.resolve().parts[-3:]), config=settings.model_dump(mode="json"),
        folder=str(folder), send_s=send_s, options=destination.options,
    )._asdict()  # fmt: skip


def _start_writer(destination: Destination) -> "subprocess.Popen[bytes]":
    """Start the program, out of reach of the terminal's Ctrl-C; what it prints goes to a file."""
    destination.folder.mkdir(exist_ok=True)
    with (destination.folder / MESSAGES).open("ab") as messages:
        return subprocess.Popen(
            [destination.python, "-m", destination.module], env=destination.environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=messages, start_new_session=True,
        )  # fmt: skip


def _picture(sample: SamplePrediction) -> dict[str, str]:
    png = io.BytesIO()
    Image.fromarray(sample.image).save(png, "PNG")
    sure = "" if sample.probability is None else f" ({sample.probability:.0%})"
    right = "right" if sample.predicted == sample.label else f"wrong, it is {sample.label}"
    return {
        "png": base64.b64encode(png.getvalue()).decode(),
        "caption": f"{sample.predicted}{sure}: {right}",
    }
