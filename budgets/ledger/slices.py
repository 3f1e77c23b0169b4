"""Escrow: money that a worker holds ahead, so that calls need not wait for Redis, nor end with it.

A slice is one hold in Redis, for all calls that ask the same buckets under the same caps. While it lasts, such calls
draw from it at once; Redis is told of what was drawn with the next script call, a moment later at most, and makes a hold
of its own of each draw. So a slice is in `held` before anything is drawn from it, what is drawn is in `held` all the
time, and once a draw is told everything else (settling, sweeping, rebuilding) is as for any other hold.

When     a tuple of buckets sees some calls a second and all its caps have room for hundreds of them. Near a cap there
         are none: a slice is at most 1 % of what is free, all slices of a bucket together at most 10 %.
How much what two seconds of such calls may cost. Renewed each second, given back when nothing is drawn for half a
         second, or when a call is refused by one of its buckets: so what waits for money soon has it.
Told     each draw by its attempt's id, which Redis remembers as long as the slice is there: telling it again takes
         nothing again. What is not confirmed is told again, with the settlement that came meanwhile. A draw that was
         settled before it was told takes only what it cost. A slice is closed when all its draws are confirmed.
A dead worker's  slice is charged in full and in doubt by the sweeper, with a line; what was drawn and told has doubts
         of its own. Its journal books what was drawn and not told; whoever replays it has the proof of death, and
         books the slice's line back to nothing (keeper.py). A counter stays ahead by it until the bucket is quiet.
A worker that slept  beyond its lease draws no more from what it had: it knows its lease, and each slice's time, by a
         clock that goes on in its sleep. What it drew before comes out of what the swept slice was charged in doubt,
         and when it closes the slice, the rest of that doubt is taken back.
Redis away, or lost: drawing goes on, until the slice is empty, ten seconds old, or the lease is over; then calls are
         refused. When the counters are made again a worker puts down what was drawn, as its holds, and what is left of
         its slices is free. A worker that can't be reached is charged what it last told that it held, slices included.
A period's end, another cap: calls then ask other buckets or caps, so nobody draws from the old slice: it is given back.
"""

import asyncio
import logging
from collections.abc import Sequence
from itertools import count
from typing import TYPE_CHECKING, Any

from budgets.ledger.parts import Draw, Flow, Key, Open, Part, Slice, clock, line_of, most_of, of_bucket
from gateway.core.counters import Ask, Describe, Granted, Spent, Wish

if TYPE_CHECKING:
    from budgets.ledger.redis import RedisLedger

log = logging.getLogger(__name__)

LEAST_CALLS = 4  # in about a second, before there is a slice; and it is for so many at least
SHARES = (100, 10)  # a slice is no more than 1 % of what is free, all of a bucket's no more than 10 %
ROOMY = LEAST_CALLS * SHARES[0]  # so many calls must fit into what is left
SECONDS_AHEAD = 2
RENEW_SECONDS = 1.0
IDLE_SECONDS = 0.5
TURN_SECONDS = 0.25
TELL_SECONDS = 0.02  # what was drawn waits so long for another script call to go along with
USABLE_SECONDS = 10.0  # well within a lease
AGAIN_SECONDS = 1.0  # after a refusal
FORGET_SECONDS = 10.0
ENDED_SECONDS = 600.0
EXACT = 2**53


