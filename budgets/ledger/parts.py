"""What a worker remembers of its holds and slices in the shared ledger, and what a bucket's name says."""

import time
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec

from budgets.periods import FOREVER
from gateway.core.counters import Ask, Spent

AWAKE_OR_NOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
KEPT_SECONDS = 40 * 86_400  # a bucket after its period began anew, at least

Part = tuple[str, int, int]  # bucket, amount, 1 where it counts tokens
Key = tuple[tuple[str, int | None], ...]  # (bucket, cap) of each


class Open:
    """What this worker knows of one of its holds. `draw` says from which slice it came, if it came from one."""

    __slots__ = ("draw", "note", "output", "parts")

    def __init__(self, parts: list[Part], output: int, note: str, draw: "Draw | None" = None) -> None:
        self.parts, self.output, self.note, self.draw = parts, output, note, draw


class Slice:
    """What is left of one slice here, in each unit that its buckets count, and of each bucket without it.

    back  (nano-dollars, tokens) that draws of which Redis knew did not need: of what is left in its buckets
    """

    __slots__ = (
        *("back", "drawn_at", "first", "is_ending", "left", "name", "nanos", "opened", "parts", "tokens"),
        "unconfirmed",
    )

    def __init__(self, name: str, key: Key, answer: Sequence[Any], asked_at: float) -> None:
        _, self.nanos, self.tokens, left = answer
        self.name = name
        self.parts: list[tuple[str, int]] = [(bucket, of_bucket(bucket)[0]) for bucket, _ in key]
        self.first: tuple[int, int] = (self.nanos, self.tokens)
        self.left: list[int | None] = [None if cap is None else rest for (_, cap), rest in zip(key, left, strict=True)]
        self.opened = self.drawn_at = asked_at
        self.back = (0, 0)
        self.unconfirmed: dict[str, Draw] = {}
        self.is_ending = False


class Draw:
    """One attempt's part of a slice. `spent`: it was settled before Redis confirmed that it knows of it."""

    __slots__ = ("attempt", "is_confirmed", "is_told", "nanos", "note", "output", "slice", "spent", "tokens")

    def __init__(self, source: Slice, attempt: str, amounts: tuple[int, int], output: int, note: str) -> None:
        self.slice, self.attempt, self.output, self.note = source, attempt, output, note
        self.nanos, self.tokens = amounts
        self.spent: Spent | None = None
        self.is_told = self.is_confirmed = False

    def as_told(self) -> list[Any]:
        spent = [] if self.spent is None else [*self.spent]
        return [self.slice.name, self.attempt, self.nanos, self.tokens, self.output, self.note, spent]


class Flow:
    """Calls that ask the same buckets: about how many there are a second, what they may cost, and their slice."""

    __slots__ = ("at", "calls", "key", "nanos", "not_before", "note", "slice", "tokens")

    def __init__(self, key: Key) -> None:
        self.key = key
        self.slice: Slice | None = None
        self.calls = self.at = self.not_before = 0.0
        self.nanos = self.tokens = 0
        self.note = ""

    def count(self, now: float, nanos: int, tokens: int) -> None:
        """One more call; what was more than a second ago hardly counts any more."""
        kept = max(0.0, 1 - (now - self.at))
        self.calls = self.calls * kept + 1
        self.nanos, self.tokens = int(self.nanos * kept) + nanos, int(self.tokens * kept) + tokens
        self.at = now


@lru_cache(maxsize=65_536)
def of_bucket(name: str) -> tuple[int, int]:
    """(1 where a bucket counts tokens, the second at which it may be forgotten or 0)."""
    _, _, per, start, unit, _ = name.split(":", 5)
    expires = 0 if per == "total" else int(start) + KEPT_SECONDS
    return (1 if unit == "tokens" else 0), (expires if expires < FOREVER else 0)


def ceil_part(output: int, rate: int) -> int:
    return -(-output * rate // 1_000_000)


def clock() -> float:
    """Seconds that also pass while the machine sleeps."""
    return time.clock_gettime(AWAKE_OR_NOT)


def most_of(asks: Sequence[Ask], output: int) -> tuple[int, int] | None:
    """(nano-dollars, tokens) that an attempt may cost, 0 where no bucket counts them; None if buckets differ in that."""
    amounts: list[int | None] = [None, None]
    for ask in asks:
        unit = of_bucket(ask.bucket)[0]
        amount = ask.base + ceil_part(output, ask.rate)
        if amounts[unit] is None:
            amounts[unit] = amount
        elif amounts[unit] != amount:
            return None
    return amounts[0] or 0, amounts[1] or 0


def line_of(key: Key, note: str) -> str:
    """The ledger line of a slice, should it be charged in doubt: as much as all its calls have in common, as JSON."""
    call = msgspec.json.decode(note)
    whose = {of: subject for _, of, _, _, _, subject in (bucket.split(":", 5) for bucket, _ in key)}
    workspace = key[0][0].partition(":")[0].strip("{}")
    line: dict[str, Any] = {name: whose.get(name, "") for name in ("team", "key", "user", "model", "provider")}
    line |= {"workspace": workspace, "at": call.get("at", time.time()), "price": "", "classes": {}}
    return msgspec.json.encode(line).decode()
