"""A listening socket that can be closed without losing anybody, and nobody may stand in the door for ever.

In: an address. Out: a socket for uvicorn; at the end, whoever had been connected and not accepted. The kernel completes
connections by itself; a client that is connected when the socket closes has often sent its request, and is reset.
"""

import asyncio
import contextlib
import ctypes
import socket
import struct
from collections.abc import Collection
from typing import Any
from weakref import WeakKeyDictionary

from drift_detector_pipeline.errors import ConfigError

_ATTACH_FILTER = 26  # of Linux; the module socket has no name for it
_FLAGS_AT, _SYN = 13, 0x02  # in a TCP header
# Classic BPF: load the byte of flags; a SYN is dropped, anything else taken as it is.
_NO_SYN = [(0x30, 0, 0, _FLAGS_AT), (0x45, 0, 1, _SYN), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF)]


def open_door(host: str, port: int) -> socket.socket:
    """Bind an address; who connects before anybody accepts waits. Raises ConfigError if it is taken or none of ours."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with contextlib.ExitStack() as unless_bound:
            door = unless_bound.enter_context(socket.socket(family, socket.SOCK_STREAM))
            door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            door.bind(address)
            unless_bound.pop_all()
    except OSError as error:
        raise ConfigError(
            f"serving.host={host} serving.port={port}: {error.strerror}; choose others, such as serving.port={port + 1}"
        ) from error
    return door


def let_nobody_knock(door: socket.socket) -> None:
    """Let no further connection begin; those that have begun are completed. Elsewhere than on Linux: nothing."""
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in _NO_SYN))
    with contextlib.suppress(OSError):
        told = struct.pack("HP", len(_NO_SYN), ctypes.addressof(program))
        door.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, told)


def knocked(door: socket.socket) -> list[socket.socket]:
    """Accept all who are connected by now."""
    found = list[socket.socket]()
    with contextlib.suppress(BlockingIOError):
        while True:
            found.append(door.accept()[0])
    return found


async def close_silent(connections: Collection[Any], wait_s: float) -> None:
    """Close uvicorn's connections on which nothing was asked within `wait_s`; never ends by itself.

    uvicorn waits for ever for the rest of a header, and whoever sends a byte a minute on many connections takes all
    that the system has. It ends by itself only those that wait for a further request of which nothing came yet.
    """
    since: WeakKeyDictionary[Any, float] = WeakKeyDictionary()
    while True:
        await asyncio.sleep(wait_s / 8)
        now = asyncio.get_running_loop().time()
        for one in list(connections):
            if _is_served(one):
                since.pop(one, None)
            elif now - since.setdefault(one, now) >= wait_s:
                one.transport.close()


def _is_served(connection: Any) -> bool:
    """Whether a request is being answered, or uvicorn waits for the next one and will end that by itself."""
    answering = connection.cycle is not None and not connection.cycle.response_complete
    return answering or connection.timeout_keep_alive_task is not None
