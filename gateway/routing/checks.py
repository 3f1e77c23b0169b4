"""Active checks: a target that was silent or failing is asked something free before a call is risked on it.

Only targets whose circuit is open and about to be tried again are asked, with `GET {base_url}/models`, which servers of
OpenAI's form answer without generating anything. While they do not answer, the circuit stays open. Whether the model
itself works again is found by the probes that the circuit lets through.
"""

import asyncio
import time

from gateway.core.errors import GatewayError
from gateway.providers.base import Outgoing
from gateway.routing.breaker import OPEN, OPEN_SECONDS, Circuit
from gateway.routing.send import Upstream
from gateway.snapshot import Timeouts

EVERY_SECONDS = 1.0
AHEAD_SECONDS = 1.5  # how long before its time a circuit is checked
KINDS = frozenset({"openai", "openai_compatible", "mistral"})
LIMITS = Timeouts(connect=1.0, first_byte=2.0, first_token=2.0, idle=2.0, total=3.0)


class Checks:
    """`run` until cancelled."""

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream

    async def run(self) -> None:
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            await self.look(time.monotonic())

    async def look(self, now: float) -> None:
        """Check every circuit that would be tried soon."""
        due = [
            circuit
            for circuit in self.upstream.health.circuits()
            if circuit.state is OPEN
            and circuit.last_failure in {"timeout", "server_error", "bad_answer"}
            and circuit.target.kind in KINDS
            and circuit.blocked_until - now < AHEAD_SECONDS
        ]
        await asyncio.gather(*map(self._check, due))

    async def _check(self, circuit: Circuit) -> None:
        target = circuit.target
        headers = {"authorization": f"Bearer {target.secret}"} if target.secret else {}
        try:
            answer = await self.upstream.send(Outgoing(f"{target.base_url}/models", headers, b"", "GET"), LIMITS)
            alive = answer.status < 500
        except GatewayError:
            alive = False
        if not alive and circuit.state is OPEN:
            circuit.hold_open(time.monotonic(), OPEN_SECONDS, "it did not answer an active check")


async def watch(upstream: Upstream, redis_url: str) -> None:
    """All that looks after providers' health beside the calls, until cancelled."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(Checks(upstream).run())
        if redis_url:
            from gateway.routing.hints import Hints  # noqa: PLC0415 - optional: only where REDIS_URL is set

            tasks.create_task(Hints(upstream.health, redis_url).run())
