"""A real service on a loopback port, in this process or in one of its own."""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import threading
import time

import httpx
import uvicorn
from conftest import ROOT

from drift_detector_pipeline.serving.app import build_app
from drift_detector_pipeline.serving.engine import open_engine
from drift_detector_pipeline.serving.keys import keys_of
from drift_detector_pipeline.serving.request_log import RequestLog
from drift_detector_pipeline.serving.service import Service
from drift_detector_pipeline.serving.trial import open_trials
from drift_detector_pipeline.settings_in_use import Serving

DEFAULTS = {
    "host": "127.0.0.1", "port": 0, "window": 32, "in_flight": 48, "max_upload_mb": 1.0, "max_megapixels": 40.0,
    "keep_crops": True, "retention_days": None, "thumbnails": 0.0, "drain_s": 0.1,
}  # fmt: skip


class Running(threading.Thread):
    """The application behind uvicorn in a thread, so that a test can look at its parts."""

    def __init__(self, folder, place, environment=None, followed=None, **settings):
        super().__init__(daemon=True)
        self.followed = followed
        self.settings = Serving(**DEFAULTS | {"database": f"sqlite:///{place}/requests.sqlite"} | settings)
        self.door = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self.door.getsockname()[1]}"
        self.folder, self.place, self.environment = folder, place, environment or {}
        self.started_up = threading.Event()

    def run(self):
        asyncio.run(self.serve())

    async def serve(self):
        log = RequestLog(self.settings.database)
        self.service = Service(
            open_engine(self.folder), log, self.settings, self.folder, self.followed, open_trials(self.settings)
        )
        self.app = build_app(self.service, keys_of(self.environment))
        config = uvicorn.Config(self.app, log_level="critical", lifespan="on", timeout_graceful_shutdown=10)
        self.server = uvicorn.Server(config)
        self.loop = asyncio.get_running_loop()
        self.started_up.set()
        await self.server.serve(sockets=[self.door])

    def on_loop(self, work):
        """What a coroutine gives that runs in the service's event loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)


@contextlib.contextmanager
def started(service):
    """A service that answers, and ends with the context."""
    service.start()
    assert service.started_up.wait(30)
    while not service.server.started:
        time.sleep(0.01)
    try:
        yield service
    finally:
        service.server.should_exit = True
        service.join(30)
        assert not service.is_alive()


def running(folder, tmp_path, environment=None, **settings):
    """The same around the artefact in `folder`."""
    return started(Running(folder, tmp_path, environment, **settings))


@contextlib.contextmanager
def process(folder, tmp_path, *words, python=sys.executable, **environment):
    """`python -m drift_detector_pipeline.serving` at a port of its own; yields the process and its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    own = [f"serving.port={port}", f"serving.database=sqlite:///{tmp_path}/requests.sqlite", *words]
    command = [str(python), "-m", "drift_detector_pipeline.serving", f"export.path={folder}", *own]
    with subprocess.Popen(command, cwd=ROOT, env=os.environ | environment, stderr=subprocess.PIPE) as started:
        address = f"http://127.0.0.1:{port}"
        try:
            until_ready(address, started)
            yield started, address
        finally:
            started.kill()


def until_ready(address, started):
    for _ in range(600):
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{address}/ready").status_code == 200:
                return
        assert started.poll() is None, started.stderr.read().decode()
        time.sleep(0.05)
    raise AssertionError("never ready")
