"""Slices: calls that need not ask Redis, and what becomes of the money that is held ahead for them."""

import asyncio
import json
import random
import time
from contextlib import asynccontextmanager

import pytest

from budgets.ledger import slices
from budgets.ledger.keeper import Keeper
from budgets.ledger.redis import LUA, RedisLedger
from gateway.core.counters import Ask, Granted, Short, Spent, StoreUnavailable, Wish
from gateway.counters.batch import LIMITS, RedisBatch, script_of

pytestmark = pytest.mark.services
SCRIPT = script_of(LIMITS, LUA)
CAP = 1_000_000
KEY = "{1}:key:month:4000000000:usd:7"
TOKENS = "{1}:key:month:4000000000:tokens:7"
NOTE = json.dumps({"at": 1.0, "base": 100, "rate": 0, "input": 100})


class Worker:
    """A worker as a process would be, in this one, on counters that nobody makes again."""

    def __init__(self, server, name):
        self.batch = RedisBatch(server.url, SCRIPT, timeout_s=30.0)  # a busy machine is not an outage
        self.ledger = RedisLedger(self.batch, name)
        self.batch.heard, self.batch.restarted = self.ledger.heard, self.ledger.restarted
        self.batch.gathering = self.ledger.slices.tell
        self.keeper = Keeper(self.ledger, server.url, SCRIPT, lambda: self.batch.loop)
        self.keeper.enter("e1")
        self.keeper.beat()

    async def sums(self, *names):
        return [tuple(each) for each in await self.batch.run(["sums", "e1", list(names)])]


@asynccontextmanager
async def workers(server, count=1):
    server.client.set("tg:epoch", "e1")
    running = [Worker(server, f"w{number}") for number in range(count)]
    try:
        yield running
    finally:
        for each in running:
            each.ledger.slices.leave()
            await each.batch.close()
            each.keeper.store.client.close()


class Clock:
    """Stands still, unless a test moves it or lets it run."""

    now = 1000.0
    runs = False

    def __call__(self):
        return time.monotonic() if self.runs else self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    stopped = Clock()
    for module in ("slices", "keeper"):
        monkeypatch.setattr(f"budgets.ledger.{module}.clock", stopped)
    return stopped


@pytest.fixture
def trips(monkeypatch):
    """The script calls that were sent."""
    sent = []
    call = RedisBatch._call

    async def counting(batch, payload):
        sent.append(payload)
        return await call(batch, payload)

    monkeypatch.setattr(RedisBatch, "_call", counting)
    return sent


async def take(worker, number, amount=100, cap=CAP):
    asks = [Ask(KEY, amount, 0, cap), Ask(TOKENS, amount, 0, None)]
    return await worker.ledger.reserve(f"{worker.ledger.worker}.{number}", asks, Wish(0, 0), lambda: NOTE)


async def give(worker, number, spent):
    await worker.ledger.settle(f"{worker.ledger.worker}.{number}", spent)


async def until(happened):
    for _ in range(1000):
        if happened():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen")


async def sliced(worker, first=0):
    """Calls until the worker has a slice; it is returned, and how many calls there were."""
    number = first
    while not (found := [each for each in worker.ledger.slices.live.values() if not each.is_ending]):
        assert isinstance(await take(worker, number), Granted)
        await give(worker, number, Spent(10, 10))
        number += 1
        await asyncio.sleep(0.01)
    return found[0], number


async def told(worker):
    """Until Redis knows all that was drawn here."""
    worker.ledger.slices.tell()
    await until(lambda: not any(each.unconfirmed for each in worker.ledger.slices.live.values()))


async def quiet(worker, *names):
    """The sums of these buckets once no slice is left."""
    for flow in list(worker.ledger.slices.flows.values()):
        worker.ledger.slices._end(flow)
    worker.ledger.slices.tell()
    await until(lambda: not worker.ledger.slices.live)
    return await worker.sums(*names)


async def test_calls_that_draw_from_a_slice_do_not_ask_redis_and_are_counted_as_all_others(own_redis, trips):
    async with workers(own_redis) as (one,):
        piece, number = await sliced(one)
        before, spent = len(trips), 10 * number
        rest = CAP - spent - 90  # when the slice was asked for, the call before still held its 100
        for each in range(number, number + 4):
            granted = await take(one, each)
            assert granted == Granted(0, (rest - 100 * (each - number + 1), None))
        assert len(trips) == before, "nobody waited for Redis"
        await told(one)
        left = (piece.nanos, piece.tokens)
        assert await one.sums(KEY, TOKENS) == [(spent, 400 + left[0], 0), (spent, 400 + left[1], 0)]
        assert one.ledger.held() == {KEY: 400 + left[0], TOKENS: 400 + left[1]}
        for each in range(number, number + 4):
            await give(one, each, Spent(30, 20))
            await give(one, each, Spent(30, 20))
        assert await quiet(one, KEY, TOKENS) == [(spent + 120, 0, 0), (spent + 80, 0, 0)]


