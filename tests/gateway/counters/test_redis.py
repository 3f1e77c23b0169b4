"""Rate limits that workers count together: the same promises as in one process."""

import asyncio
import time

import pytest

from budgets.ledger.redis import LUA
from gateway.core.counters import Admitted, Crowded, Rate, StoreUnavailable
from gateway.counters.batch import LIMITS, RedisBatch, script_of
from gateway.counters.redis import RedisCounters

pytestmark = pytest.mark.services


def rate(amount, *, cost=1, burst=None, unit="requests", window_ms=60_000):
    return Rate(f"{{1}}:key:{unit}:{window_ms}::7", cost, amount, window_ms, amount if burst is None else burst)


@pytest.fixture
async def three(own_redis):
    """Three workers' counters on one store."""
    batches = [RedisBatch(own_redis.url, script_of(LIMITS, LUA)) for _ in range(3)]
    yield [RedisCounters(batch, workers=3) for batch in batches]
    for batch in batches:
        await batch.close()


async def test_three_workers_let_in_sixty_and_no_more(three):
    answers = await asyncio.gather(*(three[n % 3].admit(f"t{n}", [rate(60)]) for n in range(200)))
    assert [isinstance(answer, Admitted) for answer in answers].count(True) == 60
    refused = next(answer for answer in answers if isinstance(answer, Crowded))
    assert (refused.which, refused.remaining) == (0, 0)
    assert 0 < refused.retry_ms <= 60_000


async def test_who_comes_back_when_it_was_told_to_finds_its_place(three):
    asked = rate(1, window_ms=480)
    let_in = await three[0].admit("a", [asked])
    assert let_in.standings[0].reset_ms == 480
    refused = await three[1].admit("b", [asked])
    while isinstance(refused, Crowded):
        assert 0 < refused.retry_ms <= 480
        await asyncio.sleep(refused.retry_ms / 1000)
        refused = await three[1].admit("b", [asked])
    assert refused.at_ms - let_in.at_ms >= 480


async def test_no_window_of_a_second_ever_holds_more_than_the_amount(three):
    taken = []
    until = time.monotonic() + 2.5
    while time.monotonic() < until:
        answers = await asyncio.gather(*(each.admit("t", [rate(20, window_ms=1000)]) for each in three))
        taken += [answer.at_ms for answer in answers if isinstance(answer, Admitted)]
        await asyncio.sleep(0.005)
    assert len(taken) >= 40
    assert max(sum(1 for at in taken if first <= at < first + 1000) for first in taken) <= 20


async def test_a_burst_bounds_what_comes_at_once(three):
    answers = [await three[n % 3].admit("t", [rate(6000, burst=10)]) for n in range(15)]
    assert 10 <= [isinstance(answer, Admitted) for answer in answers].count(True) <= 12


async def test_tokens_are_reserved_then_replaced_by_those_that_were_used(three):
    one, two, _ = three
    asked = rate(1000, cost=800, unit="tokens")
    first = await one.admit("a", [asked])
    assert isinstance(await two.admit("b", [asked]), Crowded)
    await one.settle("a", first.at_ms, [asked], [50])
    await asyncio.sleep(0.05)
    assert (await two.admit("b", [asked])).standings[0].remaining == 150


async def test_places_are_taken_and_given_back_also_by_a_call_that_leaves_at_the_door(three):
    one, two, _ = three
    places = rate(2, unit="concurrency", window_ms=0)
    first = await one.admit("a", [places])
    await two.admit("b", [places])
    assert isinstance(await two.admit("c", [places]), Crowded)
    await one.settle("a", first.at_ms, [places], [1])
    leaving = asyncio.create_task(two.admit("d", [places]))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    await asyncio.sleep(0.05)
    assert isinstance(await one.admit("e", [places]), Admitted)


async def test_a_refusal_by_one_limit_leaves_no_trace_in_the_others(three):
    one, two, _ = three
    wide, narrow = rate(5, unit="tokens"), rate(1)
    await one.admit("a", [wide, narrow])
    for _ in range(9):
        assert (await two.admit("b", [wide, narrow])).which == 1
    assert (await two.admit("c", [wide])).standings[0].remaining == 3


async def test_a_store_that_hangs_is_given_up_within_its_time_and_then_hardly_asked(own_redis, three):
    one = three[0]
    await one.admit("a", [rate(60)])
    own_redis.pause()
    waited = []
    for _ in range(6):
        began = time.monotonic()
        with pytest.raises(StoreUnavailable):
            await one.admit("b", [rate(60)])
        waited.append(time.monotonic() - began)
    assert sum(seconds > 0.2 for seconds in waited) == 3
    own_redis.resume()
    await asyncio.sleep(1.1)
    assert isinstance(await one.admit("c", [rate(60)]), Admitted)
