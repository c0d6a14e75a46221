"""Many clients at once against a service, each answer looked at."""

import asyncio
import time
from dataclasses import dataclass, field

import httpx


@dataclass
class Seen:
    """What all clients saw."""

    answers: list = field(default_factory=list)  # (content's number, answer)
    never_accepted: int = 0  # the door was closed
    lost: list = field(default_factory=list)  # errors of requests that had been taken


async def clients(address, contents, count, stop):
    """`count` clients that ask one after another until the event `stop` is set, or nobody opens."""
    seen = Seen()

    async def one(number):
        async with httpx.AsyncClient(base_url=address, timeout=30) as client:
            while not stop.is_set():
                number = (number + 7) % len(contents)
                try:
                    answer = await client.post("/predict", content=contents[number])
                except httpx.ConnectError:
                    seen.never_accepted += 1
                    return
                except httpx.TransportError as error:
                    seen.lost.append(repr(error))
                    continue
                seen.answers.append((number, answer))
                if answer.status_code == 503:
                    await asyncio.sleep(0.02)

    await asyncio.gather(*map(one, range(count)))
    return seen


async def load_until(address, contents, count, work):
    """The same while `work`, a coroutine, goes on; what the clients saw, and what it gave."""
    stop = asyncio.Event()
    asking = asyncio.create_task(clients(address, contents, count, stop))
    try:
        given = await work
    finally:
        stop.set()
    return await asking, given


async def for_seconds(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        await asyncio.sleep(0.05)


async def until(holds, seconds=60):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        await asyncio.sleep(0.02)
