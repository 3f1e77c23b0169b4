"""Workers tell each other through Redis who is down and who is back. A hint only: each worker decides by what it sees.

A circuit that opens here is announced; another worker that has had no answer from the same place lately opens its own
for a while. One that closes is announced too, and the others probe at once. Without Redis every worker learns by itself.
"""

import asyncio
import contextlib
import logging
import time
import uuid
from typing import Any

import msgspec
import redis.asyncio
from redis.exceptions import RedisError

from gateway.routing.breaker import CLOSED, OPEN, OPEN_SECONDS, Circuit
from gateway.routing.health import Health

log = logging.getLogger(__name__)

CHANNEL = "tollgate:circuits"
PAUSE_SECONDS = 2.0  # before the connection is tried again
MOST_WAITING = 1000


class Hint(msgspec.Struct, array_like=True):
    """One change of a circuit, on the wire. `worker` is who saw it."""

    worker: str
    provider: str
    base_url: str
    model: str
    credential: str
    state: str
    why: str


class Hints:
    """Publishes this worker's changes and takes those of the others. `run` until cancelled."""

    def __init__(self, health: Health, url: str) -> None:
        self.health, self._url = health, url
        self.worker = uuid.uuid4().hex
        self._waiting: asyncio.Queue[bytes] = asyncio.Queue(MOST_WAITING)
        health.listener = self.changed

    def changed(self, circuit: Circuit, state: str, why: str) -> None:
        """A circuit of this worker changed; called within a call, so it only puts a note aside."""
        if state in (OPEN, CLOSED):
            hint = Hint(
                self.worker, circuit.provider, circuit.base_url, circuit.model, circuit.credential, state, why[:200]
            )
            with contextlib.suppress(asyncio.QueueFull):
                self._waiting.put_nowait(msgspec.json.encode(hint))

    def take(self, data: bytes) -> None:
        """Another worker's hint."""
        try:
            hint = msgspec.json.decode(data, type=Hint)
        except msgspec.DecodeError:
            return
        if hint.worker == self.worker:
            return
        place = (hint.provider, hint.base_url, hint.model, hint.credential)
        circuit = self.health.known(*place)
        now = time.monotonic()
        if circuit is None:
            until = now + OPEN_SECONDS if hint.state == OPEN else 0.0
            self.health.remember(place, until, f"another worker: {hint.why}")
        elif hint.state == CLOSED:
            circuit.try_soon(now)
        elif hint.state == OPEN and not circuit.calls[0]:  # whoever has answers of its own knows better
            circuit.hold_open(now, OPEN_SECONDS, f"another worker: {hint.why}")

    async def run(self) -> None:
        """Publish and listen; while Redis is away, only wait for it."""
        while True:
            try:
                async with contextlib.AsyncExitStack() as stack:
                    client: Any = redis.asyncio.Redis.from_url(self._url)
                    stack.push_async_callback(client.aclose)
                    async with asyncio.TaskGroup() as both:
                        both.create_task(self._publish(client))
                        both.create_task(self._listen(client))
            except* (RedisError, OSError):
                log.info("circuits are not shared: Redis does not answer")
            await asyncio.sleep(PAUSE_SECONDS)

    async def _publish(self, client: Any) -> None:
        while True:
            await client.publish(CHANNEL, await self._waiting.get())

    async def _listen(self, client: Any) -> None:
        async with client.pubsub() as channel:
            await channel.subscribe(CHANNEL)
            async for message in channel.listen():
                if message["type"] == "message":
                    self.take(message["data"])
