"""`python -m drift_detector_pipeline.serving`, which `make serve` runs: an artefact behind HTTP until told to stop.

In: settings such as serving.port=8001. What answers is the champion, and whoever becomes it; without one
models/artefact; with export.path=FOLDER that artefact, whoever is champion. Out: answers, the request log, and exit
status 0 after SIGTERM or Ctrl+C: first "not ready", then no new connections, then all that was begun is answered and
logged.
"""

import asyncio
import contextlib
import ctypes
import importlib.util
import os
import signal
import socket
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import uvicorn
from threadpoolctl import threadpool_limits

from drift_detector_pipeline.commands import read_command, refuse_others
from drift_detector_pipeline.config import load_section
from drift_detector_pipeline.console import log, set_up_logging
from drift_detector_pipeline.errors import ConfigError, DataError, exit_status
from drift_detector_pipeline.meant import if_split
from drift_detector_pipeline.release.artefact import MANIFEST
from drift_detector_pipeline.serving.admission import Admission
from drift_detector_pipeline.serving.app import build_app
from drift_detector_pipeline.serving.asked_for import check_name, check_no_slip, check_useful, checkpoint_of
from drift_detector_pipeline.serving.door import close_silent, knocked, let_nobody_knock, open_door
from drift_detector_pipeline.serving.engine import open_engine
from drift_detector_pipeline.serving.following import Followed, open_champion
from drift_detector_pipeline.serving.keys import keys_of
from drift_detector_pipeline.serving.request_log import RequestLog
from drift_detector_pipeline.serving.service import Service
from drift_detector_pipeline.serving.trial import open_trials
from drift_detector_pipeline.settings_in_use import Export, Serving
from drift_detector_pipeline.stopped import call

_EXPORT = "drift_detector_pipeline.release.export"
_KEPT_S = 75  # an idle connection: longer than load balancers keep theirs, so that they close first
_ON_THE_WAY_S = 0.1  # a connection that has begun when the door closes is complete by then
_HEARD_S = 3.0  # who connected just before the door closed has so long to say what it wants
_MMAP_THRESHOLD, _LARGE_BYTES = -3, 2**20  # M_MMAP_THRESHOLD: what is larger is a mapping of its own
_HEADER_S = 20.0  # a request's header is complete by then; a body has as long again, see admission.py
_FINISH_S = 60  # after the door is closed; what is not answered by then is given up
_OF_THE_ENVIRONMENT = {  # which wins over settings
    "serving.port": "PORT", "serving.database": "DATABASE_URL", "serving.k_frames": "K_FRAMES",
    "serving.threshold": "THRESHOLD",
}  # fmt: skip
_ALLOWED = [f"serving.{name}" for name in Serving.model_fields]


@exit_status
def main() -> int:
    """Serve until SIGTERM or SIGINT."""
    set_up_logging()
    _give_back_memory()
    warnings.simplefilter("ignore")  # of image files; decoding in two threads would restore each other's filters
    wanted = _wanted(sys.argv[1:])
    settings = wanted.settings
    with open_door(settings.host, settings.port) as door, threadpool_limits(1):
        service = _open(wanted)
        asyncio.run(_serve(build_app(service, keys_of(os.environ)), door, settings.drain_s))
    return 0


