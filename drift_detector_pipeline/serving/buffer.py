"""Rows on their way into a database that may be slow, full or gone: never in the way of who puts them.

In: anything, one at a time. Out: calls of `write` with batches, from a thread of its own. Read by request_log.py.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

from drift_detector_pipeline.console import log

BATCH, EVERY_S = 64, 0.25  # what is put waits for so many others, or so long
BEHIND_S = 2.0  # what has waited longer is behind
_PATIENCE_S = (0.25, 5.0)  # between two tries, at first and at most

_Item = TypeVar("_Item")


class _Waiting(NamedTuple, Generic[_Item]):
    item: _Item
    since: float  # time.monotonic()


class Buffer(Generic[_Item]):
    """Holds at most `size` items; the oldest are dropped and counted when `write` does not keep up.

    `write` raises OSError when nothing can be written now: the same items are given again, later. It is called from one
    thread, in the order of `put`. `idle` is called between batches.
    """

    def __init__(
        self, size: int, write: Callable[[Sequence[_Item]], None], idle: Callable[[], None] = lambda: None
    ) -> None:
        self.dropped = 0
        self._size, self._write, self._idle = size, write, idle
        self._waiting, self._under_way = deque[_Waiting[_Item]](), list[_Waiting[_Item]]()
        self._changed = threading.Condition()
        self._failing, self._hurry, self._closed, self._over = False, False, False, False
        self._thread = threading.Thread(target=self._run, name="request-log", daemon=True)
        self._thread.start()

    def put(self, item: _Item) -> None:
        """Take an item; microseconds."""
        with self._changed:
            if self._closed:
                self.dropped += 1
                return
            self._waiting.append(_Waiting(item, time.monotonic()))
            self._drop_oldest()
            if len(self._waiting) == BATCH:
                self._changed.notify_all()

    @property
    def behind(self) -> bool:
        """Whether the last try failed, or something has waited for too long."""
        with self._changed:
            oldest = [*self._under_way[:1], *list(self._waiting)[:1]][:1]
            return self._failing or any(time.monotonic() - one.since > BEHIND_S for one in oldest)

    def __len__(self) -> int:
        with self._changed:
            return len(self._waiting) + len(self._under_way)

    def flush(self, timeout_s: float) -> bool:
        """Wait until all that was put is written; False if that was not to be."""
        with self._changed:
            self._hurry = True
            self._changed.notify_all()
            return self._changed.wait_for(lambda: not self._waiting and not self._under_way, timeout_s)

    def close(self, timeout_s: float) -> None:
        """Take nothing more and flush; what could not be written is dropped and counted."""
        with self._changed:
            self._closed = True
        self.flush(timeout_s)
        with self._changed:
            if lost := len(self._waiting) + len(self._under_way):
                log.warning("request log: closed with %d rows that could not be written", lost)
            self.dropped += lost
            self._waiting.clear()
            self._over = True
            self._changed.notify_all()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        pause = 0.0
        while not self._over:
            with self._changed:
                self._wait(pause)
                self._under_way = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            pause = self._write_some(pause)
            if not pause and len(self) < BATCH:
                self._idle()

    def _wait(self, pause: float) -> None:
        """Until there is a whole batch or time is up; after a failure for `pause`, whatever comes, but a flush."""
        if pause:
            self._changed.wait_for(lambda: self._hurry or self._over, pause)
            self._hurry = False
        elif not self._hurry or not self._waiting:
            self._hurry = False
            self._changed.wait_for(lambda: len(self._waiting) >= BATCH or self._hurry or self._over, EVERY_S)

    def _write_some(self, before: float) -> float:
        """Write what is under way; return how long to wait until the next try, 0 if all went well."""
        if not self._under_way:
            return 0.0
        try:
            self._write([one.item for one in self._under_way])
        except OSError as error:
            self._take_back(error)
            return min(2 * before, _PATIENCE_S[1]) or _PATIENCE_S[0]
        with self._changed:
            if self._failing:
                log.info("request log: written again; %d rows were dropped so far", self.dropped)
            self._failing, self._under_way = False, []
            self._changed.notify_all()
        return 0.0

    def _take_back(self, error: OSError) -> None:
        with self._changed:
            if not self._failing:
                log.warning("request log: %s; the newest %d rows wait, older ones are dropped", error, self._size)
            self._failing = True
            if not self._over:
                self._waiting.extendleft(reversed(self._under_way))
                self._drop_oldest()
            self._under_way = []

    def _drop_oldest(self) -> None:
        while len(self._waiting) > self._size:
            self._waiting.popleft()
            self.dropped += 1
