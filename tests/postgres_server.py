"""Not a test: a real PostgreSQL of this machine's own, for as long as a `with` lasts."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))


class PostgresServer:
    """One in a folder, without fsync."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._data, self._port = folder, folder / "data", _free_port()
        self._programs, self._as_whom = PROGRAMS[-1].parent, dict[str, Any]()
        if os.geteuid() == 0:  # which PostgreSQL refuses
            shutil.chown(folder, "nobody", "nogroup")
            self._as_whom = {"user": "nobody", "group": "nogroup", "extra_groups": []}
        own = ["-U", "tester", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        make = [self._programs / "initdb", "-D", self._data, *own]
        subprocess.run(make, check=True, capture_output=True, cwd="/", **self._as_whom)
        self.address = f"postgresql://tester@127.0.0.1:{self._port}/"
        self._server: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, or start it again at the same port, and wait until it answers."""
        own = ["-D", self._data, "-F", "-p", str(self._port), "-h", "127.0.0.1", "-k", self._folder]
        with (self._folder / "log").open("ab") as said:
            self._server = subprocess.Popen(
                [self._programs / "postgres", *own], stdout=said, stderr=said, cwd="/", **self._as_whom
            )
        _wait_for(self._port, self._server, self._folder / "log")

    def stop(self) -> None:
        """End it at once, as a crash would."""
        if self._server is not None:
            self._server.send_signal(signal.SIGQUIT)
            self._server.wait()


@contextmanager
def server_of_its_own() -> Iterator[PostgresServer]:
    """One in a temporary folder, to be stopped and started at will."""
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    server = PostgresServer(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


@contextmanager
def postgres_server() -> Iterator[str]:
    """Start one; give `postgresql://tester@127.0.0.1:PORT/`."""
    with server_of_its_own() as server:
        yield server.address


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _wait_for(port: int, server: subprocess.Popen[bytes], said: Path) -> None:
    import psycopg

    until = time.monotonic() + 60
    while True:
        try:
            psycopg.connect(f"postgresql://tester@127.0.0.1:{port}/postgres").close()
            return
        except psycopg.OperationalError:
            assert server.poll() is None and time.monotonic() < until, said.read_text()
            time.sleep(0.05)
