"""One script call to Redis for everything that is asked of it in one turn of the event loop.

While a call is under way, what is asked meanwhile is gathered for the next one; so under load batches grow by
themselves. A store that does not answer in time fails everything that waits for it at once, and is then asked once a
second only, until it answers again.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from redis.exceptions import NoScriptError, RedisError, ResponseError

from gateway.core.counters import StoreUnavailable
from gateway.counters.wire import Wire, connect

log = logging.getLogger(__name__)

OPERATIONS_AT_ONCE = 256
TIMEOUT_SECONDS = 0.25
PROBE_SECONDS = 1.0
FAILURES_TO_BREAK = 3

HEAD = "local F = {}\n"
TAIL = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local answers = {}
for place, operation in ipairs(cmsgpack.unpack(ARGV[1])) do
  local done, answer = pcall(F[operation[1]], operation, now)
  if done then
    answers[place] = answer
  else
    answers[place] = {'failed', tostring(type(answer) == 'table' and answer.err or answer)}
  end
end
return cmsgpack.pack({redis.call('INCR', 'tg:seq'), redis.call('GET', 'tg:epoch') or '', answers})
"""

LIMITS = Path(__file__).with_name("limits.lua")

encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder().decode


def script_of(*files: Path) -> str:
    """One script that knows the operations of these files."""
    return HEAD + "\n".join(file.read_text() for file in files) + TAIL


class Waiting(NamedTuple):
    """One operation, and who hears of it: the answer's future, or what to call."""

    operation: list[Any]
    answer: asyncio.Future[Any] | None
    failed: Callable[[], None] | None = None
    abandoned: Callable[[Any], None] | None = None
    done: Callable[[Any], None] | None = None


class RedisBatch:
    """Gathers operations, sends them, and hands back the answers.

    heard  called with (sequence, epoch) of every answer, before the answers are given out: a ledger finds out by
           them that the store was lost or rolled back
    restarted  called when a new connection reaches another run of Redis than the last one did, before anything is
           asked of it: what it remembers may be older than what it once answered
    gathering  called before each script call: who has put something off posts it now, and it goes along
    """

    def __init__(self, url: str, script: str, *, timeout_s: float = TIMEOUT_SECONDS) -> None:
        self.url, self.script, self.timeout_s = url, script, timeout_s
        self.heard: Callable[[int, str], None] = lambda sequence, epoch: None
        self.restarted: Callable[[], None] = lambda: None
        self.gathering: Callable[[], None] = lambda: None
        self._run_id = b""
        self.failures = 0
        self.loop: asyncio.AbstractEventLoop | None = None  # the one that it is used on
        self._wire: Wire | None = None
        self._sha = b""
        self._waiting: list[Waiting] = []
        self._sending: asyncio.Task[None] | None = None
        self._probe_at = 0.0

    async def run(self, operation: list[Any]) -> Any:
        return await self.send(operation)

    def send(self, operation: list[Any], abandoned: Callable[[Any], None] | None = None) -> asyncio.Future[Any]:
        """The answer to come. Raises StoreUnavailable at once while the store is known to be away.

        `abandoned` is called with the answer when nobody waits for it any more: the operation was done all the same.
        """
        if self.is_away:
            raise StoreUnavailable("Redis does not answer")
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append(Waiting(operation, answer, abandoned=abandoned))
        self._go()
        return answer

    def post(
        self,
        operation: list[Any],
        failed: Callable[[], None] | None = None,
        done: Callable[[Any], None] | None = None,
    ) -> None:
        if self.is_away:
            if failed is not None:
                failed()
            return
        self._waiting.append(Waiting(operation, None, failed, done=done))
        self._go()

    @property
    def is_away(self) -> bool:
        """Whether the store failed so often that it is only asked now and then. Lets one through as a probe."""
        if self.failures < FAILURES_TO_BREAK:
            return False
        now = time.monotonic()
        if now >= self._probe_at:
            self._probe_at = now + PROBE_SECONDS
            return False
        return True

    def _go(self) -> None:
        if self._sending is None or self._sending.done():
            self.loop = asyncio.get_running_loop()
            self._sending = self.loop.create_task(self._send_all())

    async def _send_all(self) -> None:
        while self._waiting:
            self.gathering()
            batch, self._waiting = self._waiting[:OPERATIONS_AT_ONCE], self._waiting[OPERATIONS_AT_ONCE:]
            try:
                async with asyncio.timeout(self.timeout_s):
                    raw = await self._call(encode([each.operation for each in batch]))
                sequence, epoch, answers = decode(raw)
            except (RedisError, OSError, TimeoutError, EOFError) as error:
                self._failed(batch, error)
                continue
            self.failures = 0
            self.heard(sequence, epoch)
            for each, answer in zip(batch, answers, strict=True):
                if isinstance(answer, list) and answer and answer[0] == "failed":
                    log.error("the store could not do %s: %s", each.operation[0], answer[1])
                    give_up(each, StoreUnavailable(str(answer[1])))
                elif each.answer is not None:
                    if not each.answer.done():
                        each.answer.set_result(answer)
                    elif each.abandoned is not None:
                        each.abandoned(answer)
                elif each.done is not None:
                    each.done(answer)

    async def _call(self, payload: bytes) -> bytes:
        if self._wire is None:
            self._wire = await self._connect()
        if not self._sha:
            self._sha = await self._wire.run(b"SCRIPT", b"LOAD", self.script.encode())
        try:
            return await self._wire.run(b"EVALSHA", self._sha, b"0", payload)  # type: ignore[no-any-return]
        except NoScriptError:  # the store was restarted or its scripts were flushed
            self._sha = await self._wire.run(b"SCRIPT", b"LOAD", self.script.encode())
            return await self._wire.run(b"EVALSHA", self._sha, b"0", payload)  # type: ignore[no-any-return]

    async def _connect(self) -> Wire:
        """A connection, once it is known whether it reaches the same run of Redis as before."""
        wire = await connect(self.url)
        try:
            run_id = run_of(await wire.run(b"INFO", b"server"))
        except ResponseError:  # where the user may not ask, the sequence has to do
            run_id = b""
        except BaseException:  # also the timeout of whoever waits
            wire.close()
            raise
        if run_id and self._run_id and run_id != self._run_id:
            self.restarted()
        self._run_id = run_id or self._run_id
        return wire

    def _failed(self, batch: Sequence[Waiting], error: BaseException) -> None:
        self.failures += 1
        self._probe_at = time.monotonic() + PROBE_SECONDS
        if self.failures == FAILURES_TO_BREAK:
            log.warning("Redis does not answer (%s: %s); asking once a second", type(error).__name__, error)
        if self._wire is not None:
            self._wire.close()
            self._wire, self._sha = None, b""
        for each in batch:
            give_up(each, StoreUnavailable(f"Redis: {type(error).__name__}"))

    async def close(self) -> None:
        """Send what waits and close the connection."""
        if self._sending is not None:
            await self._sending
        if self._wire is not None:
            self._wire.close()
            self._wire = None


def run_of(told: bytes) -> bytes:
    """The run's name in what INFO tells; empty where it is not there."""
    return next((line[7:].strip() for line in told.splitlines() if line.startswith(b"run_id:")), b"")


def give_up(waiting: Waiting, error: StoreUnavailable) -> None:
    if waiting.answer is not None and not waiting.answer.done():
        waiting.answer.set_exception(error)
    if waiting.failed is not None:
        waiting.failed()
