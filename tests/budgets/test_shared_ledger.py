"""The ledger that workers share: the same promises as in one process, and what becomes of them when Redis is lost."""

import asyncio
import random
from contextlib import asynccontextmanager
from typing import Any

import pytest
from django.db import connections

from budgets.hold import known_inputs
from budgets.ledger.keeper import Keeper
from budgets.ledger.redis import LUA, RedisLedger
from budgets.models import Budget, Entry
from budgets.queries import opening_sums
from budgets.services.spending import book
from budgets.stage import held
from gateway.core.call import Usage
from gateway.core.counters import Ask, Granted, Short, Spent, StoreUnavailable, Wish
from gateway.core.errors import BudgetExceeded, Unavailable
from gateway.counters.batch import LIMITS, TIMEOUT_SECONDS, RedisBatch, script_of
from tenants.models import Workspace
from tests.budgets.sample import MINI, ask, attempt, money, snapshot

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.services]
SCRIPT = script_of(LIMITS, LUA)
USD = "{1}:key:month:4000000000:usd:7"
TOKENS = "{1}:key:month:4000000000:tokens:7"


async def in_thread(work: Any, *arguments: Any) -> Any:
    """Run what waits for the database in a thread, which takes its connection with it when it ends."""

    def run() -> Any:
        try:
            return work(*arguments)
        finally:
            connections.close_all()

    return await asyncio.to_thread(run)


class Worker:
    """A worker as a process would be, in this one."""

    def __init__(self, server, name):
        self.batch = RedisBatch(server.url, SCRIPT, timeout_s=30.0)  # a busy machine is not an outage
        self.ledger = RedisLedger(self.batch, name)
        self.batch.heard, self.batch.restarted = self.ledger.heard, self.ledger.restarted
        self.batch.gathering = self.ledger.slices.tell
        self.keeper = Keeper(self.ledger, server.url, SCRIPT, lambda: self.batch.loop)

    async def turn(self):
        await in_thread(self.keeper.turn)

    async def until_sound(self, epoch):
        """Turn until the counters of another epoch are in force here."""
        for _ in range(100):
            await self.turn()
            if not self.ledger.is_fenced and self.ledger.epoch != epoch:
                return
            await asyncio.sleep(0.01)

    async def sums(self, *names):
        (found,) = await in_thread(self.keeper.store.run, ["sums", self.ledger.epoch, list(names)])
        return [tuple(each) for each in found]


@asynccontextmanager
async def workers(server, count=1):
    running = [Worker(server, f"w{number}") for number in range(count)]
    for each in running:
        await each.turn()
    try:
        yield running
    finally:
        for each in running:
            each.ledger.slices.leave()
            await each.batch.close()
            each.keeper.store.client.close()


async def test_holding_and_settling_count_as_in_one_process(own_redis):
    async with workers(own_redis) as (one,):
        asks = [Ask(USD, 100, 2_000_000, 1000), Ask(TOKENS, 10, 1_000_000, None)]
        granted = await one.ledger.reserve("a.1", asks, Wish(50, 50), lambda: "{}")
        assert granted == Granted(50, (800, None))
        assert await one.sums(USD, TOKENS) == [(0, 200, 0), (0, 60, 0)]
        assert one.ledger.held() == {USD: 200, TOKENS: 60}
        refused = await one.ledger.reserve("b.1", [Ask(USD, 801, 0, 1000)], Wish(0, 0), lambda: "{}")
        assert refused == Short(0, 0, 200, 801)
        await one.ledger.settle("a.1", Spent(150, 40))
        await one.ledger.settle("a.1", Spent(150, 40))
        await one.ledger.reserve("c.1", [Ask(USD, 1, 0, 1000)], Wish(0, 0), lambda: "{}")
        assert await one.sums(USD, TOKENS) == [(150, 1, 0), (40, 0, 0)]


async def test_a_repricing_lowers_the_shared_counters_once_for_all_workers_and_never_below_the_lines(own_redis):
    async with workers(own_redis, 2) as (one, two):
        await in_thread(one.ledger.load, {USD: (500, 0), TOKENS: (40, 0)})
        for each in (one, two, one):
            await in_thread(each.ledger.lower, 7, {USD: (120, 300), "{1}:key:month:1:usd:gone": (5, 0)})
        assert await one.sums(USD, TOKENS) == [(380, 0, 0), (40, 0, 0)]
        await in_thread(two.ledger.lower, 8, {USD: (200, 300)})
        assert await one.sums(USD) == [(300, 0, 0)]


