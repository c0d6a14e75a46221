"""A service follows models/champion.json: whoever is promoted answers within a second, and nobody else.

In: the folder with champion.json. Out: the champion's engine at the start, and an exchange at each change. A champion
that cannot be opened is refused, with a warning and a number for Prometheus, while the one before goes on answering; it
is tried again, as its files may be on their way.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

from drift_detector_pipeline.console import log as console
from drift_detector_pipeline.errors import PipelineError
from drift_detector_pipeline.release.artefact import VERSIONS
from drift_detector_pipeline.release.chronicle import undoable
from drift_detector_pipeline.release.registry import Champion, champion, champion_folder, history, open_version
from drift_detector_pipeline.serving.engine import Engine, open_engine
from drift_detector_pipeline.serving.problems import RequestError

_EVERY_S = 1.0
_PATIENCE_S = (2.0, 60.0)  # between two tries of one that cannot be opened, at first and at most


class Followed(NamedTuple):
    """Where champions come from, and which one answers."""

    place: Path  # with champion.json and versions/
    standing: Champion | None  # None: what answers is not what champion.json names


def open_champion(place: Path) -> tuple[Engine, Followed] | None:
    """The champion, warm, or, if it cannot be opened, the newest one before that can; None if there never was one.

    Raises a PipelineError, the champion's, if none can.
    """
    found = champion(place)
    if found is None:
        return None
    try:
        return open_engine(champion_folder(found, place)), Followed(place, found)
    except PipelineError as error:
        for version in reversed(undoable(history(place))[:-1]):
            console.warning("champion %d is refused: %s", found.number, error)
            try:
                engine = open_engine(open_version(version, place).folder)
            except PipelineError:
                continue
            console.warning("%s answers instead, which was champion before", version)
            return engine, Followed(place, None)
        raise


class Follower:
    """Looks every second. Methods belong to one event loop."""

    def __init__(self, followed: Followed, exchange: Callable[[Path], Awaitable[object]]) -> None:
        """`exchange`: lets the artefact of a folder answer; raises RequestError if it cannot be opened."""
        self._place, self._standing = followed
        self._exchange = exchange
        self._refused: Champion | None = None
        self._said, self._pause_s, self._next_try = "", 0.0, 0.0

    @property
    def number(self) -> int:
        """Of the champion that answers; 0: another model does."""
        return 0 if self._standing is None else self._standing.number

    @property
    def refused(self) -> bool:
        """Whether the champion cannot be opened."""
        return bool(self._said)

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            await asyncio.sleep(_EVERY_S)
            await self.look()

    async def look(self) -> None:
        """Let the champion answer if it does not, or say why it cannot."""
        try:
            found = await asyncio.to_thread(champion, self._place)
            if found is None or found == self._standing:
                self._forget_refusal()
            elif found != self._refused or time.monotonic() >= self._next_try:
                await self._let_answer(found)
        except (PipelineError, RequestError, OSError) as error:
            self._refuse(str(error))

    async def _let_answer(self, found: Champion) -> None:
        if found != self._refused:
            self._refused, self._pause_s = found, _PATIENCE_S[0]
        self._next_try = time.monotonic() + self._pause_s
        self._pause_s = min(2 * self._pause_s, _PATIENCE_S[1])
        await self._exchange(await asyncio.to_thread(champion_folder, found, self._place))
        self._standing = found
        self._forget_refusal()
        console.info("champion %d answers: %s", found.number, found.version)

    def _refuse(self, why: str) -> None:
        if why != self._said:
            console.warning("%s: refused, the model before goes on answering: %s", self._place / "champion.json", why)
        self._said = why

    def _forget_refusal(self) -> None:
        self._refused, self._said = None, ""


def places_of(followed: Followed | None, folder: Path) -> tuple[Path, ...]:
    """Where artefacts lie that may be exchanged by name for the one in `folder`."""
    return (folder.parent,) if followed is None else (followed.place / VERSIONS, followed.place)
