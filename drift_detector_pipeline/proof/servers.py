"""A server, all of its processes: started, asked whether it is ready, its processor time and memory, stopped.

Linux only: both are read from /proc. Read by whatever measures a service, and the simulated year.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from drift_detector_pipeline.errors import DataError

_START_S, _STOP_S, _END_S = 120.0, 20.0, 90.0
_SAID_TO_SERVICES = (
    "DATABASE_URL", "PORT", "MODEL_CHECKPOINT", "MODEL_NAME", "SERVING_API_KEYS", "SERVING_ADMIN_KEY", "K_FRAMES",
    "THRESHOLD",
)  # fmt: skip
_PARENT, _SESSION = 1, 3  # places in /proc/N/stat, behind the name
_TICKS = os.sysconf("SC_CLK_TCK")


class Server(NamedTuple):
    """One that answers; `pid` is that of its first process, which leads a session."""

    pid: int
    address: str
    process: "subprocess.Popen[bytes] | None" = None  # the same one, where it was started here

    async def end(self, number: signal.Signals) -> tuple[int, float]:
        """Send its first process a signal and wait; the exit status, and when it was sent, as time.monotonic()."""
        assert self.process is not None
        self.process.send_signal(number)
        at = time.monotonic()
        return await asyncio.to_thread(self.process.wait, _END_S), at

    def cpu_seconds(self) -> float:
        """Of all its processes so far, those that have ended included."""
        # 11 to 14: time of its own and of children that have ended
        return sum(sum(map(int, found[11:15])) for found in self._stats()) / _TICKS

    def megabytes(self) -> float:
        """Of memory; a page that several processes share counts once."""
        found = 0
        for path in self.processes():
            with contextlib.suppress(OSError):
                lines = (path / "smaps_rollup").read_text().splitlines()
                found += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        return found / 1000

    def peak_megabytes(self) -> float:
        """The most memory that its first process has held so far."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1000

    def _stats(self) -> list[list[str]]:
        return [found for path in self.processes() if (found := _stat(path)) is not None]

    def processes(self) -> list[Path]:
        """Their folders in /proc: of its session, and whatever these have started, in sessions of their own, too."""
        everybody = {path: found for path in Path("/proc").glob("[0-9]*") if (found := _stat(path)) is not None}
        ours = {path for path, found in everybody.items() if int(found[_SESSION]) == self.pid}
        while more := {path for path, found in everybody.items() if Path("/proc", found[_PARENT]) in ours} - ours:
            ours |= more
        return sorted(ours)


def _stat(process: Path) -> list[str] | None:
    """What /proc says of a process behind its name in brackets, which may hold blanks; None if it is gone."""
    with contextlib.suppress(OSError):
        return (process / "stat").read_text().rpartition(")")[2].split()
    return None


@contextlib.contextmanager
def started(
    command: Sequence[str], port: int, ready: str, environment: Mapping[str, str], said: Path = Path(os.devnull)
) -> Iterator[Server]:
    """Run a server until the `with` ends; `ready` is a path that answers 200 once it can be asked.

    What it writes to stderr is added to the file `said`.

    Raises DataError with what it said if it ends, or is not ready within two minutes.
    """
    address = f"http://127.0.0.1:{port}"
    with said.open("ab") as errors, subprocess.Popen(
        command, env=os.environ | environment, start_new_session=True, stdout=subprocess.DEVNULL, stderr=errors,
    ) as running:  # fmt: skip
        try:
            _wait_until_ready(running, address + ready)
            yield Server(running.pid, address, running)
        finally:
            _stop(running)


@contextlib.contextmanager
def service(database: Path, *words: str, **environment: str) -> Iterator[Server]:
    """Our own at a free port until the `with` ends: `make serve` with these words and its log in that file.

    What it writes to stderr stands beside the log, in a file that ends in .stderr. What the environment of whoever
    measures says to a service counts only as far as `environment` repeats it.
    """
    port = free_port()
    command = [
        sys.executable, "-m", "drift_detector_pipeline.serving", f"serving.port={port}",
        f"serving.database=sqlite:///{database}", *words,
    ]  # fmt: skip
    own, said = dict.fromkeys(_SAID_TO_SERVICES, "") | environment, database.with_suffix(".stderr")
    with started(command, port, "/ready", own, said) as server:
        yield server


def asked(address: str, body: bytes | None = None) -> dict[str, Any]:
    """What a server of this machine answers, as JSON; with a `body`, which is JSON, by POST."""
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
        found: dict[str, Any] = json.load(answer)
    return found


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


def _wait_until_ready(running: "subprocess.Popen[bytes]", address: str) -> None:
    until = time.monotonic() + _START_S
    while True:
        with contextlib.suppress(OSError):  # nobody listens yet, or it is not ready
            urllib.request.urlopen(address, timeout=5).close()  # noqa: S310  # this machine's
            return
        if running.poll() is not None or time.monotonic() > until:
            raise DataError(f"{' '.join(map(str, running.args))}: not ready; run it by itself to see why")  # type: ignore[arg-type]
        time.sleep(0.2)


def _stop(running: "subprocess.Popen[bytes]") -> None:
    """SIGTERM, then SIGKILL to whatever is left of it, in whichever session."""
    found = Server(running.pid, "").processes()
    running.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        running.wait(_STOP_S)
    for path in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(path.name), signal.SIGKILL)