def restart_from_saved(server):
    """Kill Redis and start it again on its port, from the file that was saved before."""
    server.process.kill()
    server.process.wait()
    server.start()


async def test_the_first_answer_of_older_counters_grants_nothing_on_any_worker(own_redis):
    """One worker has seen a later sequence, the other one an earlier: both must notice before they grant."""
    asks = [Ask(USD, 100, 0, 1000)]
    async with workers(own_redis, 2) as (busy, idle):
        await idle.ledger.reserve("i.1", asks, Wish(0, 0), lambda: "{}")
        for number in range(3):
            await busy.ledger.reserve(f"a{number}.1", asks, Wish(0, 0), lambda: "{}")
        await in_thread(own_redis.client.save)
        for number in range(3, 8):
            await busy.ledger.reserve(f"a{number}.1", asks, Wish(0, 0), lambda: "{}")
        await in_thread(restart_from_saved, own_redis)
        for each in (idle, busy):
            for number in range(3):  # the first try only finds that the connection is gone
                with pytest.raises(StoreUnavailable):
                    await each.ledger.reserve(f"late{number}.{each.ledger.worker}", asks, Wish(0, 0), lambda: "{}")
        epoch = busy.ledger.epoch
        await asyncio.gather(busy.until_sound(epoch), idle.until_sound(epoch))
        assert await busy.sums(USD) == [(0, 900, 0)]


async def test_an_answer_that_comes_after_the_holds_were_put_down_grants_nothing(own_redis):
    async with workers(own_redis) as (one,):
        asking = asyncio.ensure_future(one.ledger.reserve("a.1", [Ask(USD, 100, 0, 1000)], Wish(0, 0), lambda: "{}"))
        await asyncio.sleep(0)
        one.ledger.is_fenced = True
        with pytest.raises(StoreUnavailable):
            await asking
        assert one.ledger.open == {}


async def test_a_doubt_is_replaced_by_a_late_answer(own_redis):
    async with workers(own_redis) as (one,):
        await one.ledger.reserve("a.1", [Ask(USD, 100, 0, 1000)], Wish(0, 0), lambda: "{}")
        await one.ledger.settle("a.1", Spent(100, 0, in_doubt=True))
        await one.ledger.settle("a.1", Spent(30, 0))
        await one.ledger.reserve("b.1", [Ask(USD, 1, 0, 1000)], Wish(0, 0), lambda: "{}")
        assert await one.sums(USD) == [(30, 1, 0)]


@pytest.mark.parametrize("seed", range(3))
async def test_three_workers_never_pass_nested_caps_with_random_sizes(own_redis, seed):
    chance = random.Random(seed)
    buckets = [f"{{1}}:{of}:month:4000000000:usd:x" for of in ("workspace", "team", "key", "user", "model")]
    caps = [40_000, 30_000, 25_000, 22_000, 20_000]
    spent = 0

    async def one_call(worker, number):
        nonlocal spent
        most = chance.randint(100, 2000)
        asks = [Ask(name, most, 0, cap) for name, cap in zip(buckets, caps, strict=True)]
        result = await worker.ledger.reserve(f"call{number}.1", asks, Wish(0, 0), lambda: "{}")
        if isinstance(result, Granted):
            await asyncio.sleep(0)
            cost = chance.randint(1, most)
            spent += cost
            assert spent <= 20_000
            await worker.ledger.settle(f"call{number}.1", Spent(cost, 0))

    async with workers(own_redis, 3) as running:
        await asyncio.gather(*(one_call(running[number % 3], number) for number in range(300)))
        for worker in running:
            await worker.turn()
        await asyncio.sleep(0.05)
        assert await running[0].sums(*buckets) == [(spent, 0, 0)] * 5


