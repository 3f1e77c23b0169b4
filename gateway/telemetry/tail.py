"""Calls as they end, for those who watch the live page, in this process and in every other that shares the Redis.

Records are told by the audit's writer once they are in the database, so a line that is shown leads to a page that is
there, and a call itself pays nothing. While nobody watches, nothing is encoded and nothing is sent. Nobody waits
here: what a slow watcher can't take is counted as skipped.
"""

import asyncio
import contextlib
import logging
import time
import uuid
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from audit.record import Record

log = logging.getLogger(__name__)

CHANNEL = "tollgate:calls"
LINES_MOST = 100  # of one batch of records, and waiting for one watcher; older ones are skipped
LOOK_SECONDS = 1.0  # how long an answer to "does anybody watch?" holds
REDIS_SECONDS = 0.25  # what the writer's thread waits for Redis at most
PAUSE_SECONDS = 5.0  # after Redis did not answer


class Line(msgspec.Struct, array_like=True):
    """One call on the live page: no text, no end user. Times in microseconds, money in nano-dollars."""

    id: str
    at_us: int
    workspace_id: str
    workspace: str
    key: str
    route: str
    model: str
    provider: str
    outcome: str
    status: int
    code: str
    cache: str
    attempts: int
    input_tokens: int
    output_tokens: int
    cost_nanos: int
    us: int
    ttft_us: int | None


class Told(msgspec.Struct, array_like=True):
    """What one worker tells of one batch. `skipped` calls ended besides those whose lines are here."""

    worker: str
    skipped: int
    lines: list[Line]


_decode = msgspec.msgpack.Decoder(Told).decode
_encode = msgspec.msgpack.Encoder().encode


def line_of(record: Record) -> Line:
    return Line(
        id=record.call_id,
        at_us=record.at_us,
        workspace_id=record.workspace_id,
        workspace=record.workspace,
        key=record.key,
        route=record.route or record.asked,
        model=record.model,
        provider=record.provider,
        outcome=record.outcome,
        status=record.status,
        code=record.code,
        cache=record.cache,
        attempts=len(record.attempts),
        input_tokens=record.input_tokens,
        output_tokens=record.output_tokens,
        cost_nanos=record.cost_nanos,
        us=record.us,
        ttft_us=record.ttft_us,
    )


class Watcher:
    """One who watches, in one event loop. `lines` waits for what is new."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.skipped = 0
        self._waiting: deque[Line] = deque()
        self._came = asyncio.Event()

    def take(self, told: Told) -> None:
        """In the loop's own thread."""
        self._waiting.extend(told.lines)
        self.skipped += told.skipped
        while len(self._waiting) > LINES_MOST:
            self._waiting.popleft()
            self.skipped += 1
        self._came.set()

    async def lines(self, *, timeout_s: float) -> tuple[list[Line], int]:
        """What came since the last time, oldest first, and how many were skipped; nothing when nothing came in time."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._came.wait(), timeout_s)
        self._came.clear()
        found, skipped = list(self._waiting), self.skipped
        self._waiting.clear()
        self.skipped = 0
        return found, skipped


class Tail:
    """One per process. `tell` is called by the writer's thread, `watch` by whoever serves a page."""

    def __init__(self) -> None:
        self.worker = uuid.uuid4().hex
        self.watchers: set[Watcher] = set()
        self._url = ""
        self._redis: Any = None
        self._failures: tuple[type[Exception], ...] = (OSError,)  # how it shows that Redis does not answer
        self._is_watched, self._look_at = False, 0.0
        self._listening: asyncio.Task[None] | None = None

    def open(self, redis_url: str) -> None:
        """Share with the other processes from now on, where there is a Redis."""
        self._url = redis_url
        if redis_url:
            import redis  # noqa: PLC0415 - optional: only where REDIS_URL is set

            self._failures = (redis.RedisError, OSError)
            self._redis = redis.Redis.from_url(
                redis_url, socket_timeout=REDIS_SECONDS, socket_connect_timeout=REDIS_SECONDS
            )

    def close(self) -> None:
        if self._redis is not None:
            self._redis.close()
            self._redis = None
        self._url = ""

    # --- Telling --------------------------------------------------------------------------------------

    def tell(self, records: Sequence[Record]) -> None:
        """Tell of calls whose records are in the database. Never raises, never waits long."""
        elsewhere = self._is_watched_elsewhere()
        if not self.watchers and not elsewhere:
            return
        lines = [line_of(record) for record in records[-LINES_MOST:]]
        told = Told(self.worker, len(records) - len(lines), lines)
        for watcher in list(self.watchers):
            with contextlib.suppress(RuntimeError):  # its loop has ended
                watcher.loop.call_soon_threadsafe(watcher.take, told)
        if elsewhere:
            try:
                self._redis.publish(CHANNEL, _encode(told))
            except UnicodeEncodeError as error:
                self._rest(error)
            except self._failures as error:
                self._rest(error)

    def _is_watched_elsewhere(self) -> bool:
        if self._redis is None:
            return False
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + LOOK_SECONDS
            try:
                ((_, listeners),) = self._redis.pubsub_numsub(CHANNEL)
                self._is_watched = listeners > 0
            except self._failures as error:
                self._rest(error)
        return self._is_watched

    def _rest(self, error: Exception) -> None:
        self._is_watched, self._look_at = False, time.monotonic() + PAUSE_SECONDS
        log.info("calls are not shown live by other processes: Redis does not answer (%s)", error)

    # --- Watching -------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def watch(self) -> Iterator[Watcher]:
        """A Watcher for as long as the block runs."""
        watcher = Watcher()
        self.watchers.add(watcher)
        if self._url and (self._listening is None or self._listening.done()):
            self._listening = asyncio.get_running_loop().create_task(self._listen())
        try:
            yield watcher
        finally:
            self.watchers.discard(watcher)
            if not self.watchers and self._listening is not None:
                self._listening.cancel()
                self._listening = None

    async def _listen(self) -> None:
        """Bring what other processes tell to the watchers of this one, until the last of them leaves."""
        import redis.asyncio  # noqa: PLC0415 - optional: only where REDIS_URL is set

        while True:
            try:
                async with contextlib.AsyncExitStack() as stack:
                    client: Any = redis.asyncio.Redis.from_url(self._url)
                    stack.push_async_callback(client.aclose)
                    channel = await stack.enter_async_context(client.pubsub())
                    await channel.subscribe(CHANNEL)
                    async for message in channel.listen():
                        if message["type"] == "message":
                            self._take(message["data"])
            except self._failures:
                log.info("calls of other processes are not shown live: Redis does not answer")
            await asyncio.sleep(LOOK_SECONDS)

    def _take(self, data: bytes) -> None:
        try:
            told = _decode(data)
        except msgspec.DecodeError:
            return
        if told.worker != self.worker:
            for watcher in list(self.watchers):
                watcher.loop.call_soon_threadsafe(watcher.take, told)


tail = Tail()