async def test_what_was_settled_before_redis_heard_of_it_takes_only_what_it_cost(own_redis, monkeypatch):
    monkeypatch.setattr(slices, "TELL_SECONDS", 600.0)
    async with workers(own_redis) as (one,):
        piece, number = await sliced(one)
        full, spent = (piece.nanos, piece.tokens), 10 * number
        await take(one, number)
        await give(one, number, Spent(30, 20))
        assert (piece.nanos, piece.tokens) == (full[0] - 30, full[1] - 20)
        await take(one, number + 1)  # sent to nobody, or looked at only
        await give(one, number + 1, Spent(0, 0))
        assert list(piece.unconfirmed) == [f"w0.{number}"]
        assert await quiet(one, KEY, TOKENS) == [(spent + 30, 0, 0), (spent + 20, 0, 0)]


@pytest.mark.parametrize("settled", ["before it is told again", "afterwards", "in doubt"])
async def test_an_answer_that_is_lost_takes_nothing_twice(own_redis, settled, monkeypatch):
    async with workers(own_redis) as (one,):
        _, number = await sliced(one)
        spent = 10 * number
        await take(one, number)
        call = RedisBatch._call

        async def unheard(batch, payload):
            await call(batch, payload)
            raise OSError("the answer is lost")

        monkeypatch.setattr(RedisBatch, "_call", unheard)
        one.ledger.slices.tell()
        await until(lambda: one.ledger.slices._is_away)
        monkeypatch.setattr(RedisBatch, "_call", call)
        outcome = Spent(100, 100, in_doubt=True) if settled == "in doubt" else Spent(30, 20)
        if settled != "afterwards":
            await give(one, number, outcome)
        one.ledger.pay()
        await told(one)
        if settled == "afterwards":
            await give(one, number, outcome)
        doubt = 100 if settled == "in doubt" else 0
        assert await quiet(one, KEY, TOKENS) == [
            (spent + outcome.nanos, 0, doubt),
            (spent + outcome.tokens, 0, doubt),
        ]


async def test_a_slice_that_nobody_draws_from_is_given_back(own_redis, clock):
    async with workers(own_redis) as (one,):
        _, number = await sliced(one)
        clock.now += 0.6
        await until(lambda: not one.ledger.slices.live)
        assert await one.sums(KEY) == [(10 * number, 0, 0)]


async def test_near_the_cap_nothing_is_held_ahead(own_redis):
    async with workers(own_redis) as (one,):
        for number in range(30):
            assert isinstance(await take(one, number, cap=slices.ROOMY * 100), Granted)
        assert one.ledger.slices.live == {}
        assert one.ledger.slices.flows == {}


async def test_a_refused_call_finds_what_was_held_ahead_for_others_here(own_redis):
    async with workers(own_redis) as (one,):
        piece, number = await sliced(one)
        rest = CAP - 10 * number
        refused = await take(one, number, amount=rest)
        assert refused == Short(0, 10 * number, piece.nanos, rest)
        await until(lambda: not one.ledger.slices.live)
        assert isinstance(await take(one, number, amount=rest), Granted)


async def test_slices_are_a_small_part_of_what_is_free_however_many_want_some(own_redis):
    async with workers(own_redis, 3) as running:
        worker = running[0]
        asks = [[KEY, CAP, 0, 0]]
        granted = []
        for number in range(30):
            operation = ["slice", worker.ledger.epoch, "w", f"s{number}", asks, [CAP, 0], [1, 0], NOTE, slices.SHARES]
            granted.append((await worker.batch.run(operation))[:2])
        amounts = [each[1] for each in granted if each[0] == 1]
        assert amounts[0] == CAP // 100
        assert CAP // 12 <= sum(amounts) <= CAP // 10
        assert granted[-1] == [0]


