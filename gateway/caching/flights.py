"""Identical calls in flight: one asks the provider, the others wait for its answer."""

import asyncio
from collections import deque

from gateway.caching.entry import Entry

LEAD = object()  # told to a follower who is to ask the provider now
ALONE = object()  # told to followers who had better not wait for anybody
FAILURES_MOST = 2  # after so many failed leaders everybody goes on alone


class Flight:
    """A call under way, and who waits for its answer."""

    __slots__ = ("_failures", "_flights", "_key", "_waiting")

    def __init__(self, flights: dict[bytes, "Flight"], key: bytes) -> None:
        self._flights, self._key = flights, key
        self._waiting: deque[asyncio.Future[object]] = deque()
        self._failures = 0
        flights[key] = self

    async def follow(self, timeout_s: float | None) -> object:
        """The leader's Entry, LEAD when the leader fell out and it is this one's turn, or ALONE."""
        told: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._waiting.append(told)
        try:
            async with asyncio.timeout(timeout_s):
                return await told
        except TimeoutError:
            self._leave(told)
            return ALONE
        except BaseException:
            self._leave(told)
            raise

    def _leave(self, told: "asyncio.Future[object]") -> None:
        """A follower that is gone waits no more; one that was just made leader hands that on."""
        if told.done() and not told.cancelled() and told.result() is LEAD:
            self.fell_out(failed=False)
        elif told in self._waiting:
            self._waiting.remove(told)

    def landed(self, entry: Entry | None) -> None:
        """The leader's answer is there; None when it is not one to share."""
        self._end(ALONE if entry is None else entry)

    def fell_out(self, *, failed: bool) -> None:
        """The leader has no answer: its client left, or it failed. The next in line takes its place."""
        self._failures += failed
        if self._failures >= FAILURES_MOST:
            self._end(ALONE)
            return
        while self._waiting:
            told = self._waiting.popleft()
            if not told.done():
                told.set_result(LEAD)
                return
        self._end(ALONE)

    def _end(self, what: object) -> None:
        if self._flights.get(self._key) is self:
            del self._flights[self._key]
        while self._waiting:
            told = self._waiting.popleft()
            if not told.done():
                told.set_result(what)
