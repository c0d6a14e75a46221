"""Not a test: autopilots to be killed, each a process of its own that starts in milliseconds and dies at a given step.

A step is a statement or commit of the database, or a file that is opened, renamed, made or removed. A process imports
everything once and forks an autopilot for each line of JSON that it reads; it answers with its exit status.
"""

import itertools
import json
import mmap
import os
import signal
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from conftest import ROOT, ci_environment

from drift_detector_pipeline.config import load_section
from drift_detector_pipeline.lifecycle.autopilot import fly
from drift_detector_pipeline.lifecycle.steps import Steps
from drift_detector_pipeline.serving.request_log import RequestLog
from drift_detector_pipeline.settings_in_use import Basket, Gate, Heal, Lifecycle, Retrain

_FILES = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "shutil.rmtree", "sqlite3.connect"}


class Place(NamedTuple):
    """Where an autopilot acts."""

    database: str
    photos: Path
    models: Path
    baskets: Path
    labels: Path


class Flights:
    """Lets autopilots fly, one after another."""

    def __init__(self):
        environment = ci_environment()
        environment["PYTHONPATH"] += f":{ROOT / 'tests'}"
        self._source = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def fly(self, place, words, kill_at=None):
        """One that kills itself before its step `kill_at`; its exit status, -9 if it was killed, and its steps."""
        print(json.dumps([list(map(str, place)), words, kill_at]), file=self._source.stdin, flush=True)
        status, steps = self._source.stdout.readline().split()
        return int(status), int(steps)

    def close(self):
        """End all of it."""
        self._source.stdin.close()
        self._source.wait(300)
        self._source.stdout.close()


def _main():
    import drift_detector_pipeline.lifecycle.mending.heal  # noqa: F401  # PyTorch once, not in each of them

    for line in sys.stdin:
        place, words, kill_at = json.loads(line)
        done = mmap.mmap(-1, 8)
        child = os.fork()
        if not child:
            try:
                os._exit(_fly(Place(place[0], *map(Path, place[1:])), words, kill_at, done))
            except BaseException as error:
                print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
                os._exit(70)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(status, int.from_bytes(done[:], "little"), flush=True)


def _fly(place, words, kill_at, done):
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    _count(done, kill_at)
    words = ["lifecycle.wait_images=100", *words]
    sections = [load_section(one, words) for one in (Basket, Heal, Retrain, Gate)]
    steps = Steps(*sections, place.photos, place.models, place.baskets, place.labels)
    with closing(RequestLog(place.database)) as log:
        return fly(log, load_section(Lifecycle, words), steps, threading.Event())


def _count(done, kill_at):
    """Count steps where the parent sees it, and die before number `kill_at`."""
    from sqlalchemy import Engine, event

    steps = itertools.count(1)

    def step(*_):
        number = next(steps)
        done[:] = number.to_bytes(8, "little")
        if number == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    for moment in ("before_cursor_execute", "commit"):
        event.listen(Engine, moment, step)
    sys.addaudithook(lambda name, _: step() if name in _FILES else None)


if __name__ == "__main__":
    _main()