def _give_back_memory() -> None:
    """Let glibc return what large images needed at once; it would keep several hundred megabytes for the next ones."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, _LARGE_BYTES)


class _Wanted(NamedTuple):
    """What was asked for."""

    settings: Serving  # those of the environment in place
    folder: Path  # of the artefact that answers if nobody is followed, or there is no champion yet
    named: bool  # that folder was typed; else it is the usual one
    follow: bool


def _wanted(words: Sequence[str]) -> _Wanted:
    command = read_command(words)
    if command.target is not None:
        raise ConfigError(
            f"{command.target}: an artefact's folder is given as export.path={command.target}{if_split(words)}"
        )
    refuse_others(command.overrides, [*_ALLOWED, "export.path"], "make serve")
    known = [
        f"{name}={value!r}" if name.endswith("database") else f"{name}={value}"
        for name, variable in _OF_THE_ENVIRONMENT.items()
        if (value := os.environ.get(variable))
    ]
    settings = load_section(Serving, [*command.overrides, *known])
    if checkpoint := os.environ.get("MODEL_CHECKPOINT"):
        return _Wanted(settings, checkpoint_of(checkpoint), named=True, follow=False)
    given = {word.partition("=")[0] for word in command.overrides}
    named = "export.path" in given
    folder = load_section(Export, command.overrides).path
    return _Wanted(settings, folder, named, follow=not named or "serving.models_path" in given)


def _open(wanted: _Wanted) -> Service:
    """The service, warm. Raises DataError if there is no artefact, and none can be made here."""
    settings, folder, place = wanted.settings, wanted.folder, wanted.settings.models_path
    found = open_champion(place) if wanted.follow else None
    if found is None:
        if wanted.named:
            check_no_slip(folder, place)
        if not (folder / MANIFEST).exists():
            _export(folder)
        found = open_engine(folder), Followed(place, None)
    engine, followed = found
    check_name(os.environ.get("MODEL_NAME", ""), engine)
    check_useful(settings, engine)
    if engine.detector is None:
        log.warning("%s: %s", folder, engine.why_no_drift)
    requests = RequestLog(settings.database, keep_days=settings.retention_days)
    follow = followed if wanted.follow else None
    return Service(engine, requests, settings, engine.artefact.folder, follow, open_trials(settings))


def _export(folder: Path) -> None:
    """Export the newest run, in a process of its own: what training needs would fill the service's memory.

    Raises DataError where training is not installed, or nothing can be exported.
    """
    if importlib.util.find_spec("torch") is None:
        raise DataError(f"{folder / MANIFEST}: no such file; export a finished run where it was trained: make export")
    log.info("%s: no artefact yet; the newest run is exported first", folder)
    if call([sys.executable, "-m", _EXPORT, f"export.path={folder}"]):
        raise DataError(f"{folder}: no artefact, and none could be exported; see above")


async def _serve(app: Admission, door: socket.socket, drain_s: float) -> None:
    """Answer until a signal comes and all that was begun is done."""
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, lifespan="on",
        timeout_graceful_shutdown=_FINISH_S, timeout_keep_alive=_KEPT_S,
    )  # fmt: skip
    server = _Server(config)
    told, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    drain = asyncio.create_task(_drain(app, server, told, drain_s))
    silent = asyncio.create_task(close_silent(server.server_state.connections, _HEADER_S))
    host, port = door.getsockname()[:2]
    log.info("http://%s:%d answers; http://%s:%d/docs says what may be asked", host, port, host, port)
    await server.serve(sockets=[door])
    drain.cancel()
    silent.cancel()


async def _drain(app: Admission, server: uvicorn.Server, told: asyncio.Event, drain_s: float) -> None:
    """First /ready says no, for so long that a load balancer notices; then no more connections."""
    await told.wait()
    app.draining = True
    await asyncio.sleep(drain_s)
    server.should_exit = True


class _Server(uvicorn.Server):
    """uvicorn but for how it ends: not by the signal it got, and not before all who had knocked are heard."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to `_serve`: uvicorn would end by them, and so not with status 0."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the door, answer who got in, end."""
        [door] = sockets or []
        let_nobody_knock(door)
        await asyncio.sleep(_ON_THE_WAY_S)
        last = knocked(door)
        for server in self.servers:
            server.close()
        for one in last:
            await asyncio.get_running_loop().connect_accepted_socket(self._protocol, one)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_HEARD_S):
                while any(getattr(one, "cycle", None) is None for one in self.server_state.connections):
                    await asyncio.sleep(0.01)  # connected, and its request is still on the way
        await super().shutdown(sockets)

    def _protocol(self) -> asyncio.Protocol:
        made: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return made


if __name__ == "__main__":
    sys.exit(main())
