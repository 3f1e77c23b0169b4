"""What routing promises about many calls, whatever one provider does."""

import asyncio
import time
from types import SimpleNamespace

import pytest

from gateway.core.errors import BudgetExceeded, GatewayError
from gateway.routing import search, stage
from gateway.routing.breaker import OPEN_SECONDS
from gateway.snapshot import TargetView, Timeouts
from tests.gateway.routing.sample import Client, answer, ask, config, model, say

FAULTS = {
    "reset": {"fault": "reset"},
    "hang at headers": {"fault": "hang"},
    "hang at the first token": {"fault": "hang", "at": "first_token"},
    "500": {"fault": "status", "status": 500},
    "503": {"fault": "status", "status": 503},
    "429": {"fault": "status", "status": 429},
    "429 with Retry-After": {"fault": "status", "status": 429, "retry_after": 1},
    "HTML": {"fault": "html"},
    "truncated JSON": {"fault": "truncated_json", "at": "first_token"},
    "stream cut": {"fault": "cut", "at": "first_token"},
    "garbage": {"fault": "garbage"},
    "error event": {"fault": "error_event", "at": "first_token"},
}
AT_ONCE = 10


async def many(count: int, one) -> list:
    """The results of so many calls, ten at a time."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def each():
        async with gate:
            try:
                return await one()
            except GatewayError as error:
                return error

    return await asyncio.gather(*(each() for _ in range(count)))


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_every_call_is_answered_while_one_target_is_well(upstreams, fault, stream):
    bad, good = upstreams(2)
    bad.always(**FAULTS[fault])
    hasty = TargetView(model("a", bad.url), first_byte_timeout_s=0.3, timeout_s=0.6 if not stream else None)
    routes = config(hasty, model("b", good.url), timeouts=Timeouts())
    calls = [ask(stream=stream) for _ in range(42)]
    waiting = list(calls)

    texts = await many(42, lambda: say(waiting.pop(), routes))

    assert {str(text).strip() for text in texts} == {"the quick brown fox jumps over a lazy dog while small birds"}
    assert {call.finish for call in calls} == {"stop"}


@pytest.mark.parametrize("fault", [{"fault": "status", "status": 500}, {"fault": "reset"}], ids=["500", "reset"])
async def test_a_target_that_fails_for_all_is_not_hit_harder_than_it_is_called(upstream, fault):
    upstream.always(**fault)
    routes = config(model("a", upstream.url), retries=5)
    began = time.monotonic()

    results = await many(400, lambda: answer(ask(), routes))

    assert all(isinstance(result, GatewayError) for result in results)
    assert upstream.meter.requests <= 1.1 * 400 + 3 * (time.monotonic() - began + 1)


class Clock:
    """Stands in for the module `time` where routing asks it what time it is; moves when it is told to."""

    def __init__(self) -> None:
        self.now = time.monotonic()
        self.module = SimpleNamespace(monotonic=lambda: self.now, perf_counter=time.perf_counter)


@pytest.fixture
def clock(monkeypatch):
    found = Clock()
    for each in (search, stage):
        monkeypatch.setattr(each, "time", found.module)
    return found


async def test_a_dead_target_is_not_asked_while_its_circuit_is_open_and_comes_back_by_itself(upstreams, clock):
    dead, good = upstreams(2)
    dead.always(fault="status", status=500)
    routes = config(model("a", dead.url), model("b", good.url), retries=0)
    await many(20, lambda: answer(ask(), routes))
    known = dead.meter.requests
    clock.now += 0.79 * OPEN_SECONDS

    await many(50, lambda: answer(ask(), routes))
    assert (dead.meter.requests, good.meter.requests) == (known, 70)

    clock.now += 0.42 * OPEN_SECONDS  # its time is over, whatever chance made of it
    await many(30, lambda: answer(ask(), routes))
    assert (dead.meter.requests, good.meter.requests) == (known + 1, 100)  # one probe, whose call was answered too

    dead.forget()
    clock.now += 1.21 * OPEN_SECONDS  # one interval later: fast failures are probed at a steady pace
    for _ in range(10):
        await answer(ask(), routes)
    assert (dead.meter.requests, good.meter.requests) == (10, 100)
    assert {circuit.state for circuit in routes.upstream.health.circuits()} == {"closed"}


async def test_a_probe_that_a_budget_refuses_gives_its_place_back(upstreams, clock):
    dead, good = upstreams(2)
    dead.always(fault="status", status=500)
    routes = config(model("a", dead.url), model("b", good.url), retries=0)
    await many(10, lambda: answer(ask(), routes))
    dead.forget()
    clock.now += 1.21 * OPEN_SECONDS

    class Spent:
        async def move(self, target):
            raise BudgetExceeded("nothing is left")

    refused = ask()
    refused.hold = Spent()
    with pytest.raises(BudgetExceeded):
        await answer(refused, routes)

    call = ask()
    await answer(call, routes)
    assert [attempt.target.model for attempt in call.attempts] == ["a"]


async def test_when_all_are_out_the_least_bad_is_asked_once_and_an_answer_brings_it_back(upstreams):
    first, second = upstreams(2)
    client = Client()
    routes = config(model("a", first.url), model("b", second.url), client=client, retries=0)
    for each in (first, second):
        each.always(fault="status", status=500)
    await many(20, lambda: answer(ask(), routes))
    assert {circuit.state for circuit in client.health.circuits()} == {"open"}
    for each in (first, second):
        each.forget()

    call = ask()
    await say(call, routes)

    assert len(call.attempts) == 1
    assert first.meter.requests + second.meter.requests == 1


async def test_one_tenants_bad_requests_open_no_circuit(upstream):
    upstream.always(fault="status", status=400)
    routes = config(model("a", upstream.url))
    await many(30, lambda: answer(ask(), routes))
    assert {circuit.state for circuit in routes.upstream.health.circuits()} == {"closed"}
