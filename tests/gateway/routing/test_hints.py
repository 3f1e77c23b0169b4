"""What workers tell each other."""

import asyncio
import contextlib
import time

import pytest

from gateway.routing.breaker import CLOSED, OPEN
from gateway.routing.checks import Checks
from gateway.routing.hints import Hints
from tests.gateway.routing.sample import Client, ask, config, model, say

URL = "http://127.0.0.1:9/v1"


def worker():
    """A worker's health, with one target known to it, and its hints."""
    client = Client()
    view = model("a", URL)
    circuit = client.health.circuit(view.targets[0])
    return client, circuit, Hints(client.health, "redis://127.0.0.1:1/0")


def told(hints: Hints) -> list[bytes]:
    return [hints._waiting.get_nowait() for _ in range(hints._waiting.qsize())]


async def test_a_circuit_that_opens_here_opens_there_and_one_that_closes_is_probed_there():
    (_, here, hints), (_, there, other) = worker(), worker()
    for _ in range(5):
        here.failed(0.0, "timeout")
    for hint in told(hints):
        other.take(hint)
    assert there.state == OPEN
    assert told(other) == []  # a hint is not passed on

    now = here.blocked_until
    for _ in range(2):
        assert here.admits(now)
        here.succeeded(now)
    assert here.state == CLOSED
    for hint in told(hints):
        other.take(hint)
    assert there.admits(asyncio.get_running_loop().time() + 1e9)


async def test_a_worker_with_answers_of_its_own_knows_better():
    (_, here, hints), (_, there, other) = worker(), worker()
    there.succeeded(time.monotonic())
    for _ in range(5):
        here.failed(0.0, "timeout")
    for hint in told(hints):
        other.take(hint)
    assert there.state == CLOSED


@pytest.mark.parametrize("is_back", [False, True])
async def test_a_place_that_no_call_here_has_named_yet_is_known_to_be_down_when_one_does(is_back):
    _, here, hints = worker()
    client = Client()
    other = Hints(client.health, "redis://127.0.0.1:1/0")
    for _ in range(5):
        here.failed(0.0, "timeout")
    if is_back:
        for _ in range(2):
            assert here.admits(here.blocked_until)
            here.succeeded(here.blocked_until)
    for hint in told(hints):
        other.take(hint)
    there = client.health.circuit(model("a", URL).targets[0])
    assert there.state == (CLOSED if is_back else OPEN)


async def test_its_own_hints_strangers_and_nonsense_change_nothing():
    _, circuit, hints = worker()
    for _ in range(5):
        circuit.failed(0.0, "timeout")
    until = circuit.blocked_until
    for hint in [*told(hints), b"nonsense", b'["w","p","u","m","c","open","x"]']:
        hints.take(hint)
    assert circuit.blocked_until == until


async def test_without_redis_it_waits_and_calls_go_on():
    _, circuit, hints = worker()
    running = asyncio.create_task(hints.run())
    await asyncio.sleep(0.1)
    circuit.failed(0.0, "timeout")
    assert not running.done()
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


@pytest.mark.parametrize("alive", [True, False])
async def test_an_active_check_keeps_a_dead_target_out_and_a_live_one_in(upstream, alive):
    client = Client()
    circuit = client.health.circuit(model("a", upstream.url).targets[0])
    for _ in range(5):
        circuit.failed(time.monotonic() - 5.0, "timeout")
    circuit.blocked_until = time.monotonic() + 0.5
    until = circuit.blocked_until
    if not alive:
        upstream.down()

    await Checks(client).look(time.monotonic())

    assert (circuit.blocked_until > until) is not alive
    assert upstream.meter.requests == 0  # nothing was generated


async def test_the_report_says_what_pages_show(upstream):

    routes = config(model("a", upstream.url))
    await say(ask(), routes)
    [line] = routes.upstream.health.report()
    assert (line["model"], line["state"], line["answered"], line["failed"]) == ("a", "closed", 1, 0)
    assert line["first_token_p50_ms"] >= 0
