"""Many clients at once against a service, each answer looked at.

In: an address and images' bytes. Out: what all clients saw. Read by what asks while a service is changed or stopped,
and by the tests of the service.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import httpx

CLIENTS = 8
_BUSY_S = 0.02  # a refused client comes again after that
_Given = TypeVar("_Given")


class Asked(NamedTuple):
    """A request that was answered."""

    number: int  # of the content
    status: int
    said: dict[str, Any]
    retry_after: str | None
    begun: float  # time.monotonic()
    ended: float


@dataclass
class Seen:
    """What all clients saw."""

    answers: list[Asked] = field(default_factory=list)
    never_accepted: int = 0  # the door was closed
    lost: list[str] = field(default_factory=list)  # errors of requests that had been taken

    @property
    def statuses(self) -> set[int]:
        """All that were answered."""
        return {one.status for one in self.answers}

    @property
    def answered(self) -> list[Asked]:
        """Those with the status 200."""
        return [one for one in self.answers if one.status == 200]


async def ask_until(stop: asyncio.Event, address: str, contents: Sequence[bytes], count: int, seen: Seen) -> None:
    """`count` clients that ask one after another until the event `stop` is set, or nobody opens; `seen` is filled."""

    async def one(number: int) -> None:
        async with httpx.AsyncClient(base_url=address, timeout=30) as client:
            while not stop.is_set():
                number, begun = (number + 7) % len(contents), time.monotonic()
                try:
                    answer = await client.post("/predict", content=contents[number])
                except httpx.ConnectError:
                    seen.never_accepted += 1
                    return
                except httpx.TransportError as error:
                    seen.lost.append(repr(error))
                    continue
                told = answer.headers.get("retry-after")
                seen.answers.append(Asked(number, answer.status_code, answer.json(), told, begun, time.monotonic()))
                if answer.status_code == 503:
                    await asyncio.sleep(_BUSY_S)

    await asyncio.gather(*map(one, range(count)))


async def ask_during(
    work: Awaitable[_Given], address: str, contents: Sequence[bytes], count: int = CLIENTS, seen: Seen | None = None
) -> tuple[Seen, _Given]:
    """The same while `work` goes on, which may look into `seen`; what the clients saw, and what it gave."""
    seen, stop = seen or Seen(), asyncio.Event()
    asking = asyncio.create_task(ask_until(stop, address, contents, count, seen))
    try:
        given = await work
    finally:
        stop.set()
    await asking
    return seen, given


async def until(holds: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until something is so. Raises TimeoutError if it is not in time."""
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(_BUSY_S)
