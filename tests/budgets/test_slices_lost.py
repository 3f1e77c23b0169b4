"""What becomes of money that was held ahead when its worker dies or sleeps, and when Redis is away or forgets."""

import asyncio
import json
import time
from contextlib import suppress

import pytest
from redis.exceptions import RedisError

from budgets.hold import known_inputs
from budgets.ledger import slices
from budgets.ledger.redis import owner_of
from budgets.ledger.untold import take_back
from budgets.models import Budget, Entry
from budgets.queries import opening_sums
from budgets.services.spending import book
from budgets.stage import held
from gateway.core.call import Usage
from gateway.core.counters import Ask, Granted, Short, Spent, StoreUnavailable, Wish
from gateway.core.errors import Unavailable
from gateway.counters.batch import TIMEOUT_SECONDS
from tenants.models import Workspace
from tests.budgets.sample import MINI, ask, attempt, money, snapshot
from tests.budgets.test_shared_ledger import in_thread, workers
from tests.budgets.test_slices import NOTE, Clock, quiet, told, until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.services]


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    stopped = Clock()
    for module in ("slices", "keeper"):
        monkeypatch.setattr(f"budgets.ledger.{module}.clock", stopped)
    return stopped


@pytest.fixture
def total():
    """A budget in total of a workspace, and its bucket."""
    workspace = Workspace.objects.create(name="acme")
    Budget.objects.create(workspace=workspace, name="all", of="workspace", per="total", limit_nanos=10**9)
    return workspace, f"{{{workspace.pk}}}:workspace:total:0:usd:{workspace.pk}"


def line(workspace, name, nanos, status="exact"):
    whose = {"team": "", "key": "7", "user": "", "model": "m", "provider": "p", "price": "", "classes": {}}
    return whose | {
        "attempt": name,
        "at": 1.0,
        "workspace": str(workspace.pk),
        "nanos": nanos,
        "tokens": 5,
        "status": status,
    }


async def draw_of(worker, workspace, name, attempts):
    """Attempts that each hold 70, the last of them drawn from a slice that it leaves behind."""
    for each in attempts:
        note = json.dumps(line(workspace, each, 0, "in_doubt") | {"base": 70, "rate": 0, "input": 5})
        await worker.ledger.reserve(each, [Ask(name, 70, 0, 10**9)], Wish(0, 0), lambda note=note: note)
        await asyncio.sleep(0.01)
    await until(lambda: any(not each.is_ending for each in worker.ledger.slices.live.values()))
    return next(iter(worker.ledger.slices.live.values()))


async def booked():
    return await in_thread(lambda: dict(Entry.objects.values_list("attempt", "nanos")))


async def test_a_dead_workers_slice_is_charged_in_doubt_until_its_death_is_proved(own_redis, total, monkeypatch):
    monkeypatch.setattr(slices, "TELL_SECONDS", 600.0)
    workspace, name = total
    async with workers(own_redis, 2) as (dead, alive):
        dead.ledger.owner = owner_of("journal-of-the-dead")
        dead.ledger.slices.prefix = f"slice.{dead.ledger.owner}."
        piece = await draw_of(dead, workspace, name, ["a", "b", "c", "d"])
        whole = piece.nanos
        await dead.ledger.reserve("e", [Ask(name, 70, 0, 10**9)], Wish(0, 0), lambda: NOTE)
        assert "e" in piece.unconfirmed
        own_redis.client.zadd("tg:workers", {dead.ledger.worker: 1})
        await in_thread(alive.keeper.sweep)
        charged = 4 * 70 + whole
        assert await alive.sums(name) == [(charged, 0, charged)]
        assert await booked() == dict.fromkeys("abcd", 70) | {piece.name: whole}

        await in_thread(book, [line(workspace, "e", 70, "in_doubt")])  # what its journal says of the one it sent
        assert await in_thread(take_back, [], ["journal-of-somebody-else"]) == 0
        assert await in_thread(take_back, [], ["another", "journal-of-the-dead"]) == 1
        assert await in_thread(take_back, [], ["another", "journal-of-the-dead"]) == 0
        assert await in_thread(lambda: opening_sums(2.0)[name]) == (5 * 70, 5 * 70)


async def test_a_worker_that_slept_beyond_its_lease_is_charged_what_its_calls_cost(own_redis, total, monkeypatch):
    monkeypatch.setattr(slices, "TELL_SECONDS", 600.0)
    workspace, name = total
    async with workers(own_redis, 2) as (asleep, alive):
        piece = await draw_of(asleep, workspace, name, ["a", "b", "c", "d"])
        for each in ("e", "f"):
            note = json.dumps(line(workspace, each, 0, "in_doubt"))
            await asleep.ledger.reserve(each, [Ask(name, 70, 0, 10**9)], Wish(0, 0), lambda note=note: note)
        assert set(piece.unconfirmed) == {"e", "f"}
        own_redis.client.zadd("tg:workers", {asleep.ledger.worker: 1})
        await in_thread(alive.keeper.sweep)
        charged = (await alive.sums(name))[0][0]

        await asleep.ledger.settle("e", Spent(20, 5))  # it wakes
        await told(asleep)
        await until(lambda: not asleep.ledger.slices.live)
        assert charged - (await alive.sums(name))[0][0] > 50
        assert await alive.sums(name) == [(5 * 70 + 20, 0, 5 * 70)]
        await asleep.ledger.settle("f", Spent(30, 5))
        for each in "abcd":
            await asleep.ledger.settle(each, Spent(10, 5))
        await until(lambda: asleep.batch._sending.done())
        assert await alive.sums(name) == [(20 + 30 + 40, 0, 0)]

        await in_thread(alive.keeper.sweep)
        await in_thread(book, [line(workspace, each, 10) for each in "abcd"])
        await in_thread(book, [line(workspace, "e", 20), line(workspace, "f", 30)])
        asleep.keeper._compare_at = 0.0
        asleep.keeper._sweep_at = time.monotonic() + 60
        await asleep.turn()
        assert await in_thread(lambda: opening_sums(2.0)[name]) == (20 + 30 + 40, 0)


