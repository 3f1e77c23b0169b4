"""Rate limits that several workers count together in Redis; times are Redis's own clock."""

import asyncio
from collections.abc import Sequence
from typing import Any

from gateway.core.counters import Admitted, Counters, Crowded, Rate, Standing
from gateway.counters.batch import RedisBatch
from gateway.counters.memory import MemoryCounters

PLACE_LEASE_MS = 30_000  # a place of a worker that died comes free after this
RENEW_SECONDS = 10.0


class RedisCounters:
    """One operation for all limits of a call, in the same script call as everybody else's of that turn."""

    def __init__(self, batch: RedisBatch, *, workers: int = 1) -> None:
        self.batch, self.workers = batch, workers
        self.local: Counters = MemoryCounters()
        self._places: dict[str, list[str]] = {}  # ticket → keys of the places that it holds
        self._timer: asyncio.TimerHandle | None = None

    async def admit(self, ticket: str, rates: Sequence[Rate]) -> Admitted | Crowded:
        found = await self.batch.send(
            ["admit", ticket, PLACE_LEASE_MS, rates], lambda answer: self._undo(answer, ticket, rates)
        )
        if found[0] == 0:
            return Crowded(*found[1:])
        if places := [rate.key for rate in rates if rate.window_ms == 0]:
            self._places[ticket] = places
            self._renew_later()
        return Admitted(found[1], [Standing(*standing) for standing in found[2]])

    async def settle(self, ticket: str, at_ms: int, rates: Sequence[Rate], used: Sequence[int]) -> None:
        self._places.pop(ticket, None)
        changed = [
            [rate.key, rate.amount, rate.window_ms, rate.burst, amount - rate.cost]
            for rate, amount in zip(rates, used, strict=True)
            if rate.window_ms == 0 or amount != rate.cost
        ]
        if changed:
            self.batch.post(["used", ticket, at_ms, changed])

    def _undo(self, answer: list[Any], ticket: str, rates: Sequence[Rate]) -> None:
        """A call that left while it was being let in gives its place back."""
        places = [[rate.key, rate.amount, 0, rate.burst, 0] for rate in rates if rate.window_ms == 0]
        if answer[0] == 1 and places:
            self.batch.post(["used", ticket, answer[1], places])

    def _renew_later(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(RENEW_SECONDS, self._renew)

    def _renew(self) -> None:
        """Keep the places of calls that are still under way."""
        self._timer = None
        if self._places:
            taken = [[key, ticket] for ticket, keys in self._places.items() for key in keys]
            self.batch.post(["renew", PLACE_LEASE_MS, taken])
            self._renew_later()