async def test_calls_under_another_cap_do_not_draw_from_it(own_redis):
    async with workers(own_redis) as (one,):
        piece, number = await sliced(one)
        full = piece.nanos
        assert await take(one, number, cap=CAP // 2) == Granted(0, (CAP // 2 - 10 * number - full - 100, None))
        assert piece.nanos == full


async def test_a_worker_whose_lease_is_over_draws_no_more_from_what_it_had(own_redis, clock, monkeypatch):
    for name in ("IDLE_SECONDS", "RENEW_SECONDS", "USABLE_SECONDS"):
        monkeypatch.setattr(slices, name, 600.0)
    async with workers(own_redis) as (one,):
        piece, number = await sliced(one)
        full = piece.nanos
        clock.now += 19
        assert isinstance(await take(one, number), Granted)
        one.keeper.beat()
        assert isinstance(await take(one, number + 1), Granted)
        assert piece.nanos == full, "both were asked of Redis, also under the new lease"


async def test_a_worker_that_stops_leaves_no_slice_behind_and_all_that_it_drew(own_redis):
    async with workers(own_redis, 2) as (one, two):
        _, number = await sliced(one)
        await take(one, number)
        await take(one, number + 1)
        await give(one, number + 1, Spent(30, 20))
        await asyncio.to_thread(one.keeper.stop)
        assert await two.sums(KEY) == [(10 * number + 30, 100, 0)]
        assert own_redis.client.keys("tg:*:swept") == []


async def test_what_costs_nothing_and_what_buckets_count_differently_is_not_drawn(own_redis):
    async with workers(own_redis) as (one,):
        for number in range(8):
            free = [Ask(KEY, 0, 0, CAP)]
            await one.ledger.reserve(f"free{number}", free, Wish(0, 0), lambda: NOTE)
            mixed = [Ask(KEY, 100, 0, CAP), Ask(KEY.replace("key", "team"), 90, 0, CAP)]
            await one.ledger.reserve(f"mixed{number}", mixed, Wish(0, 0), lambda: NOTE)
        assert one.ledger.slices.flows == {}


async def test_a_slice_is_renewed_while_calls_go_on_and_follows_their_number(own_redis, clock):
    async with workers(own_redis) as (one,):
        piece, number = await sliced(one)
        assert piece.first == (8 * 100, 8 * 100)
        for each in range(number, number + 12):
            clock.now += 0.2
            await take(one, each)
            await give(one, each, Spent(10, 10))
            await told(one)
        await until(lambda: any(each is not piece for each in one.ledger.slices.live.values()))
        await until(lambda: piece.name not in one.ledger.slices.live)
        (fresh,) = [each for each in one.ledger.slices.live.values() if not each.is_ending]
        assert fresh is not piece
        assert 8 * 100 <= fresh.first[0] <= 10 * 100, "five calls a second, for two seconds"


async def test_a_slice_that_is_used_up_to_the_last_is_closed_and_a_call_that_costs_nothing_settled(own_redis):
    async with workers(own_redis) as (one,):
        piece, number = await sliced(one)
        one.ledger.slices.flows[next(iter(one.ledger.slices.flows))].not_before = 2000.0
        for each in range(number, number + 8):
            await take(one, each)
        await told(one)
        assert (piece.nanos, piece.tokens) == (0, 0)
        assert await quiet(one, KEY, TOKENS) == [(10 * number, 800, 0), (10 * number, 800, 0)]
        for each in range(number, number + 8):
            await give(one, each, Spent(0, 0))
        await take(one, 100, amount=0)
        await give(one, 100, Spent(0, 0))
        await until(lambda: one.batch._sending.done())
        assert await one.sums(KEY, TOKENS) == [(10 * number, 0, 0), (10 * number, 0, 0)]
        assert own_redis.client.hgetall("tg:e1:h:w0") == {}


async def test_where_it_is_turned_off_every_call_asks_redis(own_redis, trips):
    async with workers(own_redis) as (one,):
        one.ledger.slices.is_on = False
        for number in range(8):
            await take(one, number)
        assert (len(trips), one.ledger.slices.flows) == (8, {})


async def test_a_store_that_is_away_is_not_asked_for_slices(own_redis):
    async with workers(own_redis) as (one,):
        one.ledger.is_fenced = True
        with pytest.raises(StoreUnavailable):
            await take(one, 0)
        assert one.ledger.slices.live == {}


async def test_workers_that_compete_for_a_budget_spend_all_of_it_and_no_more(own_redis, clock):
    clock.runs = True
    cap, most, cost = 120_000, 100, 30
    chance = random.Random(5)
    real = drawn = 0

    async def caller(worker, name):
        """Call after call, until the budget is spent; who is refused for what others hold looks again."""
        nonlocal real, drawn
        asks, number = [Ask(KEY, most, 0, cap), Ask(TOKENS, most, 0, None)], 0
        while True:
            number += 1
            answer = await worker.ledger.reserve(f"{name}.{number}", asks, Wish(0, 0), lambda: NOTE)
            if isinstance(answer, Short):
                if answer.spent + most > cap:
                    return
                await worker.ledger.freed(0.05)
                continue
            drawn += worker.ledger.open[f"{name}.{number}"].draw is not None
            real += cost  # from here on it may have been sent
            assert real <= cap
            await asyncio.sleep(chance.choice((0, 0.001, 0.03)))
            await worker.ledger.settle(f"{name}.{number}", Spent(cost, cost))

    async with workers(own_redis, 3) as running:
        for each in running:
            each.ledger.slices.lease_until = time.monotonic() + 600
        await asyncio.gather(*(caller(each, f"{each.ledger.worker}.{n}") for each in running for n in range(8)))
        for each in running:
            await quiet(each)
        assert await running[0].sums(KEY) == [(real, 0, 0)]
    assert cap - most < real <= cap
    assert drawn > real // cost // 4, "a good part of them did not ask Redis"
