"""What a run may still spend, shared by calls that are made at once, so that together they never spend more."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

REFUSED = "budget_exceeded"


class Empty(Exception):
    """Nothing is left to spend."""


class Purse:
    """So many nano-dollars (None: no cap) for so many calls at once.

    Each call gets its share of what is left. One that the gateway refuses because it may cost more than its share
    waits until it is alone, and gets all that is left then; refused again, it can't be paid.
    """

    def __init__(self, nanos: int | None, at_once: int) -> None:
        self._left, self._at_once = nanos, at_once
        self._lent, self._running = 0, 0
        self._changed = asyncio.Condition()

    async def spend(self, call: Callable[[int | None], Awaitable[Any]]) -> Any:
        """Make the call with its share. Its answer says in `cost_nanos` what it cost. Raises Empty."""
        if self._left is None:
            return await call(None)
        try:
            said = await self._with(self._at_once, call)
        except Empty:
            said = None
        return await self._with(1, call) if said is None or said.code == REFUSED else said

    async def _with(self, at_once: int, call: Callable[[int | None], Awaitable[Any]]) -> Any:
        assert self._left is not None
        async with self._changed:
            await self._changed.wait_for(lambda: self._running < at_once)
            share = (self._left - self._lent) // (at_once - self._running)
            if share <= 0:
                raise Empty
            self._lent, self._running = self._lent + share, self._running + 1
        cost = share
        try:
            said = await call(share)
            cost = said.cost_nanos
            return said
        finally:
            async with self._changed:
                self._lent, self._running, self._left = self._lent - share, self._running - 1, self._left - cost
                self._changed.notify_all()