class Slices:
    """The slices of one worker. On the ledger's event loop, except where it says otherwise.

    lease_until  when this worker's lease ends, by `clock`; kept by the keeper
    sound_since  what was asked for before was held under a lease that ended
    ended        slices that may have been swept, and booked in doubt, though their owner lives: for the keeper
    """

    def __init__(self, ledger: "RedisLedger") -> None:
        self.ledger = ledger
        self.is_on = True
        self.lease_until = self.sound_since = 0.0
        self.flows: dict[Key, Flow] = {}
        self.live: dict[str, Slice] = {}
        self.pending: dict[str, Draw] = {}
        self.ended: dict[str, float] = {}
        self.prefix = f"slice.{ledger.owner}."
        self._is_away = False  # the store did not take something; the keeper says when to try again
        self._numbers = count(1)
        self._telling: asyncio.TimerHandle | None = None
        self._turning: asyncio.TimerHandle | None = None

    # --- Drawing --------------------------------------------------------------------------------------------------

    def draw(self, attempt: str, asks: Sequence[Ask], wish: Wish, describe: Describe) -> Granted | None:
        """All that is wished, from this moment on, if there is a slice with so much in it."""
        flow = self.flows.get(tuple([(ask.bucket, ask.cap) for ask in asks]))
        if flow is None or (source := flow.slice) is None:
            return None
        now = clock()
        if now >= min(self.lease_until, source.opened + USABLE_SECONDS) or source.opened < self.sound_since:
            return None
        amounts = most_of(asks, wish.most)
        if amounts is None or amounts[0] > source.nanos or amounts[1] > source.tokens:
            self._look_ahead(flow, now)
            return None
        source.nanos -= amounts[0]
        source.tokens -= amounts[1]
        source.drawn_at = now
        flow.count(now, *amounts)
        drawn = source.unconfirmed[attempt] = Draw(source, attempt, amounts, wish.most, describe())
        flow.note = drawn.note
        parts: list[Part] = [(bucket, amounts[counts_tokens], counts_tokens) for bucket, counts_tokens in source.parts]
        self.ledger.open[attempt] = Open(parts, wish.most, drawn.note, drawn)
        self.pending[attempt] = drawn
        self._tell_soon()
        self._look_ahead(flow, now)
        rest = (source.nanos + source.back[0], source.tokens + source.back[1])
        left = [
            None if known is None else known + rest[counts_tokens]
            for known, (_, counts_tokens) in zip(source.left, source.parts, strict=True)
        ]
        return Granted(wish.most, tuple(left))

    def settle(self, drawn: Draw, spent: Spent) -> bool:
        """Settle a draw that Redis has not confirmed. False where it has: then it is a hold as any other.

        What Redis was not told of takes no more from the slice than it cost.
        """
        source, nanos, tokens = drawn.slice, drawn.nanos, drawn.tokens
        unneeded = (nanos - spent.nanos if nanos else 0, tokens - spent.tokens if tokens else 0)
        if drawn.is_told or min(unneeded) < 0:
            source.back = (source.back[0] + unneeded[0], source.back[1] + unneeded[1])
        else:
            source.nanos, source.tokens = source.nanos + unneeded[0], source.tokens + unneeded[1]
            drawn.nanos, drawn.tokens = nanos - unneeded[0], tokens - unneeded[1]
        if drawn.is_confirmed:
            return False
        drawn.spent = spent
        if not drawn.is_told and spent.nanos == spent.tokens == 0:
            self.pending.pop(drawn.attempt, None)
            self._confirm(drawn)
        else:
            self.pending[drawn.attempt] = drawn
            self._tell_soon()
        return True

    def give_back(self, bucket: str) -> None:
        """A call was refused by this bucket: nothing of it is held ahead here for a while."""
        not_before = clock() + AGAIN_SECONDS
        for flow in self.flows.values():
            if any(name == bucket for name, _ in flow.key):
                flow.not_before = not_before
                self._end(flow)

    # --- Telling Redis --------------------------------------------------------------------------------------------

    def _tell_soon(self) -> None:
        if self._telling is None and not self._is_away:
            self._telling = asyncio.get_running_loop().call_later(TELL_SECONDS, self.tell)

    def tell(self) -> None:
        """Tell Redis of what was drawn since. Called before each script call, so mostly it goes along with others."""
        if self._telling is not None:
            self._telling.cancel()
            self._telling = None
        ledger = self.ledger
        if not self.pending or self._is_away or ledger.is_fenced:
            return
        draws = list(self.pending.values())
        self.pending.clear()
        told = [(each, each.spent) for each in draws]
        for each in draws:
            each.is_told = True
        operation = ["draws", ledger.epoch, ledger.worker, [each.as_told() for each in draws]]
        ledger.batch.post(operation, lambda: self._not_told(told), lambda answers: self._told(told, answers))

    def _not_told(self, told: list[tuple[Draw, Spent | None]]) -> None:
        """Redis may have heard of it or not."""
        self._is_away = True
        for drawn, _ in told:
            if drawn.slice.name in self.live:  # else the counters were made again meanwhile
                self.pending.setdefault(drawn.attempt, drawn)

    def _told(self, told: list[tuple[Draw, Spent | None]], answers: Any) -> None:
        if answers == -1:
            self.ledger.is_fenced = True
            self._not_told(told)
            return
        for (drawn, spent), answer in zip(told, answers, strict=True):
            if drawn.slice.name not in self.live:
                continue
            if answer == 0:
                log.error("Redis does not know the slice that %s was drawn from", drawn.attempt)
                self.ledger.is_fenced = True
                self._not_told([(drawn, spent)])
                continue
            if answer == 2:
                self._end_slice(drawn.slice)
            if drawn.spent is None or spent is not None:  # else it was settled meanwhile, which is told next
                self._confirm(drawn)

    def _confirm(self, drawn: Draw) -> None:
        drawn.is_confirmed = True
        source = drawn.slice
        source.unconfirmed.pop(drawn.attempt, None)
        if source.is_ending and not source.unconfirmed:
            self._close(source)

    def retry(self) -> None:
        """Redis answers: tell it what it did not take. Called by the keeper."""
        self._is_away = False
        self.tell()
        for each in list(self.live.values()):
            if each.is_ending and not each.unconfirmed:
                self._close(each)

    # --- Slices begin and end -----------------------------------------------------------------------------------

    def consider(self, asks: Sequence[Ask], granted: Granted, note: str) -> None:
        """A call was let in by Redis: perhaps the next ones need not ask."""
        amounts = most_of(asks, granted.output)
        if amounts is None or amounts == (0, 0) or not self.is_on:
            return
        for ask, left in zip(asks, granted.left, strict=True):
            if left is not None and left < ROOMY * amounts[of_bucket(ask.bucket)[0]]:
                return
        key = tuple([(ask.bucket, ask.cap) for ask in asks])
        flow = self.flows.get(key)
        if flow is None:
            flow = self.flows[key] = Flow(key)
        now = clock()
        flow.count(now, *amounts)
        flow.note = note
        self._look_ahead(flow, now)
        self._turn_later()

    def _look_ahead(self, flow: Flow, now: float) -> None:
        """Ask for the next slice when this one is half empty."""
        source = flow.slice
        if source is None or 2 * source.nanos < source.first[0] or 2 * source.tokens < source.first[1]:
            self._ask(flow, now)

    def _ask(self, flow: Flow, now: float) -> None:
        ledger = self.ledger
        if now < flow.not_before or flow.calls < LEAST_CALLS or self._is_away or ledger.is_fenced or not self.is_on:
            return
        flow.not_before = now + AGAIN_SECONDS  # until it is answered
        name, epoch, calls = f"{self.prefix}{next(self._numbers)}", ledger.epoch, int(flow.calls)
        asks = [(bucket, -1 if cap is None else min(cap, EXACT - 1), *of_bucket(bucket)) for bucket, cap in flow.key]
        amounts = [SECONDS_AHEAD * flow.nanos, SECONDS_AHEAD * flow.tokens]
        least = [LEAST_CALLS * flow.nanos // calls, LEAST_CALLS * flow.tokens // calls]
        line = line_of(flow.key, flow.note)
        operation = ["slice", epoch, ledger.worker, name, asks, amounts, least, line, SHARES]

        def opened(answer: list[Any]) -> None:
            if answer[0] == 1 and ledger.epoch == epoch and not ledger.is_fenced:
                self._begin(flow, Slice(name, flow.key, answer, now))
            elif answer[0] == -1:
                ledger.is_fenced = True
            elif answer[0] == 0:
                flow.not_before = clock() + AGAIN_SECONDS
                self._end(flow)

        def failed() -> None:
            self._is_away = True
            if ledger.epoch == epoch:  # it may be there or not
                unknown = Slice(name, flow.key, (1, 0, 0, [0] * len(flow.key)), now)
                unknown.is_ending = True
                self.live[name] = unknown

        ledger.batch.post(operation, failed, opened)

    def _begin(self, flow: Flow, fresh: Slice) -> None:
        self._end(flow)
        self.live[fresh.name] = fresh
        flow.slice, flow.not_before = fresh, 0.0
        if not self.is_on:
            self._end(flow)
        self._turn_later()

    def _end(self, flow: Flow) -> None:
        source, flow.slice = flow.slice, None
        if source is not None:
            self._end_slice(source)

    def _end_slice(self, source: Slice) -> None:
        """Nothing more is drawn from it; closed as soon as all that was drawn is confirmed."""
        if source.is_ending:
            return
        source.is_ending = True
        for flow in self.flows.values():
            if flow.slice is source:
                flow.slice = None
        if not source.unconfirmed:
            self._close(source)

    def _close(self, source: Slice) -> None:
        ledger = self.ledger
        if ledger.is_fenced or self._is_away:
            return  # the keeper comes back to it

        def closed(answer: int) -> None:
            if answer == 2:
                self.ended[source.name] = clock()
            if answer != -1:
                self.live.pop(source.name, None)

        def failed() -> None:
            self._is_away = True

        ledger.batch.post(["close", ledger.epoch, ledger.worker, source.name], failed, closed)

    # --- A look at them now and then ----------------------------------------------------------------------------

    def _turn_later(self) -> None:
        if self._turning is None:
            self._turning = asyncio.get_running_loop().call_later(TURN_SECONDS, self._turn)

    def _turn(self) -> None:
        """Give back what nobody draws from, renew what is old, forget who calls no more."""
        self._turning = None
        now = clock()
        for flow in list(self.flows.values()):
            source = flow.slice
            if source is None:
                if now - flow.at > FORGET_SECONDS:
                    del self.flows[flow.key]
            elif self._is_away or self.ledger.is_fenced:
                continue  # there is no other to be had
            elif now - source.drawn_at > IDLE_SECONDS:
                self._end(flow)
            elif now - source.opened > RENEW_SECONDS:
                if now - source.opened > 2 * RENEW_SECONDS:  # its successor does not come
                    self._end(flow)
                self._ask(flow, now)
        if self.flows or self.live:
            self._turn_later()

    def held(self) -> list[Part]:
        """What is left in slices, by bucket. From any thread."""
        found: list[Part] = []
        for each in self.live.copy().values():
            rest = (each.nanos, each.tokens)
            found += [(bucket, rest[counts_tokens], counts_tokens) for bucket, counts_tokens in each.parts]
        return found

    def drop(self) -> None:
        """The counters are being made again: what was drawn is put down as holds, and what is left is free."""
        now = clock()
        self.ended |= dict.fromkeys(self.live, now)
        for hold in self.ledger.open.values():
            hold.draw = None
        self.live.clear()
        self.flows.clear()
        self.pending.clear()
        self._is_away = False

    def to_take_back(self) -> list[str]:
        """Slices that ended here, for as long as others may still book what they swept."""
        now = clock()
        self.ended = {name: at for name, at in self.ended.items() if now - at < ENDED_SECONDS}
        return list(self.ended)

    def leave(self) -> list[list[Any]]:
        """Hold nothing ahead any more. The operations that tell the store so, which the keeper sends."""
        ledger, self.is_on = self.ledger, False
        draws = [drawn for each in self.live.values() for drawn in each.unconfirmed.values()]
        told = ["draws", ledger.epoch, ledger.worker, [each.as_told() for each in draws]]
        closed = [["close", ledger.epoch, ledger.worker, name] for name in self.live]
        self.drop()
        self.ended.clear()
        for timer in (self._telling, self._turning):
            if timer is not None:
                timer.cancel()
        return [told, *closed]
