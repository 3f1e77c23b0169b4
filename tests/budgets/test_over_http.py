"""Budgets and limits of a running installation, judged by the upstream's own meter."""

import asyncio
import json
import time
from collections.abc import Iterator
from decimal import Decimal

import httpx
import pytest

from tests.installation import Installation
from tests.upstream.server import Upstream

INPUT, OUTPUT = 1_000_000_000, 2_000_000_000  # nano-dollars per million tokens, as below
COST = 3 * 1000 + 12 * 2000  # of a call of three words, answered with twelve
CONFIGURATION = """
version: 1
providers:
  - name: upstream
    kind: openai
    base_url: {url}
    credentials: [{{name: main, secret: {{env: UPSTREAM_SECRET}}}}]
models:
  - {{name: scripted, provider: upstream, upstream: gpt-test, price: {{input: "1.00", output: "2.00"}}}}
  - {{name: unpriced, provider: upstream, upstream: nobody-knows}}
routes:
  - {{name: chat, strategy: priority, targets: [{{model: scripted}}]}}
workspaces: {workspaces}
"""
ACROSS = {"of": "workspace", "per": "month"}


def workspace(name: str, **parts: list) -> dict:
    return {"name": name, "keys": [{"name": "app", "secret": {"env": f"KEY_{name.upper()}"}}], **parts}


def serving(upstream: Upstream, installation: Installation, *workspaces: dict) -> Installation:
    """A running installation with these workspaces, each with a key of its own name."""
    keys = {f"KEY_{each['name'].upper()}": key_of(each["name"]) for each in workspaces}
    text = CONFIGURATION.format(url=upstream.url, workspaces=json.dumps(workspaces))
    installation.apply(text, UPSTREAM_SECRET="sk-upstream", **keys)
    return installation.start()


def key_of(workspace: str) -> str:
    return f"sk-test-budgets-{workspace}"


@pytest.fixture(scope="module")
def gateway() -> Iterator[tuple[Installation, Upstream]]:
    """One installation for all: what is asked of one workspace does not touch the others."""
    with Upstream() as upstream, Installation() as installation:
        yield (
            serving(
                upstream,
                installation,
                workspace(
                    "seventeen", budgets=[{"name": "cap", "of": "key", "per": "month", "limit_usd": usd(17 * COST)}]
                ),
                workspace("wide", budgets=[{"name": "cap", **ACROSS, "limit_usd": usd(20 * 50 * COST)}]),
                workspace("limited", limits=[{"of": "key", "unit": "requests", "amount": 60, "per": "minute"}]),
                workspace("priced", budgets=[{"name": "cap", **ACROSS, "limit_usd": "1.00"}]),
                workspace("bare"),
            ),
            upstream,
        )


@pytest.fixture
def at(gateway):
    """The running installation and its upstream, which has answered nothing yet."""
    installation, upstream = gateway
    upstream.meter.clear()
    return installation, upstream


def usd(nanos: int) -> str:
    return f"{nanos / 10**9:.9f}"


async def many(gateway: Installation, workspace: str, count: int, **fields) -> list[httpx.Response]:
    """So many calls at once, every other one streamed; each answer is read to its end."""
    headers = {"authorization": f"Bearer {key_of(workspace)}"}
    limits = httpx.Limits(max_connections=count)
    async with httpx.AsyncClient(base_url=gateway.url, headers=headers, timeout=60, limits=limits) as client:

        async def one(number: int) -> httpx.Response:
            body = {"model": "chat", "messages": [{"role": "user", "content": "one two three"}], "user": "ann"}
            return await client.post("/v1/chat/completions", json=body | {"stream": bool(number % 2)} | fields)

        return await asyncio.gather(*(one(number) for number in range(count)))


def settled(gateway: Installation, workspace: str) -> dict:
    """The workspace's budget once nothing is held of it any more."""
    for _ in range(20):
        (state,) = json.loads(gateway.manage("budgets", "--workspace", workspace, "--json").stdout)
        if state["held_usd"] == "0":
            return state
        time.sleep(0.25)
    raise AssertionError(f"still held after 10 seconds: {state}")


def nanos_of(text: str) -> int:
    return int(Decimal(text) * 10**9)


def test_three_hundred_concurrent_calls_spend_a_cap_that_pays_for_seventeen_and_no_more(at):
    gateway, upstream = at
    answers = asyncio.run(many(gateway, "seventeen", 300, max_tokens=12))
    assert sorted(answer.status_code for answer in answers) == [200] * 17 + [429] * 283
    meter = upstream.meter.cost_nanos(INPUT, OUTPUT)
    assert meter == 17 * COST
    state = settled(gateway, "seventeen")
    assert (nanos_of(state["spent_usd"]), state["in_doubt_usd"]) == (meter, "0")
    refused = next(answer for answer in answers if answer.status_code == 429)
    error = refused.json()["error"]
    assert (error["code"], error["type"]) == ("budget_exceeded", "insufficient_quota")
    assert error["message"].startswith("The budget 'cap' has $")
    assert refused.headers["x-should-retry"] == "false"


def test_fifty_small_calls_of_unknown_length_are_all_let_in(at):
    gateway, upstream = at
    answers = asyncio.run(many(gateway, "wide", 50))
    assert [answer.status_code for answer in answers] == [200] * 50
    assert all(reading.body["max_completion_tokens"] >= 12 for reading in upstream.meter.readings)
    assert nanos_of(settled(gateway, "wide")["spent_usd"]) == upstream.meter.cost_nanos(INPUT, OUTPUT)


def test_a_limit_of_sixty_a_minute_lets_sixty_in(at):
    gateway, _ = at
    answers = asyncio.run(many(gateway, "limited", 90, max_tokens=5))
    assert sorted(answer.status_code for answer in answers) == [200] * 60 + [429] * 30
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.json()["error"]["message"] == "This key 'app' may use 60 requests a minute, and has 0 left."
    assert 30 <= int(refused.headers["retry-after"]) <= 61
    assert refused.headers["x-ratelimit-limit-requests"] == "60"


@pytest.mark.parametrize("stream", [False, True])
def test_an_unpriced_model_is_refused_before_a_byte_leaves(at, stream):
    gateway, upstream = at
    answer = gateway.chat(model="unpriced", stream=stream, key=key_of("priced"))
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "price_unknown")
    assert upstream.meter.requests == 0


def test_the_calls_own_budget_is_a_cap_too(at):
    gateway, _ = at
    answer = gateway.chat("one two three", budget=0.0000001, max_tokens=50, key=key_of("bare"))
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "budget_exceeded")
    paid = gateway.chat("one two three", budget=0.05, max_tokens=50, key=key_of("bare"))
    assert (paid.status_code, paid.headers["x-tollgate-cost-usd"]) == (200, "0.000027")


def test_what_was_spent_is_still_spent_after_a_crash_and_calls_under_way_are_in_doubt(upstream, installation):
    gateway = serving(
        upstream, installation, workspace("crashed", budgets=[{"name": "cap", **ACROSS, "limit_usd": "1"}])
    )
    upstream.always(tokens=100, token_delay_s=0.05)

    async def crash() -> None:
        calls = asyncio.create_task(many(gateway, "crashed", 20, max_tokens=200))
        await asyncio.sleep(1.5)
        gateway.kill()
        await asyncio.gather(calls, return_exceptions=True)

    asyncio.run(crash())
    gateway.start()
    state = settled(gateway, "crashed")
    charged = nanos_of(state["spent_usd"])
    assert upstream.meter.cost_nanos(INPUT, OUTPUT) <= charged <= 10**9
    assert nanos_of(state["in_doubt_usd"]) > 0
