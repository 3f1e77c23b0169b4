"""A second target asked beside a slow one: the first that begins answers, and both are paid for what they did.

The providers live in this process and answer when the test says so, so that no order depends on the machine's speed.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest

from budgets.stage import held
from gateway.core.errors import AllTargetsFailed, BudgetExceeded, UpstreamRejected
from gateway.routing.breaker import Circuit
from gateway.routing.health import Speed
from gateway.routing.hedge import repeatable
from gateway.routing.stage import choose, opened
from gateway.snapshot import Timeouts
from tests.budgets.sample import CALLER, money, snapshot, sums
from tests.budgets.sample import SONNET_PRICE as DEAR
from tests.gateway.routing.sample import Client, ask, config, model, say

WORDS = "the quick brown fox"
USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
AFTER = 0.01
PATIENT = Timeouts(connect=60, first_byte=60, first_token=60, idle=60, total=90)
EITHER = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
PRICES = dict.fromkeys("abc", ((0.0, DEAR),))  # 3 and 15 dollars a million tokens
MOST = (len("hello") + 16 + 64) * 3_000 + 100 * 15_000  # of a call that allows 100 tokens of output
ANSWERED = 3 * 3_000 + 4 * 15_000

Ready = Callable[[], bool]


class Providers:
    """Models a, b, c, each at a provider of its name. What one does is a word, done once `ready` says so.

    answers, hangs (its head comes, and nothing after it), or a status
    asked, hung_up: how often each was
    """

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.hung_up: Counter[str] = Counter()
        self.does: dict[str, tuple[str | int, Ready]] = {}
        self.keys: list[str] = []

    def tell(self, name: str, what: str | int, *, once: Ready = lambda: True) -> None:
        self.does[name] = (what, once)

    async def __call__(self, outgoing: Any) -> tuple[int, Mapping[str, str], AsyncIterator[bytes]]:
        name = urlsplit(outgoing.url).hostname
        key = outgoing.headers.get("authorization", "").removeprefix("Bearer ")
        self.asked[name] += 1
        self.keys.append(key)
        what, ready = self.does.get(key) or self.does.get(name) or ("answers", lambda: True)
        if isinstance(what, int):
            await self.until(name, ready)
            error = {"error": {"message": f"{name} says {what}", "type": "x", "code": "x"}}
            return what, {"content-type": "application/json"}, pieces([json.dumps(error).encode()])
        return 200, {"content-type": "text/plain"}, self.answer(name, what, ready, b'"stream":true' in outgoing.body)

    async def answer(self, name: str, what: str, ready: Ready, streamed: bool) -> AsyncIterator[bytes]:
        await self.until(name, ready if what == "answers" else lambda: False)
        if not streamed:
            message = {"role": "assistant", "content": WORDS}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            yield json.dumps({"id": "1", "object": "chat.completion", "choices": [choice], "usage": USAGE}).encode()
            return
        for delta, finish in (({"content": WORDS}, None), ({}, "stop")):
            choice = {"index": 0, "delta": delta, "finish_reason": finish}
            yield b"data: %b\n\n" % json.dumps({"id": "1", "choices": [choice]}).encode()
        yield b"data: %b\n\ndata: [DONE]\n\n" % json.dumps({"id": "1", "choices": [], "usage": USAGE}).encode()

    async def until(self, name: str, ready: Ready) -> None:
        try:
            while not ready():
                await asyncio.sleep(0.002)
        except asyncio.CancelledError:
            self.hung_up[name] += 1
            raise


async def pieces(found: list[bytes]) -> AsyncIterator[bytes]:
    for each in found:
        yield each


@pytest.fixture
def providers() -> Providers:
    return Providers()


def hedged(providers: Providers, *names: str, after: float | None = AFTER, **route):
    models = [model(name, f"http://{name}/v1", keys=route.pop(f"keys_{name}", ("main",))) for name in names]
    client = Client(in_process={"openai_compatible": providers})
    return config(*models, client=client, timeouts=PATIENT, hedge_after_s=after, **route)


def attempts(call) -> list[tuple[str, str]]:
    return [(each.target.model, each.outcome) for each in call.attempts]


def states(call) -> dict[str, str]:
    return {line["model"]: line["state"] for line in call.decision}


@EITHER
async def test_a_target_that_does_not_begin_is_overtaken_by_the_next_and_hung_up_on(providers, stream):
    providers.tell("a", "hangs")
    call = ask(stream=stream)
    assert await say(call, hedged(providers, "a", "b")) == WORDS
    assert attempts(call) == [("a", "in_doubt"), ("b", "answered")]
    assert states(call) == {"a": "outrun", "b": "answered"}
    assert "b was asked too, and began first" in call.decision[0]["why"]
    assert providers.hung_up == {"a": 1}


@EITHER
async def test_the_first_may_still_win_and_then_the_second_is_hung_up_on(providers, stream):
    providers.tell("a", "answers", once=lambda: providers.asked["b"] == 1)
    providers.tell("b", "hangs")
    call = ask(stream=stream)
    assert await say(call, hedged(providers, "a", "b")) == WORDS
    assert attempts(call) == [("b", "in_doubt"), ("a", "answered")]
    assert states(call) == {"a": "answered", "b": "outrun"}
    assert providers.hung_up == {"b": 1}


async def test_it_is_off_unless_the_route_says_so_and_idle_while_answers_begin_in_time(providers):
    await say(ask(), hedged(providers, "a", "b", after=None))
    await say(ask(), hedged(providers, "a", "b", after=60))
    assert providers.asked == {"a": 2}


async def test_it_waits_as_long_as_nearly_all_answers_of_that_target_take(providers, monkeypatch):
    monkeypatch.setattr(Speed, "percentiles", lambda speed, now: (30.0, 60.0))
    await say(ask(), hedged(providers, "a", "b"))
    assert providers.asked == {"a": 1}


async def test_no_more_than_a_fiftieth_of_the_calls_are_asked_twice(providers, monkeypatch):
    monkeypatch.setattr(Speed, "percentiles", lambda speed, now: (None, None))
    routes = hedged(providers, "a", "b", after=0.001)
    budget, taken = routes.upstream.health.hedge_budget("chat"), []
    take = type(budget).take
    monkeypatch.setattr(type(budget), "take", lambda self: taken.append(take(self)) or taken[-1])
    providers.tell("a", "answers", once=lambda: len(taken) > providers.asked["a"] - 1)
    for _ in range(100):
        await say(ask(), routes)
    assert (len(taken), sum(taken)) == (100, providers.asked["b"])
    assert sum(taken) in {3, 4}  # two at first, and one for each fifty


async def test_a_target_that_fails_often_is_not_helped_by_asking_twice(providers, monkeypatch):
    looked = []
    monkeypatch.setattr(Circuit, "calls", property(lambda circuit: looked.append(circuit) or (8, 1)))
    providers.tell("a", "answers", once=lambda: bool(looked))
    await say(ask(), hedged(providers, "a", "b"))
    assert providers.asked == {"a": 1}


@pytest.mark.parametrize(
    ("form", "fields", "twice"),
    [
        ("chat", {}, True),
        ("chat", {"tools": [{"type": "function", "function": {"name": "f"}}]}, True),
        ("chat", {"store": True}, False),
        ("chat", {"web_search_options": {"user_location": None}}, False),
        ("messages", {"tools": [{"name": "f", "input_schema": {}}]}, True),
        ("messages", {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, False),
        ("messages", {"mcp_servers": [{"url": "https://example.com"}]}, False),
        ("responses", {}, False),
        ("responses", {"store": False}, True),
        ("responses", {"store": False, "previous_response_id": "r"}, False),
        ("embeddings", {}, True),
        ("images", {}, False),
        ("audio_speech", {}, False),
    ],
)
def test_only_calls_that_do_nothing_but_answer_are_asked_twice(form, fields, twice):
    call = replace(ask(), form=type("Form", (), {"name": form})(), body=fields)
    assert repeatable(call) is twice


async def test_a_second_that_fails_changes_nothing(providers):
    call = ask()
    providers.tell("a", "answers", once=lambda: any(each.ended is not None for each in call.attempts))
    providers.tell("b", 500)
    assert await say(call, hedged(providers, "a", "b")) == WORDS
    assert attempts(call) == [("b", "failed"), ("a", "answered")]


async def test_a_first_that_fails_meanwhile_is_answered_by_the_second_that_is_on_its_way(providers):
    failed = []
    providers.tell("a", 500, once=lambda: providers.asked["b"] == 1 and (failed.append(1) or True))
    providers.tell("b", "answers", once=lambda: bool(failed))
    call = ask()
    assert await say(call, hedged(providers, "a", "b")) == WORDS
    assert attempts(call) in ([("a", "failed"), ("b", "answered")], [("a", "in_doubt"), ("b", "answered")])
    assert providers.asked == {"a": 1, "b": 1}


async def test_where_both_fail_the_chain_goes_on_and_nobody_is_asked_again_for_it(providers):
    call = ask()
    routes = hedged(providers, "a", "b", "c")
    routes.upstream.health.hedge_budget("chat")._left = 1.0  # for one second attempt: c is not asked twice
    providers.tell("a", 501, once=lambda: any(each.ended is not None for each in call.attempts))
    providers.tell("b", 501)
    assert await say(call, routes) == WORDS
    assert attempts(call) == [("b", "failed"), ("a", "failed"), ("c", "answered")]


async def test_all_that_fail_are_told(providers):
    call = ask()
    providers.tell("a", 501, once=lambda: any(each.ended is not None for each in call.attempts))
    providers.tell("b", 501)
    with pytest.raises(AllTargetsFailed) as failed:
        await say(call, hedged(providers, "a", "b"))
    assert set(failed.value.message.split("answered. ")[1].split("; ")) == {"a: a says 501", "b: b says 501"}


async def test_what_the_caller_did_wrong_ends_both(providers):
    providers.tell("a", 400, once=lambda: providers.asked["b"] == 1)
    providers.tell("b", "hangs")
    with pytest.raises(UpstreamRejected, match="a says 400"):
        await say(ask(), hedged(providers, "a", "b"))
    assert providers.hung_up == {"b": 1}


async def test_the_only_target_of_a_route_is_asked_once_more_by_its_other_credential(providers):
    providers.tell("one", "hangs")
    call = ask()
    assert await say(call, hedged(providers, "a", keys_a=("two", "one"))) == WORDS
    assert providers.keys == ["one", "two"]


# --- money ---------------------------------------------------------------------------------------------------


async def paid(call, routes, spending) -> str:
    """The text, as the pipeline brings it."""
    found = []
    choose(call, routes)
    async with held(call, spending), opened(call, routes) as deltas:
        async for delta in deltas:
            call.note(delta)
            found.append(delta.text)
    return "".join(found)


def spending(cap: int = 10**9):
    return replace(snapshot(money("month", "workspace", cap)), prices=PRICES)


def costly(stream: bool = False, **controls):
    call = replace(ask(stream=stream, **controls), caller=CALLER)
    call.body["max_tokens"] = 100
    return call


@EITHER
@pytest.mark.parametrize("winner", ["first", "second"])
async def test_both_are_charged_the_late_one_in_doubt_and_nothing_stays_held(providers, stream, winner):
    providers.tell("a", "answers" if winner == "first" else "hangs", once=lambda: providers.asked["b"] == 1)
    providers.tell("b", "hangs" if winner == "first" else "answers")
    call, budget = costly(stream), spending()

    assert await paid(call, hedged(providers, "a", "b"), budget) == WORDS

    assert sums(budget) == {"workspace usd": (ANSWERED + MOST, 0, MOST)}
    assert call.cost_nanos == ANSWERED + MOST == sum(entry["nanos"] for entry in call.hold.entries)
    assert {entry["attempt"] for entry in call.hold.entries} == {f"{call.id}.1", f"{call.id}.2"}
    assert [entry["status"] for entry in call.hold.entries] == ["in_doubt", "exact"]
    assert (call.usage.input, call.usage.output) == (3, 4)


class Refusals:
    """Counts how often a ledger refuses, by asking it."""

    def __init__(self, ledger) -> None:
        self.ledger, self.count, self.reserve = ledger, 0, ledger.reserve
        ledger.reserve = self

    async def __call__(self, *given):
        found = await self.reserve(*given)
        self.count += type(found).__name__ == "Short"
        return found


async def test_without_money_for_both_only_one_is_asked(providers):
    call, budget = costly(), spending(cap=MOST * 3 // 2)
    refusals = Refusals(budget.ledger)
    providers.tell("a", "answers", once=lambda: refusals.count > 0)
    assert await paid(call, hedged(providers, "a", "b"), budget) == WORDS
    assert attempts(call) == [("a", "answered")]
    assert providers.asked == {"a": 1}
    assert sums(budget) == {"workspace usd": (ANSWERED, 0, 0)}


async def test_the_calls_own_budget_is_for_both_together(providers, monkeypatch):
    looked: list[Awaitable[None]] = []
    monkeypatch.setattr(Circuit, "calls", property(lambda circuit: looked.append(circuit) or (8, 0)))
    ticks = iter(range(1000))
    providers.tell("a", "answers", once=lambda: bool(looked) and next(ticks) > 5)  # b would have been asked by then
    assert await paid(costly(budget_nanos=MOST * 3 // 2), hedged(providers, "a", "b"), spending()) == WORDS
    assert providers.asked == {"a": 1}


async def test_while_both_run_both_are_in_what_the_journal_writes(providers):
    providers.tell("a", "hangs")
    call, written = costly(), []

    class Hook:
        def starting(self, call, attempt):
            written.append([line["attempt"] for line in call.hold.lines()])

        def ended(self, call, attempt):
            pass

    call.hooks = (Hook(),)
    await paid(call, hedged(providers, "a", "b"), spending())
    assert written == [[f"{call.id}.1"], [f"{call.id}.1", f"{call.id}.2"]]


@EITHER
async def test_a_client_that_leaves_while_both_run_is_charged_for_both_and_both_are_hung_up_on(providers, stream):
    providers.tell("a", "hangs")
    providers.tell("b", "hangs")
    call, budget = costly(stream), spending()
    task = asyncio.create_task(paid(call, hedged(providers, "a", "b"), budget))
    while not providers.asked["b"]:
        await asyncio.sleep(0.002)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert sums(budget) == {"workspace usd": (2 * MOST, 0, 2 * MOST)}
    assert {each.ended is not None for each in call.attempts} == {True}
    assert [each.outcome for each in call.attempts] == ["in_doubt", "client_left"]


async def test_a_call_that_a_budget_refuses_asks_nobody(providers):
    with pytest.raises(BudgetExceeded):
        await paid(costly(), hedged(providers, "a", "b"), spending(cap=1))
    assert providers.asked == {}
