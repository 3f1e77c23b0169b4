"""Rate limits in one process: never more than the amount in any window, whenever it begins."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.counters import Admitted, Crowded, Rate
from gateway.counters.memory import MemoryCounters

MINUTE = 60_000


@pytest.fixture
def clock(monkeypatch):
    """A clock in milliseconds that stands still until it is moved."""

    class Clock:
        now = 1_000_000

        def monotonic_ns(self):
            return self.now * 1_000_000

    moving = Clock()
    monkeypatch.setattr(time, "monotonic_ns", moving.monotonic_ns)
    return moving


def per_minute(amount, *, cost=1, burst=None, key="k"):
    return Rate(f"{{1}}:key:requests:{MINUTE}::{key}", cost, amount, MINUTE, amount if burst is None else burst)


async def admitted(counters, rate, times=1):
    return [isinstance(await counters.admit("t", [rate]), Admitted) for _ in range(times)].count(True)


async def test_the_amount_comes_in_at_once_and_nothing_more_until_the_window_has_passed(clock):
    counters = MemoryCounters()
    assert await admitted(counters, per_minute(60), 100) == 60
    refused = await counters.admit("t", [per_minute(60)])
    assert (refused.which, refused.remaining) == (0, 0)
    clock.now += refused.retry_ms - 1
    assert await admitted(counters, per_minute(60)) == 0
    clock.now += 1
    assert await admitted(counters, per_minute(60), 100) == 60


@pytest.mark.parametrize("past_the_slots_begin_ms", [0, 1, 125, 249])
async def test_nobody_waits_longer_than_the_window(clock, past_the_slots_begin_ms):
    clock.now += past_the_slots_begin_ms
    counters = MemoryCounters()
    let_in = await counters.admit("t", [per_minute(1)])
    refused = await counters.admit("t", [per_minute(1)])
    assert (let_in.standings[0].reset_ms, refused.retry_ms) == (MINUTE, MINUTE)
    clock.now += MINUTE - 1
    assert await admitted(counters, per_minute(1)) == 0
    clock.now += 1
    assert await admitted(counters, per_minute(1)) == 1


async def test_a_burst_bounds_what_comes_at_once_and_leaks_at_the_windows_pace(clock):
    counters = MemoryCounters()
    rate = per_minute(60, burst=10)
    assert await admitted(counters, rate, 20) == 10
    clock.now += 5_000
    assert await admitted(counters, rate, 20) == 5
    refused = await counters.admit("t", [rate])
    assert refused.retry_ms == 1_000


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(st.tuples(st.integers(0, 9_000), st.integers(1, 8)), min_size=1, max_size=120))
def test_no_window_ever_holds_more_than_the_amount(steps):
    import asyncio

    async def play():
        now = 5_000_000
        original, time.monotonic_ns = time.monotonic_ns, lambda: now * 1_000_000
        try:
            counters, taken = MemoryCounters(), []
            for wait, cost in steps:
                now += wait
                if isinstance(await counters.admit("t", [per_minute(20, cost=cost)]), Admitted):
                    taken.append((now, cost))
        finally:
            time.monotonic_ns = original
        return taken

    taken = asyncio.run(play())
    for at, _ in taken:
        assert sum(cost for when, cost in taken if at <= when < at + MINUTE) <= 20


async def test_a_refusal_by_one_limit_leaves_no_trace_in_the_others(clock):
    counters = MemoryCounters()
    wide, narrow = per_minute(100, key="wide"), per_minute(1, key="narrow")
    assert await counters.admit("a", [wide, narrow]) != Crowded
    refused = await counters.admit("b", [wide, narrow])
    assert (refused.which, refused.retry_ms > 0) == (1, True)
    assert counters.windows[wide.key].total == 1


async def test_tokens_are_reserved_then_replaced_by_those_that_were_used(clock):
    counters = MemoryCounters()
    rate = per_minute(1000, cost=800)
    first = await counters.admit("a", [rate])
    assert isinstance(await counters.admit("b", [rate]), Crowded)
    await counters.settle("a", first.at_ms, [rate], [50])
    second = await counters.admit("b", [rate])
    assert second.standings[0].remaining == 150
    clock.now += 2 * MINUTE
    await counters.settle("b", second.at_ms, [rate], [900])
    assert (await counters.admit("c", [rate])).standings[0].remaining == 200


async def test_places_are_taken_and_given_back(clock):
    counters = MemoryCounters()
    places = Rate("{1}:key:concurrency:0::k", 1, 2, 0, 2)
    taken = [await counters.admit(name, [places]) for name in "ab"]
    assert isinstance(await counters.admit("c", [places]), Crowded)
    await counters.settle("a", taken[0].at_ms, [places], [1])
    assert isinstance(await counters.admit("c", [places]), Admitted)


async def test_whoever_has_been_idle_is_forgotten_and_whoever_holds_a_place_is_not(clock):
    counters = MemoryCounters()
    places = Rate("{1}:key:concurrency:0::k", 1, 2, 0, 2)
    await counters.admit("a", [per_minute(5), places])
    clock.now += 10 * MINUTE
    counters.sweep(clock.now)
    assert list(counters.windows) == [places.key]
