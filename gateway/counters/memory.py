"""Rate limits of one process: plain integers, and no await between looking and taking.

A window is cut into 240 slots, and a slot counts in full until its newest place has left the window. So there are never
more than the amount in any window, whenever it begins; a place comes free a 240th of the window late at most, and nobody
waits longer than the window.
"""

import time
from collections import deque
from collections.abc import Sequence

from gateway.core.counters import Admitted, Counters, Crowded, Rate, Standing

SLOTS = 240
SWEEP_EVERY = 20_000  # admissions


class Window:
    """What one subject used of one limit. `slots` holds [slot's number, amount, newest in ms], oldest first.

    width  of a slot in milliseconds: every key names its window, so it never changes
    level  how full the burst's bucket is, times window_ms, so that what leaks out of it is an integer too
    """

    __slots__ = ("last_ms", "level", "slots", "total", "width")

    def __init__(self, window_ms: int) -> None:
        self.width = slot_ms(window_ms)
        self.total = 0
        self.slots: deque[list[int]] = deque()
        self.level = 0
        self.last_ms = 0

    def wait_ms(self, rate: Rate, now_ms: int) -> int:
        """Let go what has left the window. Milliseconds until the rate's cost fits; 0 when it fits now."""
        slots = self.slots
        while slots and slots[0][2] + rate.window_ms <= now_ms:
            self.total -= slots.popleft()[1]
        if rate.burst < rate.amount:
            self.level = max(0, self.level - (now_ms - self.last_ms) * rate.amount)
            self.last_ms = now_ms
        wait = 0
        over = self.total + rate.cost - rate.amount
        if over > 0:
            wait = rate.window_ms
            for _, amount, newest_ms in slots:
                over -= amount
                if over <= 0:
                    wait = newest_ms + rate.window_ms - now_ms
                    break
        if rate.burst < rate.amount:
            beyond = self.level + (rate.cost - rate.burst) * rate.window_ms
            if beyond > 0:
                wait = max(wait, -(-beyond // rate.amount))
        return wait

    def take(self, rate: Rate, now_ms: int) -> Standing:
        """Put the rate's cost in; how the limit stands with it."""
        number, slots = now_ms // self.width, self.slots
        self.total += rate.cost
        if slots and slots[-1][0] == number:
            slots[-1][1] += rate.cost
            slots[-1][2] = now_ms
        else:
            slots.append([number, rate.cost, now_ms])
        remaining = rate.amount - self.total
        if rate.burst < rate.amount:
            self.level += rate.cost * rate.window_ms
            remaining = min(remaining, self.left_of_burst(rate))
        return Standing(remaining if remaining > 0 else 0, rate.window_ms)

    def correct(self, rate: Rate, at_ms: int, difference: int) -> None:
        """Replace what was reserved at that time by what was used, if it still counts."""
        number = at_ms // self.width
        for slot in reversed(self.slots):
            if slot[0] == number:
                slot[1] += difference
                self.total += difference
                break
        if rate.burst < rate.amount:
            self.level = max(0, self.level + difference * rate.window_ms)

    def remaining(self, rate: Rate) -> int:
        """How much more comes in now."""
        remaining = rate.amount - self.total
        if rate.burst < rate.amount:
            remaining = min(remaining, self.left_of_burst(rate))
        return remaining if remaining > 0 else 0

    def left_of_burst(self, rate: Rate) -> int:
        return rate.burst - -(-self.level // rate.window_ms)


class MemoryCounters:
    """Windows by key. Times are this process's monotonic clock."""

    def __init__(self) -> None:
        self.windows: dict[str, Window] = {}
        self.local: Counters = self
        self.workers = 1
        self._admissions = 0

    async def admit(self, ticket: str, rates: Sequence[Rate]) -> Admitted | Crowded:
        now_ms = time.monotonic_ns() // 1_000_000
        found = []
        for index, rate in enumerate(rates):
            window = self.windows.get(rate.key)
            if window is None:
                window = self.windows[rate.key] = Window(rate.window_ms)
            found.append(window)
            if rate.window_ms:
                if wait := window.wait_ms(rate, now_ms):
                    return Crowded(index, wait, window.remaining(rate))
            elif window.total + rate.cost > rate.amount:
                return Crowded(index, 1000, max(0, rate.amount - window.total))
        standings = []
        for rate, window in zip(rates, found, strict=True):
            if rate.window_ms:
                standings.append(window.take(rate, now_ms))
            else:
                window.total += rate.cost
                standings.append(Standing(rate.amount - window.total, 0))
        self._admissions += 1
        if self._admissions % SWEEP_EVERY == 0:
            self.sweep(now_ms)
        return Admitted(now_ms, standings)

    async def settle(self, ticket: str, at_ms: int, rates: Sequence[Rate], used: Sequence[int]) -> None:
        for rate, amount in zip(rates, used, strict=True):
            window = self.windows.get(rate.key)
            if window is None:
                continue
            if rate.window_ms == 0:
                window.total -= rate.cost
            elif amount != rate.cost:
                window.correct(rate, at_ms, amount - rate.cost)

    def sweep(self, now_ms: int) -> None:
        """Forget who used nothing for a day, the longest window, and holds no place."""
        for key, window in list(self.windows.items()):
            last = window.slots[-1][2] if window.slots else None
            if window.total == 0 if last is None else last + 2 * window_of(key) < now_ms:
                del self.windows[key]


def slot_ms(window_ms: int) -> int:
    """A slot's length."""
    return window_ms // SLOTS or 1


def window_of(key: str) -> int:
    """The window's milliseconds, which every key names: see tenants/limits.py."""
    return int(key.split(":", 4)[3])
