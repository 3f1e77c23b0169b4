"""What counts: rate limits and budgets, as protocols. In one process plain integers do it, across several Redis.

Amounts are integers: nano-dollars, tokens, requests or places. Every operation is one atomic step over all that it
names: it takes effect everywhere, or it is refused and leaves no trace.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec


class Fact(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Some numbers that belong together; sent to a store, a list.

    A call makes a dozen of them, each at a quarter of what a named tuple costs.
    """


class StoreUnavailable(Exception):
    """The counters' store did not answer in time, or lost what it knew and is being rebuilt."""


class Rate(Fact, frozen=True):
    """One rate limit that a call must pass: at most `amount` in any window of `window_ms`.

    `key` is {workspace}:of:unit:window_ms:match:subject. `burst` is the most that comes in at once: the amount, if it
    has no burst of its own. A limit of places (calls at once) has window_ms 0.
    """

    key: str
    cost: int
    amount: int
    window_ms: int
    burst: int


class Standing(Fact, frozen=True):
    """How one limit stands after a call was let in."""

    remaining: int
    reset_ms: int  # until all of it is free again


class Admitted(Fact, frozen=True):
    """Let in, at this moment of the store's clock; how each limit stands, in the order asked."""

    at_ms: int
    standings: list[Standing]


class Crowded(Fact, frozen=True):
    """The first limit that has no room: `which` is its place in the request."""

    which: int
    retry_ms: int
    remaining: int


class Counters(Protocol):
    """Rate limits. Times are the store's own.

    local    counts for this process alone, for when the store is away
    workers  how many processes share the store
    """

    local: "Counters"
    workers: int

    async def admit(self, ticket: str, rates: Sequence[Rate]) -> Admitted | Crowded:
        """Let a call in everywhere, or nowhere. Raises StoreUnavailable."""
        ...

    async def settle(self, ticket: str, at_ms: int, rates: Sequence[Rate], used: Sequence[int]) -> None:
        """Give places back, and replace what was reserved at that moment by what was used.

        Takes effect before it first waits; never raises for a store that is away.
        """
        ...


class Batch(Protocol):
    """A store that does many operations in one atomic step: all those of one turn of the event loop.

    An operation is a list that begins with its name; what follows is its own. The answer is what it returned.
    """

    async def run(self, operation: list[Any]) -> Any:
        """Do it with everything else that is asked for in this turn. Raises StoreUnavailable."""
        ...

    def post(
        self,
        operation: list[Any],
        failed: Callable[[], None] | None = None,
        done: Callable[[Any], None] | None = None,
    ) -> None:
        """The same, without waiting; `failed` is called if it may not have been done, `done` with its answer."""
        ...


class Ask(Fact, frozen=True):
    """What one attempt asks of one bucket: base + output * rate / 1,000,000, rounded up.

    bucket  who spends, in which period: see budgets/periods.py
    base    for all but the output, in the bucket's unit (nano-dollars or tokens)
    rate    for a million output tokens
    cap     None: only count
    """

    bucket: str
    base: int
    rate: int
    cap: int | None


class Wish(Fact, frozen=True):
    """How much output an attempt would like, and the least that it takes.

    share  take no more of a bucket than its free part divided by this, unless `least` is more: so a first call
           that says nothing of its length leaves room for the next ones
    """

    most: int
    least: int
    share: int = 1


class Granted(Fact, frozen=True):
    """Held. `output` tokens may be written; `left` is what each bucket has after it (None: without a cap)."""

    output: int
    left: tuple[int | None, ...]


class Short(Fact, frozen=True):
    """Refused: the bucket of ask number `which` has too little left. `needed` is for the least output."""

    which: int
    spent: int
    held: int
    needed: int


class Spent(NamedTuple):
    """What an attempt turned out to cost. `in_doubt`: charged in full because nobody knows."""

    nanos: int
    tokens: int
    in_doubt: bool = False


Describe = Callable[[], str]  # what a shared ledger keeps beside a hold, so that others can book it in doubt: JSON text


class Ledger(Protocol):
    """Holds and what was spent, by bucket. Idempotent by attempt id."""

    async def reserve(self, attempt: str, asks: Sequence[Ask], wish: Wish, describe: Describe) -> Granted | Short:
        """Hold the attempt's most in every bucket, or in none. Raises StoreUnavailable."""
        ...

    async def settle(self, attempt: str, spent: Spent) -> None:
        """Replace the hold by what was spent. The second time, and for what was never held, it does nothing.

        Takes effect before it first waits; never raises for a store that is away.
        """
        ...

    async def roll(
        self, settled: tuple[str, Spent], attempt: str, asks: Sequence[Ask], wish: Wish, describe: Describe
    ) -> Granted | Short:
        """Settle one attempt and reserve the next in one step. Refused, the first stays settled all the same."""
        ...

    async def freed(self, timeout_s: float) -> None:
        """Wait until something was settled, at most so long."""
        ...
