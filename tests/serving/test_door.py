"""Nobody who was connected when the door closed is lost, nobody gets in after that, and nobody stays there mute."""

import asyncio
import contextlib
import socket
import sys
import time

import pytest
import uvicorn

from drift_detector_pipeline.errors import ConfigError
from drift_detector_pipeline.serving.door import close_silent, knocked, let_nobody_knock, open_door


@pytest.mark.skipif(sys.platform != "linux", reason="a filter of Linux")
def test_who_had_knocked_is_let_in_and_nobody_after() -> None:
    with open_door("127.0.0.1", 0) as door:
        door.listen()
        door.setblocking(False)
        early = [socket.create_connection(door.getsockname()) for _ in range(3)]
        let_nobody_knock(door)
        with pytest.raises(TimeoutError):
            socket.create_connection(door.getsockname(), timeout=0.3)
        accepted = knocked(door)
        for one, other in zip(early, accepted, strict=True):
            one.sendall(b"hello")
            other.setblocking(True)
            assert other.recv(5) == b"hello"
            one.close()
            other.close()
        assert knocked(door) == []


def test_an_address_that_is_taken_or_none_is_said() -> None:
    with open_door("127.0.0.1", 0) as door:
        door.listen()
        port = door.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"serving\.port={port}: .*such as serving\.port={port + 1}"):
            open_door("127.0.0.1", port)
    with pytest.raises(ConfigError, match=r"serving\.host=no\.such\.invalid"):
        open_door("no.such.invalid", 1)


async def hello(scope, receive, send):
    """Answers after half a second."""
    await asyncio.sleep(0.5)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})


async def closed_after(sent: bytes, door: socket.socket, slowly: bytes = b"") -> float | None:
    """How long until the server closes a connection on which this was sent, in s; None: it stayed open for two."""
    reader, writer = await asyncio.open_connection(*door.getsockname())
    started = time.monotonic()
    writer.write(sent)
    while time.monotonic() - started < 2:
        with contextlib.suppress(TimeoutError):
            if not await asyncio.wait_for(reader.read(1000), 0.1):
                writer.close()
                return time.monotonic() - started
        writer.write(slowly)
    writer.close()
    return None


async def visited(door: socket.socket) -> list[float | None]:
    server = uvicorn.Server(uvicorn.Config(hello, log_level="critical", lifespan="off"))
    serving = asyncio.create_task(server.serve(sockets=[door]))
    silent = asyncio.create_task(close_silent(server.server_state.connections, 0.4))
    asked = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    found = await asyncio.gather(
        closed_after(b"", door), closed_after(b"GET / HTTP/1.1\r\nX: ", door, b"x"), closed_after(asked, door, b"G"),
        closed_after(asked, door),
    )  # fmt: skip
    silent.cancel()
    server.should_exit = True
    await serving
    return list(found)


def test_who_never_says_what_it_wants_is_shown_out_and_who_may_ask_again_is_not() -> None:
    with open_door("127.0.0.1", 0) as door:
        mute, dripping, half, patient = asyncio.run(visited(door))
    assert mute is not None and dripping is not None and max(mute, dripping) < 1.5
    assert (
        half is not None and half > 0.5
    )  # its first request was answered, a second one never gets beyond its first word
    assert patient is None
