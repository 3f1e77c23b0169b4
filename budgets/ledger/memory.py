"""The ledger of one process: plain integers, and no await between looking and taking."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence

from gateway.core.counters import Ask, Describe, Granted, Short, Spent, Wish
from gateway.core.money import MILLION, part

REMEMBERED = 5_000  # settled attempts, so that none is reserved twice; settling twice finds no hold anyway
DOUBTS_REMEMBERED = 10_000  # for a late answer; without one the doubt stays charged
DOUBT_SECONDS = 90.0  # a late answer comes within a minute


class Bucket:
    """What one subject spent in one period, and what is held of it, in its unit."""

    __slots__ = ("doubt", "held", "spent")

    def __init__(self, spent: int = 0, doubt: int = 0) -> None:
        self.spent, self.doubt, self.held = spent, doubt, 0


class Hold:
    """What one attempt holds: (bucket's name, bucket, amount) each. `settled`, at `at`, while the charge is in doubt."""

    __slots__ = ("at", "parts", "settled")

    def __init__(self, parts: list[tuple[str, Bucket, int]]) -> None:
        self.parts = parts
        self.settled: Spent | None = None
        self.at = 0.0


class MemoryLedger:
    """Buckets by name. What was spent before this process began is put in with `load`."""

    def __init__(self) -> None:
        self.buckets: dict[str, Bucket] = {}
        self.opened: set[tuple[str, str, str]] = set()  # (workspace, of, per) that `load` has filled
        self.holds: dict[str, Hold] = {}
        # Ordered ones: a plain dict passes by whatever was deleted at its front to find its oldest.
        self._doubtful: OrderedDict[str, Hold] = OrderedDict()
        self._settled: OrderedDict[str, None] = OrderedDict()
        self._waiting: set[asyncio.Future[None]] = set()

    async def reserve(self, attempt: str, asks: Sequence[Ask], wish: Wish, describe: Describe) -> Granted | Short:
        if attempt in self.holds or attempt in self._settled or attempt in self._doubtful:
            raise ValueError(f"attempt {attempt} has been reserved before")
        buckets = self.buckets
        found: list[tuple[Ask, Bucket]] = []
        output, whole = wish.most, wish.share == 1
        for index, ask in enumerate(asks):
            bucket = buckets.get(ask.bucket)
            if bucket is None:
                bucket = buckets[ask.bucket] = Bucket()
            found.append((ask, bucket))
            if ask.cap is not None:
                free = ask.cap - bucket.spent - bucket.held
                if whole and ask.base - (-output * ask.rate // MILLION) <= free:
                    continue
                fits = affordable(free, ask, wish)
                if fits < wish.least:
                    needed = ask.base + part(wish.least, ask.rate)
                    return Short(index, bucket.spent, bucket.held, needed)
                output = min(output, fits)
        parts: list[tuple[str, Bucket, int]] = []
        left: list[int | None] = []
        for ask, bucket in found:
            amount = ask.base - (-output * ask.rate // MILLION)
            bucket.held += amount
            parts.append((ask.bucket, bucket, amount))
            left.append(None if ask.cap is None else ask.cap - bucket.spent - bucket.held)
        self.holds[attempt] = Hold(parts)
        return Granted(output, tuple(left))

    async def settle(self, attempt: str, spent: Spent) -> None:
        self._settle(attempt, spent)

    def _settle(self, attempt: str, spent: Spent) -> None:
        hold = self.holds.pop(attempt, None)
        if hold is not None:
            for name, bucket, amount in hold.parts:
                bucket.held -= amount
                charged = spent.tokens if ":tokens:" in name else spent.nanos
                bucket.spent += charged
                if spent.in_doubt:
                    bucket.doubt += charged
        elif (hold := self._doubtful.pop(attempt, None)) is not None and hold.settled is not None:
            for name, bucket, _ in hold.parts:  # a late answer replaces what was charged in doubt, never adds to it
                charge(bucket, name, hold.settled, sign=-1)
                charge(bucket, name, spent)
        else:
            return
        if spent.in_doubt:
            hold.settled, hold.at = spent, time.monotonic()
            self._doubtful[attempt] = hold
            self._forget_doubts(hold.at - DOUBT_SECONDS)
        else:
            self._settled[attempt] = None
            if len(self._settled) > REMEMBERED:
                self._settled.popitem(last=False)
        self._wake()

    def _forget_doubts(self, before: float) -> None:
        """Forget those that are too old, and the oldest where there are too many."""
        while len(self._doubtful) > DOUBTS_REMEMBERED or self._doubtful[next(iter(self._doubtful))].at < before:
            self._doubtful.popitem(last=False)

    async def roll(
        self, settled: tuple[str, Spent], attempt: str, asks: Sequence[Ask], wish: Wish, describe: Describe
    ) -> Granted | Short:
        self._settle(*settled)
        return await self.reserve(attempt, asks, wish, describe)

    async def freed(self, timeout_s: float) -> None:
        waiter = asyncio.get_running_loop().create_future()
        timer = asyncio.get_running_loop().call_later(timeout_s, resolve, waiter)
        self._waiting.add(waiter)
        try:
            await waiter
        finally:
            timer.cancel()
            self._waiting.discard(waiter)

    def _wake(self) -> None:
        if self._waiting:
            for waiter in self._waiting:
                resolve(waiter)
            self._waiting.clear()

    def load(self, sums: Mapping[str, tuple[int, int]]) -> None:
        """Put in what was spent, and how much of it in doubt, by bucket, where less is known. From any thread."""
        for name, (spent, doubt) in sums.items():
            bucket = self.buckets.setdefault(name, Bucket())
            if spent > bucket.spent:
                bucket.spent, bucket.doubt = spent, max(doubt, bucket.doubt)

    def lower(self, number: int, changes: Mapping[str, tuple[int, int]]) -> None:
        """Bring down what was spent by (amount, but not below) where calls were priced anew. From any thread."""
        for name, (amount, least) in changes.items():
            if (bucket := self.buckets.get(name)) is not None:
                bucket.spent -= max(0, min(amount, bucket.spent - least))

    def sums(self) -> dict[str, tuple[int, int, int]]:
        """(spent, held, in doubt) of every bucket. From any thread."""
        return {name: (bucket.spent, bucket.held, bucket.doubt) for name, bucket in self.buckets.copy().items()}

    def forget(self, names: Iterable[str]) -> None:
        """Drop buckets of periods that are over, unless something is still held of them."""
        for name in names:
            bucket = self.buckets.get(name)
            if bucket is not None and bucket.held == 0:
                del self.buckets[name]


def affordable(free: int, ask: Ask, wish: Wish) -> int:
    """The most output that this much pays for, at most what is wished; -1 when it does not even pay the rest."""
    rest = free - ask.base
    if rest < 0:
        return -1
    if ask.rate == 0:
        return wish.most
    fits = rest * MILLION // ask.rate
    if fits >= wish.most and wish.share == 1:
        return wish.most
    shared = rest // wish.share * MILLION // ask.rate
    return min(wish.most, fits, max(shared, wish.least))


def charge(bucket: Bucket, name: str, spent: Spent, sign: int = 1) -> None:
    """Add what was spent to a bucket, in the bucket's unit; with sign -1, take it out again."""
    amount = sign * (spent.tokens if ":tokens:" in name else spent.nanos)
    bucket.spent += amount
    if spent.in_doubt:
        bucket.doubt += amount


def resolve(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
