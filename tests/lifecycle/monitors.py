"""Not a test: monitors to be killed, each a process of its own that starts in milliseconds.

A process imports everything once and forks a monitor for each line of JSON that it reads; it answers with its number.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from conftest import ROOT, ci_environment


class Monitors:
    """Starts monitors with these settings; at most one lives."""

    def __init__(self, settings, *, at_once=16):
        environment = ci_environment()
        environment["PYTHONPATH"] += f":{ROOT / 'tests'}"
        self._source = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self._given = {"settings": json.loads(settings.model_dump_json()), "at_once": at_once}
        self.alive = None

    def start(self, kill_at=None):
        """A monitor; it kills itself before statement number `kill_at` that it gives its database."""
        print(json.dumps(self._given | {"kill_at": kill_at}), file=self._source.stdin, flush=True)
        self.alive = int(self._source.stdout.readline())

    def kill(self):
        """SIGKILL, and wait until it is gone."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.alive, signal.SIGKILL)
        self.wait()

    def lives(self):
        """Whether the monitor has not ended."""
        state = Path(f"/proc/{self.alive}/stat").read_text().rpartition(")")[2].split()[0]
        return state != "Z"

    def wait(self):
        """Until the monitor is gone; return its exit status, -9 if it was killed."""
        print("wait", file=self._source.stdin, flush=True)
        return int(self._source.stdout.readline())

    def close(self):
        """End all of it."""
        if self.alive is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.alive, signal.SIGKILL)
        self._source.stdin.close()
        self._source.wait(30)
        self._source.stdout.close()


def _main():
    from drift_detector_pipeline.lifecycle import monitor, notify, streams, watcher

    child = 0
    for line in sys.stdin:
        if line.strip() == "wait":
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
            continue
        given = json.loads(line)
        child = os.fork()
        if child:
            print(child, flush=True)
            continue
        os.close(1)
        for module in (streams, watcher):
            module.AT_ONCE = given["at_once"]
        watcher._CAUSE_S, monitor._AGAIN_S, notify.FIRST_S = 0.1, 0.02, 0.05
        if given["kill_at"]:
            _kill_at(given["kill_at"])
        own = given["settings"] | {"models_path": Path(given["settings"]["models_path"])}
        os._exit(monitor.watch_log(monitor.Monitor(**own), "", threading.Event()))


def _kill_at(number):
    from sqlalchemy import Engine, event

    left = [number]

    def step(*_):
        left[0] -= 1
        if left[0] <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

    for moment in ("before_cursor_execute", "commit"):
        event.listen(Engine, moment, step)


if __name__ == "__main__":
    _main()
