"""The ledger that several workers share, in Redis: what is asked on the path of a call.

Redis is never the truth, the ledger's lines are. It counts under an epoch; all keys but `tg:epoch` and `tg:workers`
carry it. When the epoch is gone or another, or the sequence of script calls went back, Redis was lost or rolled back:
this worker then asks for no more holds (StoreUnavailable) until keeper.py has had the counters made again; what it held
ahead may be used up meanwhile: see slices.py.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

from budgets.ledger.memory import resolve
from budgets.ledger.parts import Open, ceil_part, of_bucket
from budgets.ledger.slices import Slices
from gateway.core.counters import Ask, Batch, Describe, Granted, Short, Spent, StoreUnavailable, Wish

LUA = Path(__file__).with_name("ledger.lua")
EXACT = 2**53  # Redis's scripts count in doubles
RETRY_SECONDS = 0.02  # how soon a call that waits for others looks again: they may settle on another worker
REMEMBERED_SECONDS = 60.0  # settled attempts, longer than the journal needs to bring their lines into the database


class RedisLedger:
    """One operation for all buckets of an attempt. `batch` sends it with everybody else's of the same turn.

    worker     this process's name, new at each start
    owner      stands for this worker's journal in the names of its slices: see slices.py
    epoch      the epoch under which this worker counts; "" until it knows one
    is_fenced  whether the counters are lost: nothing is held until they are made again
    """

    def __init__(self, batch: Batch, worker: str, journal: str = "") -> None:
        self.batch, self.worker, self.owner = batch, worker, owner_of(journal or worker)
        self.epoch = ""
        self.sequence = 0
        self.is_fenced = True
        self.open: dict[str, Open] = {}
        self.settled: OrderedDict[str, tuple[float, Open, Spent]] = OrderedDict()
        self.owed: dict[str, Spent] = {}  # settlements that the store did not take yet
        self.opened: set[tuple[str, str, str]] = set()
        self.take_over: Callable[[str, Mapping[str, tuple[int, int]]], None] = lambda epoch, sums: None  # the keeper's
        self.correct: Callable[[str, int, Mapping[str, tuple[int, int]]], None] = lambda epoch, number, changes: None
        self._waiting: set[asyncio.Future[None]] = set()
        self.slices = Slices(self)

    def heard(self, sequence: int, epoch: str) -> None:
        """Every answer of the store comes with its sequence and epoch. A step back means that it lost something."""
        if sequence < self.sequence or (self.epoch and epoch != self.epoch):
            self.is_fenced = True
        self.sequence = sequence

    def restarted(self) -> None:
        """Redis runs anew: what it counts may be older than what it answered, so it is made again."""
        self.is_fenced = True

    async def reserve(self, attempt: str, asks: Sequence[Ask], wish: Wish, describe: Describe) -> Granted | Short:
        drawn = self.slices.draw(attempt, asks, wish, describe)
        return drawn if drawn is not None else await self._reserve([], attempt, asks, wish, describe)

    async def roll(
        self, settled: tuple[str, Spent], attempt: str, asks: Sequence[Ask], wish: Wish, describe: Describe
    ) -> Granted | Short:
        before, spent = settled
        hold = self.open.get(before)
        if hold is None or hold.draw is not None or self.is_fenced:
            await self.settle(before, spent)
            return await self.reserve(attempt, asks, wish, describe)
        self._remember(before, spent)
        self.owed[before] = spent  # until the store has answered
        try:
            return await self._reserve([before, *spent], attempt, asks, wish, describe)
        except StoreUnavailable:
            self._settle_again(before)
            raise
        finally:
            if not self.is_fenced:
                self.owed.pop(before, None)

    async def _reserve(
        self, before: list[Any], attempt: str, asks: Sequence[Ask], wish: Wish, describe: Describe
    ) -> Granted | Short:
        if self.is_fenced:
            raise StoreUnavailable("the counters are being made again")
        note = describe()
        asked = [
            (ask.bucket, ask.base, ask.rate, -1 if ask.cap is None else min(ask.cap, EXACT - 1), *of_bucket(ask.bucket))
            for ask in asks
        ]
        epoch = self.epoch
        operation = ["reserve", epoch, self.worker, attempt, asked, wish, note, before]
        # Held here before it is asked: should the answer be lost, it is given back.
        self.open[attempt] = Open([(ask.bucket, 0, of_bucket(ask.bucket)[0]) for ask in asks], 0, note)
        try:
            answer = await self.batch.run(operation)
        except BaseException:  # also a caller who left: whether it was held is not known
            await self.settle(attempt, Spent(0, 0))
            raise
        if answer[0] != -1 and (self.is_fenced or self.epoch != epoch):
            # It was asked of counters that are known by now to be lost, or are put down already: nobody counts it.
            await self.settle(attempt, Spent(0, 0))
            raise StoreUnavailable("the counters are being made again")
        if answer[0] == 1:
            output, left = answer[1], answer[2]
            self._held(attempt, asks, output, note)
            granted = Granted(
                output, tuple(None if ask.cap is None else rest for ask, rest in zip(asks, left, strict=True))
            )
            self.slices.consider(asks, granted, note)
            return granted
        del self.open[attempt]
        if answer[0] == 0:
            self.slices.give_back(asks[answer[1]].bucket)
            return Short(*answer[1:])
        if answer[0] == -2:
            raise ValueError(f"attempt {attempt} has been reserved before")
        self.is_fenced = True
        raise StoreUnavailable("the counters were lost")

    def _held(self, attempt: str, asks: Sequence[Ask], output: int, note: str) -> None:
        parts = [(ask.bucket, ask.base + ceil_part(output, ask.rate), of_bucket(ask.bucket)[0]) for ask in asks]
        self.open[attempt] = Open(parts, output, note)

    async def settle(self, attempt: str, spent: Spent) -> None:
        hold = self.open.get(attempt)
        self._remember(attempt, spent)
        if hold is None or hold.draw is None or not self.slices.settle(hold.draw, spent):
            self.owed[attempt] = spent
            if not self.is_fenced:
                self._settle_again(attempt)
        self._wake()

    def _settle_again(self, attempt: str) -> None:
        """Send a settlement that is owed. Done twice, the store does nothing."""
        spent = self.owed.pop(attempt, None)
        if spent is not None:
            operation = ["settle", self.epoch, self.worker, attempt, *spent]
            self.batch.post(operation, failed=lambda: self.owed.setdefault(attempt, spent) and None)

    def pay(self) -> None:
        """Send every settlement that is owed. Called by the keeper, on the event loop, once the store answers."""
        if not self.is_fenced:
            for attempt in list(self.owed):
                self._settle_again(attempt)
            self.slices.retry()
        now = time.monotonic()
        while self.settled and next(iter(self.settled.values()))[0] < now - REMEMBERED_SECONDS:
            self.settled.popitem(last=False)

    def _remember(self, attempt: str, spent: Spent) -> None:
        hold = self.open.pop(attempt, None)
        if hold is not None:
            hold.note = ""  # is for holds only, and longer than all the rest
            self.settled[attempt] = (time.monotonic(), hold, spent)

    async def freed(self, timeout_s: float) -> None:
        """Wait for a settlement here, or a moment: other workers settle too."""
        loop = asyncio.get_running_loop()
        waiter = loop.create_future()
        timer = loop.call_later(min(timeout_s, RETRY_SECONDS * (1 + len(self._waiting) // 16)), resolve, waiter)
        self._waiting.add(waiter)
        try:
            await waiter
        finally:
            timer.cancel()
            self._waiting.discard(waiter)

    def _wake(self) -> None:
        for waiter in self._waiting:
            resolve(waiter)
        self._waiting.clear()

    def held(self) -> dict[str, int]:
        """What this worker holds now, by bucket, also for calls to come. From any thread."""
        sums: dict[str, int] = {}
        for parts in (*(hold.parts for hold in self.open.copy().values()), self.slices.held()):
            for name, amount, _ in parts:
                sums[name] = sums.get(name, 0) + amount
        return sums

    def load(self, sums: Mapping[str, tuple[int, int]]) -> None:
        """Put sums into the shared counters where they know less. Counters that are being made again take them then."""
        if not self.is_fenced:
            self.take_over(self.epoch, sums)

    def lower(self, number: int, changes: Mapping[str, tuple[int, int]]) -> None:
        """Bring down what was spent by (amount, but not below) where calls were priced anew: once for all workers."""
        if not self.is_fenced:
            self.correct(self.epoch, number, changes)

    def forget(self, names: Iterable[str]) -> None:
        """Nothing to do: the shared counters expire by themselves."""

    def sums(self) -> dict[str, tuple[int, int, int]]:
        """What this worker holds, as (0, held, 0) of each bucket: what was spent is known to the shared counters."""
        return {name: (0, amount, 0) for name, amount in self.held().items()}


def owner_of(journal: str) -> str:
    """A journal's name, short enough to be part of an attempt's."""
    return blake2b(journal.encode(), digest_size=8).hexdigest()