async def test_three_hundred_calls_over_three_workers_spend_a_cap_for_seventeen_to_the_last(own_redis):
    known_inputs.clear()
    cost = 20 * 150 + 50 * 600
    answered = 0

    async def one(config, number):
        nonlocal answered
        call = ask("Tell me one thing", max_tokens=50)
        call.id = f"seventeen-{number}"
        try:
            async with held(call, config):
                await call.hold.move(MINI)
                await asyncio.sleep(0.002)
                call.attempts.append(attempt(usage=Usage(input=20, output=50)))
                answered += 1
        except BudgetExceeded:
            return

    async with workers(own_redis, 3) as running:
        configs = [snapshot(money("cap", "key", 17 * cost), ledger=each.ledger, wait_s=10.0) for each in running]
        await asyncio.gather(*(one(configs[number % 3], number) for number in range(300)))
        await asyncio.sleep(0.05)
        assert answered == 17
        name = next(hold.parts[0][0] for each in running for _, hold, _ in each.ledger.settled.values())
        assert await running[1].sums(name) == [(17 * cost, 0, 0)]


def line(workspace, attempt_id, nanos, status="exact"):
    return {
        "attempt": attempt_id,
        "at": 1.0,
        "workspace": str(workspace.pk),
        "team": "",
        "key": "7",
        "user": "",
        "model": "m",
        "provider": "p",
        "nanos": nanos,
        "tokens": 5,
        "status": status,
        "price": "",
        "classes": {},
    }


@pytest.fixture
def total():
    """A budget in total of a workspace, and its bucket."""
    workspace = Workspace.objects.create(name="acme")
    Budget.objects.create(workspace=workspace, name="all", of="workspace", per="total", limit_nanos=10_000)
    return workspace, f"{{{workspace.pk}}}:workspace:total:0:usd:{workspace.pk}"


async def hold_until_refused(worker, name):
    """The first operation after the loss may still be answered: it is what the loss is seen by."""
    for number in range(3):
        await worker.ledger.reserve(f"x{number}.1", [Ask(name, 0, 0, 10_000)], Wish(0, 0), lambda: "{}")


async def test_who_looked_before_the_counters_were_made_again_does_not_make_them_once_more(own_redis):
    async with workers(own_redis, 2) as (one, two):
        before = one.ledger.epoch

        async def state_what_is_held():
            while not (coming := two.keeper.store.text("tg:rebuild")):
                await asyncio.sleep(0.01)
            await in_thread(two.keeper.put_down, coming)

        own_redis.client.flushall()
        one.ledger.is_fenced = two.ledger.is_fenced = True
        await asyncio.gather(one.until_sound(before), state_what_is_held())
        await in_thread(two.keeper.recover, "", "")  # what it read before the other one was done
        await two.until_sound(before)
        assert own_redis.client.get("tg:epoch").decode() == one.ledger.epoch == two.ledger.epoch


@pytest.mark.parametrize("loss", ["flushed", "rolled back"])
async def test_lost_counters_are_made_again_from_lines_holds_and_what_was_just_settled(own_redis, total, loss):
    workspace, name = total
    note = '{"base": 70, "rate": 0, "input": 1}'
    async with workers(own_redis, 2) as (one, two):
        for number, worker in enumerate((one, two, one)):
            await worker.ledger.reserve(f"c{number}.1", [Ask(name, 70, 0, 10_000)], Wish(0, 0), lambda: note)
        await one.ledger.settle("c0.1", Spent(60, 5))  # its line is in the database
        await in_thread(book, [line(workspace, "c0.1", 60)])
        await two.ledger.settle("c1.1", Spent(50, 5))  # its line is still in the journal
        await asyncio.sleep(0.05)
        if loss == "flushed":
            own_redis.client.flushall()
        else:
            own_redis.client.set("tg:seq", 1)
        with pytest.raises(StoreUnavailable):
            await hold_until_refused(one, name)
        before = one.ledger.epoch
        await one.ledger.settle("c2.1", Spent(40, 5))  # while nothing counts: it is owed

        await asyncio.gather(one.until_sound(before), two.until_sound(before))

        assert one.ledger.epoch == two.ledger.epoch != before
        await one.turn()
        granted = await one.ledger.reserve("y.1", [Ask(name, 1, 0, 10_000)], Wish(0, 0), lambda: note)
        assert granted == Granted(0, (10_000 - 60 - 50 - 40 - 1,))
        assert await two.sums(name) == [(150, 1, 0)]


