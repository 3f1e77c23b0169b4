"""Identical calls in flight: one leads, the others wait, and nobody waits for ever."""

import asyncio

from gateway.caching.flights import ALONE, LEAD, Flight
from tests.gateway.caching.sample import entry


async def waiting(flight: Flight, count: int, timeout_s: float | None = 5.0) -> list[asyncio.Task[object]]:
    tasks = [asyncio.create_task(flight.follow(timeout_s)) for _ in range(count)]
    await asyncio.sleep(0)
    return tasks


async def test_all_who_wait_are_given_the_leaders_answer() -> None:
    flights: dict[bytes, Flight] = {}
    flight = Flight(flights, b"k")
    followers = await waiting(flight, 3)
    kept = entry()
    flight.landed(kept)
    assert await asyncio.gather(*followers) == [kept] * 3
    assert flights == {}


async def test_an_answer_that_is_none_to_share_sends_everybody_alone() -> None:
    flight = Flight({}, b"k")
    followers = await waiting(flight, 2)
    flight.landed(None)
    assert await asyncio.gather(*followers) == [ALONE, ALONE]


async def test_when_the_leader_falls_out_the_next_leads_and_after_two_failures_nobody_waits() -> None:
    flights: dict[bytes, Flight] = {}
    flight = Flight(flights, b"k")
    first, second, third = await waiting(flight, 3)
    flight.fell_out(failed=True)
    assert await first is LEAD
    assert flights == {b"k": flight}
    flight.fell_out(failed=True)
    assert [await second, await third] == [ALONE, ALONE]
    assert flights == {}


async def test_leaders_who_only_leave_hand_on_as_often_as_it_takes() -> None:
    flight = Flight({}, b"k")
    followers = await waiting(flight, 4)
    for follower in followers:
        flight.fell_out(failed=False)
        assert await follower is LEAD


async def test_a_follower_that_leaves_is_passed_over_also_in_the_moment_it_was_made_leader() -> None:
    flight = Flight({}, b"k")
    first, second, third = await waiting(flight, 3)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    flight.fell_out(failed=False)
    second.cancel()  # it was told to lead, but leaves before it hears of it
    await asyncio.gather(second, return_exceptions=True)
    assert await asyncio.wait_for(third, 1) is LEAD


async def test_a_follower_waits_no_longer_than_its_own_deadline() -> None:
    flight = Flight({}, b"k")
    [hasty] = await waiting(flight, 1, timeout_s=0.01)
    [patient] = await waiting(flight, 1)
    assert await hasty is ALONE
    kept = entry()
    flight.landed(kept)
    assert await patient is kept