async def test_counters_that_are_made_again_know_what_was_drawn_and_nothing_of_what_was_left(
    own_redis, total, monkeypatch
):
    monkeypatch.setattr(slices, "TELL_SECONDS", 600.0)
    workspace, name = total
    async with workers(own_redis, 2) as (one, two):
        await draw_of(one, workspace, name, ["a", "b", "c", "d"])
        before = one.ledger.epoch
        own_redis.client.flushall()
        await one.ledger.reserve("e", [Ask(name, 70, 0, 10**9)], Wish(0, 0), lambda: NOTE)
        await one.ledger.settle("a", Spent(40, 5))
        await until(lambda: one.ledger.is_fenced)
        granted = await one.ledger.reserve("f", [Ask(name, 70, 0, 10**9)], Wish(0, 0), lambda: NOTE)
        assert isinstance(granted, Granted), "slices may be finished while the counters are lost"
        await asyncio.gather(one.until_sound(before), two.until_sound(before))
        assert await two.sums(name) == [(40, 5 * 70, 0)]
        for each in "bcdef":
            await one.ledger.settle(each, Spent(10, 5))
        await until(lambda: one.batch._sending.done())
        assert await two.sums(name) == [(90, 0, 0)]


async def test_while_redis_is_away_calls_go_on_until_the_slice_is_empty_and_then_are_refused(own_redis):
    known_inputs.clear()
    async with workers(own_redis) as (one,):
        config = snapshot(money("cap", "key", 10**12), ledger=one.ledger)
        sent = answered = 0

        async def call():
            nonlocal sent, answered
            made = ask("Hello", max_tokens=50)
            made.id = f"away-{sent}"
            sent += 1
            async with held(made, config):
                await made.hold.move(MINI)
                made.attempts.append(attempt(usage=Usage(input=20, output=50)))
                answered += 1

        while not one.ledger.slices.live:
            await call()
            await asyncio.sleep(0.01)
        before, epoch = answered, one.ledger.epoch
        one.batch.timeout_s = TIMEOUT_SECONDS
        own_redis.stop()
        with pytest.raises(Unavailable) as refused:  # noqa: PT012 - the one that is refused
            while True:
                await call()
        assert answered - before >= slices.LEAST_CALLS
        assert (refused.value.code, refused.value.headers["retry-after"]) == ("budget_unavailable", "1")

        one.batch.timeout_s = 30.0
        await in_thread(own_redis.start)
        await one.until_sound(epoch)
        name = next(iter(one.ledger.settled.values()))[1].parts[0][0]
        assert await one.sums(name) == [(answered * (20 * 150 + 50 * 600), 0, 0)]


@pytest.mark.parametrize("loss", ["flushed", "restarted empty", "restarted from what was saved"])
async def test_under_load_redis_forgets_and_no_cap_is_passed_nothing_lost_and_nothing_left_held(
    own_redis, total, clock, loss
):
    clock.runs = True
    _, name = total
    cap, most, cost = 400_000, 100, 60
    real = drawn = 0
    is_over = False

    async def caller(worker, whose):
        nonlocal real, drawn
        number = 0
        while not is_over:
            number += 1
            attempt_id = f"{whose}.{number}"
            try:
                answer = await worker.ledger.reserve(attempt_id, [Ask(name, most, 0, cap)], Wish(0, 0), lambda: NOTE)
            except StoreUnavailable:
                await asyncio.sleep(0.02)
                continue
            if isinstance(answer, Short):
                await worker.ledger.freed(0.05)
                continue
            drawn += worker.ledger.open[attempt_id].draw is not None
            real += cost
            assert real <= cap
            await asyncio.sleep(0.002 * (number % 3))
            await worker.ledger.settle(attempt_id, Spent(cost, 5))

    async def keep(worker):
        while True:
            with suppress(RedisError):
                await worker.turn()
            await asyncio.sleep(0.05)

    async with workers(own_redis, 2) as running:
        callers = [asyncio.create_task(caller(each, f"{each.ledger.worker}.{n}")) for each in running for n in range(4)]
        keepers = asyncio.gather(*(keep(each) for each in running))
        for _ in range(2):
            await until(lambda: all(each.ledger.slices.live for each in running))
            epoch = running[0].ledger.epoch
            if loss == "flushed":
                await in_thread(own_redis.client.flushall)
            else:
                await in_thread(own_redis.client.save if "saved" in loss else own_redis.client.flushall)
                await asyncio.sleep(0.1)
                own_redis.process.kill()
                own_redis.process.wait()
                if loss == "restarted empty":
                    (own_redis.folder / "dump.rdb").unlink(missing_ok=True)
                await in_thread(own_redis.start)
            await until(lambda epoch=epoch: all(w.ledger.epoch != epoch and not w.ledger.is_fenced for w in running))
        is_over = True
        await asyncio.gather(*callers)
        for each in running:
            each.ledger.pay()
            assert await quiet(each, name) is not None
        keepers.cancel()
        await asyncio.wait([keepers])
        assert (await running[0].sums(name), drawn > 0) == ([(real, 0, 0)], True)
