"""W&B beside the files of a run: a tracker that hands everything to a process of its own (wandb_writer.py).

In: the settings and what training reports. Out: `<run>/wandb/` and, with a key and a server that answers, the run's
page. Training never waits for it before its end, and then a bounded time; what goes wrong there is one warning here.
"""

import base64
import contextlib
import hashlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from PIL import Image

from drift_detector_pipeline.console import log
from drift_detector_pipeline.runs.tracking.tracker import (
    NoTracker,
    Result,
    Row,
    Sample,
    Tracker,
    epoch_scalars,
    step_scalars,
)
from drift_detector_pipeline.settings import Settings

_SEND_S, _BYTES_PER_S = 15, 1_000_000  # what the end of a run may take: this, and the model over a line of 8 Mbit/s
_WRITER_SLACK_S = 20  # the writer ends itself before this is over
_AT_ONCE_S = 5  # nothing need be said; and a training that was asked to stop leaves then: its writer goes on alone
_MESSAGES = "messages.log"  # what W&B prints; nobody reads it while all goes well
_ELSEWHERE = "metrics.jsonl and tensorboard/ have everything"

_NOT_PASSED_ON = {"WANDB_API_KEY", "WANDB_MODE", "WANDB_SERVICE"}  # what they say is said in another way

Message = dict[str, Any]


def wandb_tracker(settings: Settings, folder: Path, run_id: str, weight_bytes: int) -> Tracker:
    """The tracker `wandb.mode` asks for; `auto` is off in CI. `weight_bytes` is about the size of the model's file."""
    mode = settings.wandb.mode
    if mode == "disabled" or (mode == "auto" and os.environ.get("CI_MODE") == "true"):
        return NoTracker()
    try:
        return WandbTracker(settings, folder, run_id, weight_bytes)
    except OSError as error:
        log.warning("W&B: cannot be started (%s); %s", error, _ELSEWHERE)
        return NoTracker()


def wandb_id(started: str, folder: Path, identity: dict[str, object]) -> str:
    """W&B's id of a run, the same after a resume: 12 hexadecimal digits of when, where and as what it started."""
    text = json.dumps([started, folder.resolve().name, identity], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


class WandbTracker:
    """Tracks to W&B, online or offline."""

    def __init__(self, settings: Settings, folder: Path, run_id: str, weight_bytes: int) -> None:
        self._settings, self._folder = settings, folder / "wandb"
        self._send_s = _SEND_S + weight_bytes / _BYTES_PER_S
        self._exit_code = 1  # until the run is finished
        self._queue: SimpleQueue[Message] = SimpleQueue()
        self._queue.put(_first_message(settings, folder, run_id, self._send_s))
        self._writer = _start_writer(self._folder)
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        threading.Thread(target=self._feed, daemon=True).start()

    def batch(self, step: int, loss: float, learning_rate: float) -> None:
        """Send the scalars of every `wandb.log_freq`-th step."""
        if step % self._settings.wandb.log_freq == 0:
            self._queue.put({"step": step, "metrics": step_scalars(loss, learning_rate)})

    def epochs(self, history: list[Row]) -> None:
        """Send the scalars of the finished epoch."""
        self._queue.put({"step": history[-1]["step"], "metrics": epoch_scalars(history[-1])})

    def finished(self, result: Result) -> None:
        """Send the sample predictions and the best model."""
        samples = [_for_the_page(sample) for sample in result.samples()]
        self._queue.put({"step": result.final["step"], "samples": samples})
        name = f"{self._settings.data.name}-{self._settings.model.name}"
        self._queue.put(
            {"model": str(result.best_model.resolve()), "name": re.sub(r"[^\w.-]", "-", name), "about": result.best}
        )
        self._exit_code = 0

    def close(self) -> None:
        """Let the writer send the rest, for a bounded time; after that it is ended and a warning says so."""
        self._queue.put({"exit_code": self._exit_code})
        limit_s = round(self._send_s + _WRITER_SLACK_S)
        ended = self._ends_within(_AT_ONCE_S)
        if not ended and self._exit_code == 0:
            log.info("W&B: finishing, for at most %d s", limit_s)
            ended = self._ends_within(limit_s)
            if not ended:
                self._writer.kill()
                self._writer.wait()
                log.warning("W&B: came to no end in %d s and was ended; %s", limit_s, _ELSEWHERE)
        if ended and self._writer.returncode != 0:
            log.warning("W&B: its process died, see %s; %s", self._folder / _MESSAGES, _ELSEWHERE)

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
                    log.info("W&B: asked to stop on the run's page")
                    os.kill(os.getpid(), signal.SIGINT)
                else:
                    log.log(said["level"], said["text"])


def _first_message(settings: Settings, folder: Path, run_id: str, send_s: float) -> Message:
    return {
        "mode": settings.wandb.mode,
        "project": settings.wandb.project,
        "entity": settings.wandb.entity,
        "id": run_id,
        "name": "/".join(folder.resolve().parts[-3:]),
        "config": settings.model_dump(mode="json"),
        "folder": str(folder / "wandb"),
        "send_s": send_s,
    }


def _start_writer(folder: Path) -> "subprocess.Popen[bytes]":
    """Start wandb_writer.py, out of reach of the terminal's Ctrl-C; what W&B prints goes to a file."""
    folder.mkdir(exist_ok=True)
    with (folder / _MESSAGES).open("ab") as messages:
        return subprocess.Popen(
            [sys.executable, "-m", "drift_detector_pipeline.runs.tracking.wandb_writer"], env=_environment(folder),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=messages, start_new_session=True,
        )  # fmt: skip


def _environment(folder: Path) -> dict[str, str]:
    """What the writer sees: W&B quiet, without reports to its makers, and with all its files in `folder`."""
    kept = {name: value for name, value in os.environ.items() if name not in _NOT_PASSED_ON}
    key = os.environ.get("WANDB_API_KEY", "").strip(" '\"")  # docker --env-file keeps quotes
    return kept | ({"WANDB_API_KEY": key} if key else {}) | {
        "WANDB_QUIET": "true",
        "WANDB_SHOW_INFO": "false",
        "WANDB_ERROR_REPORTING": "false",
        "WANDB_X_DISABLE_VIEWER": "true",  # one request less, which could hang
        "WANDB_HTTP_TIMEOUT": "5",
        "WANDB_CACHE_DIR": str(folder / "cache"),
        "WANDB_DATA_DIR": str(folder / "cache"),
        "WANDB_ARTIFACT_DIR": str(folder / "cache"),
    }  # fmt: skip


def _for_the_page(sample: Sample) -> dict[str, str]:
    png = io.BytesIO()
    Image.fromarray(sample.image).save(png, "PNG")
    right = "right" if sample.predicted == sample.label else f"wrong, it is {sample.label}"
    return {
        "png": base64.b64encode(png.getvalue()).decode(),
        "caption": f"{sample.predicted} ({sample.probability:.0%}): {right}",
    }