async def test_a_worker_that_died_leaves_doubts_that_are_booked_and_charged_in_full(own_redis, total):
    workspace, name = total
    import json

    note = line(workspace, "dead.1", 0, "in_doubt") | {"base": 70, "rate": 0, "input": 12}
    async with workers(own_redis, 2) as (dead, alive):
        await dead.ledger.reserve("dead.1", [Ask(name, 70, 0, 10_000)], Wish(3, 3), lambda: json.dumps(note))
        own_redis.client.zadd("tg:workers", {dead.ledger.worker: 1})
        await alive.turn()
        await in_thread(alive.keeper.sweep)
        assert await alive.sums(name) == [(70, 0, 70)]
        booked = await in_thread(lambda: list(Entry.objects.values_list("attempt", "nanos", "tokens", "status")))
        assert booked == [("dead.1", 70, 15, "in_doubt")]
        await dead.ledger.settle("dead.1", Spent(20, 5))  # it was only asleep
        await asyncio.sleep(0.05)
        assert await alive.sums(name) == [(20, 0, 0)]


async def test_a_doubt_that_the_journal_booked_first_is_not_charged_twice(own_redis, total):
    workspace, name = total
    import json

    note = line(workspace, "dead.1", 0, "in_doubt") | {"base": 70, "rate": 0, "input": 12}
    async with workers(own_redis, 2) as (dead, alive):
        await dead.ledger.reserve("dead.1", [Ask(name, 70, 0, 10_000)], Wish(3, 3), lambda: json.dumps(note))
        await in_thread(book, [line(workspace, "dead.1", 70, "in_doubt")])
        alive.ledger.load(await in_thread(opening_sums, 2.0))
        own_redis.client.zadd("tg:workers", {dead.ledger.worker: 1})
        await in_thread(alive.keeper.sweep)
        assert await alive.sums(name) == [(70, 0, 70)]


async def test_where_the_journal_was_faster_than_the_sweeper_its_line_counts(own_redis, total):
    workspace, name = total
    import json

    note = line(workspace, "dead.1", 0, "in_doubt") | {"base": 70, "rate": 0, "input": 12}
    async with workers(own_redis, 2) as (dead, alive):
        await dead.ledger.reserve("dead.1", [Ask(name, 70, 0, 10_000)], Wish(3, 3), lambda: json.dumps(note))
        await in_thread(book, [line(workspace, "dead.1", 33)])
        own_redis.client.zadd("tg:workers", {dead.ledger.worker: 1})
        await in_thread(alive.keeper.sweep)
        assert await alive.sums(name) == [(33, 0, 0)]
        assert await in_thread(lambda: opening_sums(2.0)[name]) == (33, 0)


async def test_while_redis_hangs_nobody_waits_long_and_afterwards_what_is_owed_is_paid(own_redis):
    async with workers(own_redis) as (one,):
        config = snapshot(money("cap", "key", 10**9), ledger=one.ledger)
        running = ask("Hello", max_tokens=5)
        async with held(running, config):
            await running.hold.move(MINI)
            one.batch.timeout_s = TIMEOUT_SECONDS
            own_redis.pause()
            for _ in range(4):
                with pytest.raises(Unavailable) as refused:
                    async with held(ask("Hello", max_tokens=5), config):
                        raise AssertionError("nothing may be sent")
            assert refused.value.code == "budget_unavailable"
            assert refused.value.headers["retry-after"] == "1"
            running.attempts.append(attempt())
        own_redis.resume()
        name = next(iter(one.ledger.settled.values()))[1].parts[0][0]
        for _ in range(50):
            await one.turn()
            await asyncio.sleep(0.05)
            if await one.sums(name) == [(4500, 0, 0)]:
                break
        assert await one.sums(name) == [(4500, 0, 0)]


async def test_an_open_workspace_goes_on_without_its_budgets_while_redis_is_away(own_redis):
    async with workers(own_redis) as (one,):
        config = snapshot(money("cap", "key", 1), ledger=one.ledger, on_unavailable="open")
        own_redis.stop()
        call = ask("Hello", max_tokens=5)
        async with held(call, config):
            await call.hold.move(MINI)
            call.attempts.append(attempt())
        assert call.cost_nanos == 4500
        own_redis.start()


async def test_a_caller_who_leaves_while_a_hold_is_asked_for_leaves_nothing_held(own_redis):
    async with workers(own_redis) as (one,):
        task = asyncio.create_task(one.ledger.reserve("a.1", [Ask(USD, 100, 0, 1000)], Wish(0, 0), lambda: "{}"))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.sleep(0.1)
        assert await one.sums(USD) == [(0, 0, 0)]
