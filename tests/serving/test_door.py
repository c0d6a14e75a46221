"""Nobody who was connected when the door closed is lost, and nobody gets in after that."""

import socket
import sys

import pytest

from drift_detector_pipeline.errors import ConfigError
from drift_detector_pipeline.serving.door import knocked, let_nobody_knock, open_door


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
