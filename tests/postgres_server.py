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

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))


@contextmanager
def postgres_server() -> Iterator[str]:
    """Start one in a temporary folder, without fsync; give `postgresql://tester@127.0.0.1:PORT/`."""
    programs = PROGRAMS[-1].parent
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    as_whom = {}
    if os.geteuid() == 0:  # which PostgreSQL refuses
        shutil.chown(folder, "nobody", "nogroup")
        as_whom = {"user": "nobody", "group": "nogroup", "extra_groups": []}
    data, port = folder / "data", _free_port()
    make = [programs / "initdb", "-D", data, "-U", "tester", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
    subprocess.run(make, check=True, capture_output=True, cwd="/", **as_whom)
    start = [programs / "postgres", "-D", data, "-F", "-p", str(port), "-h", "127.0.0.1", "-k", folder]
    with (folder / "log").open("wb") as said:
        server = subprocess.Popen(start, stdout=said, stderr=said, cwd="/", **as_whom)
    try:
        _wait_for(port, server, folder / "log")
        yield f"postgresql://tester@127.0.0.1:{port}/"
    finally:
        server.send_signal(signal.SIGQUIT)  # at once: nothing is kept
        server.wait()
        shutil.rmtree(folder)


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
