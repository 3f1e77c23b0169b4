"""A second target asked beside a slow one: the first that begins answers, and both are paid for what they did."""

import asyncio
import time
from dataclasses import replace

import pytest

from budgets.stage import held
from gateway.core.errors import AllTargetsFailed, BudgetExceeded, UpstreamRejected
from gateway.routing.health import Speed
from gateway.routing.hedge import repeatable
from gateway.routing.stage import choose, opened
from gateway.snapshot import Timeouts
from tests.budgets.sample import CALLER, money, snapshot, sums
from tests.budgets.sample import SONNET_PRICE as DEAR
from tests.gateway.routing.sample import answer, ask, config, model, say

WORDS = "the quick brown fox jumps over a lazy dog while small birds"
AFTER = 0.05
PATIENT = Timeouts(connect=20, first_byte=20, first_token=20, idle=20, total=60)
EITHER = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
PRICES = dict.fromkeys("abc", ((0.0, DEAR),))  # 3 and 15 dollars a million tokens


def hedged(*models, after=AFTER, **route):
    return config(*models, timeouts=PATIENT, hedge_after_s=after, **route)


async def hung_up(upstream) -> bool:
    """Whether the provider noticed that its only client is gone."""
    for _ in range(600):
        if all(reading.hung_up or reading.finished for reading in upstream.meter.readings):
            return upstream.meter.readings[-1].hung_up
        await asyncio.sleep(0.05)
    return False


@EITHER
async def test_a_target_that_does_not_begin_is_overtaken_by_the_next_and_hung_up_on(upstreams, stream):
    slow, good = upstreams(2)
    slow.always(fault="hang", at="first_token")
    call = ask(stream=stream)

    said = await say(call, hedged(model("a", slow.url), model("b", good.url)))

    assert said.strip() == WORDS
    assert [(each.target.model, each.outcome) for each in call.attempts] == [("a", "in_doubt"), ("b", "answered")]
    assert {line["model"]: line["state"] for line in call.decision} == {"a": "outrun", "b": "answered"}
    assert "b was asked too, and began first" in call.decision[0]["why"]
    assert await hung_up(slow)


@EITHER
async def test_the_first_may_still_win_and_then_the_second_is_hung_up_on(upstreams, stream):
    slow, slower = upstreams(2)
    slow.always(delay_s=0.5)
    slower.always(fault="hang", at="first_token")
    call = ask(stream=stream)

    said = await say(call, hedged(model("a", slow.url), model("b", slower.url)))

    assert said.strip() == WORDS
    assert [(each.target.model, each.outcome) for each in call.attempts] == [("b", "in_doubt"), ("a", "answered")]
    assert {line["model"]: line["state"] for line in call.decision} == {"a": "answered", "b": "outrun"}
    assert await hung_up(slower)


async def test_it_is_off_unless_the_route_says_so_and_idle_while_answers_begin_in_time(upstreams):
    first, second = upstreams(2)
    first.always(delay_s=0.2)
    await say(ask(), config(model("a", first.url), model("b", second.url), timeouts=PATIENT))
    await say(ask(), hedged(model("a", first.url), model("b", second.url), after=30))
    assert second.meter.requests == 0


async def test_it_waits_as_long_as_nearly_all_answers_of_that_target_take(upstreams, monkeypatch):
    monkeypatch.setattr(Speed, "percentiles", lambda speed, now: (10.0, 20.0))
    first, second = upstreams(2)
    first.always(delay_s=0.2)
    routes = hedged(model("a", first.url), model("b", second.url))
    await answer(ask(), routes)
    assert second.meter.requests == 0


async def test_no_more_than_a_fiftieth_of_the_calls_are_asked_twice(upstreams, monkeypatch):
    monkeypatch.setattr(Speed, "percentiles", lambda speed, now: (None, None))
    first, second = upstreams(2)
    first.always(delay_s=0.1)
    routes = hedged(model("a", first.url), model("b", second.url), after=0.001)
    gate = asyncio.Semaphore(10)

    async def one() -> None:
        async with gate:
            await say(ask(), routes)

    await asyncio.gather(*(one() for _ in range(100)))
    assert second.meter.requests in {3, 4}  # two at first, and one for each fifty


async def test_a_target_that_fails_often_is_not_helped_by_asking_twice(upstreams):
    first, second = upstreams(2)
    first.always(delay_s=0.2)
    routes = hedged(model("a", first.url), model("b", second.url))
    circuit = routes.upstream.health.circuit(routes.models["a"].targets[0])
    circuit.failed(time.monotonic(), "timeout")
    await say(ask(), routes)
    assert second.meter.requests == 0


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


async def test_a_second_that_fails_changes_nothing(upstreams):
    slow, bad = upstreams(2)
    slow.always(delay_s=0.5)
    bad.always(fault="status", status=500)
    call = ask()
    assert (await say(call, hedged(model("a", slow.url), model("b", bad.url)))).strip() == WORDS
    assert [(each.target.model, each.outcome) for each in call.attempts] == [("b", "failed"), ("a", "answered")]


async def test_a_first_that_fails_meanwhile_is_answered_by_the_second_that_is_on_its_way(upstreams):
    bad, slow = upstreams(2)
    bad.always(fault="status", status=500, delay_s=0.3)
    slow.always(delay_s=0.6)
    call = ask()
    assert (await say(call, hedged(model("a", bad.url), model("b", slow.url)))).strip() == WORDS
    assert [(each.target.model, each.outcome) for each in call.attempts] == [("a", "failed"), ("b", "answered")]
    assert (bad.meter.requests, slow.meter.requests) == (1, 1)


async def test_where_both_fail_the_chain_goes_on_and_nobody_is_asked_again_for_it(upstreams):
    bad, worse, good = upstreams(3)
    bad.always(fault="status", status=501, delay_s=0.3)
    worse.always(fault="status", status=501)
    call = ask()
    routes = hedged(model("a", bad.url), model("b", worse.url), model("c", good.url))
    assert (await say(call, routes)).strip() == WORDS
    assert [each.target.model for each in call.attempts] == ["b", "a", "c"]
    assert worse.meter.requests == 1


async def test_all_that_fail_are_told(upstreams):
    bad, worse = upstreams(2)
    bad.always(fault="status", status=501, delay_s=0.3, message="one")
    worse.always(fault="status", status=501, message="two")
    with pytest.raises(AllTargetsFailed) as failed:
        await say(ask(), hedged(model("a", bad.url), model("b", worse.url)))
    assert {"a: one", "b: two"} == set(failed.value.message.split("answered. ")[1].split("; "))


async def test_what_the_caller_did_wrong_ends_both(upstreams):
    first, second = upstreams(2)
    first.always(fault="status", status=400, message="no such parameter", delay_s=0.3)
    second.always(fault="hang", at="first_token")
    with pytest.raises(UpstreamRejected, match="no such parameter"):
        await say(ask(), hedged(model("a", first.url), model("b", second.url)))
    assert await hung_up(second)


async def test_the_only_target_of_a_route_is_asked_once_more_by_its_other_credential(upstream):
    upstream.for_key("one", fault="hang", at="first_token")
    call = ask()
    routes = hedged(model("a", upstream.url, keys=("two", "one")))
    assert (await say(call, routes)).strip() == WORDS
    assert [each.target.credential for each in call.attempts] == ["one", "two"]


# --- money ---------------------------------------------------------------------------------------------------


async def paid(call, routes, spending) -> str:
    """The text, as the pipeline brings it."""
    found = []
    choose(call, routes)
    async with held(call, spending), opened(call, routes) as deltas:
        async for delta in deltas:
            call.note(delta)
            found.append(delta.text)
    return "".join(found).strip()


def spending(cap: int = 10**9, **budgets):
    return replace(snapshot(money("month", "workspace", cap), *budgets.values()), prices=PRICES)


@EITHER
@pytest.mark.parametrize("winner", ["first", "second"])
async def test_both_are_charged_the_late_one_in_doubt_and_nothing_stays_held(upstreams, stream, winner):
    first, second = upstreams(2)
    first.always(**({"delay_s": 0.5} if winner == "first" else {"fault": "hang"}))
    second.always(**({"fault": "hang"} if winner == "first" else {}))
    call, budget = replace(ask(stream=stream), caller=CALLER), spending()
    call.body["max_tokens"] = 100

    assert await paid(call, hedged(model("a", first.url), model("b", second.url)), budget) == WORDS

    answered = 1 * 3_000 + 12 * 15_000
    most = (len("hello") + 16 + 64) * 3_000 + 100 * 15_000
    assert sums(budget) == {"workspace usd": (answered + most, 0, most)}
    assert call.cost_nanos == answered + most == sum(entry["nanos"] for entry in call.hold.entries)
    names = [entry["attempt"] for entry in call.hold.entries]
    assert (len(set(names)), set(names)) == (2, {f"{call.id}.1", f"{call.id}.2"})
    assert [entry["status"] for entry in call.hold.entries] == ["in_doubt", "exact"]
    assert (call.usage.input, call.usage.output) == (1, 12)


async def test_without_money_for_both_only_one_is_asked(upstreams):
    slow, good = upstreams(2)
    slow.always(delay_s=0.3)
    most = (len("hello") + 16 + 64) * 3_000 + 100 * 15_000
    call, budget = replace(ask(), caller=CALLER), spending(cap=most * 3 // 2)
    call.body["max_tokens"] = 100
    assert await paid(call, hedged(model("a", slow.url), model("b", good.url)), budget) == WORDS
    assert [each.target.model for each in call.attempts] == ["a"]
    assert good.meter.requests == 0
    assert sums(budget) == {"workspace usd": (1 * 3_000 + 12 * 15_000, 0, 0)}


async def test_the_calls_own_budget_is_for_both_together(upstreams):
    slow, good = upstreams(2)
    slow.always(delay_s=0.3)
    most = (len("hello") + 16 + 64) * 3_000 + 100 * 15_000
    call = replace(ask(budget_nanos=most * 3 // 2), caller=CALLER)
    call.body["max_tokens"] = 100
    assert await paid(call, hedged(model("a", slow.url), model("b", good.url)), spending()) == WORDS
    assert good.meter.requests == 0


async def test_while_both_run_both_are_in_what_the_journal_writes(upstreams):
    slow, good = upstreams(2)
    slow.always(fault="hang")
    call, budget = replace(ask(), caller=CALLER), spending()
    call.body["max_tokens"] = 100
    written = []

    class Hook:
        def starting(self, call, attempt):
            written.append([line["attempt"] for line in call.hold.lines()])

        def ended(self, call, attempt):
            pass

    call.hooks = (Hook(),)
    await paid(call, hedged(model("a", slow.url), model("b", good.url)), budget)
    assert written == [[f"{call.id}.1"], [f"{call.id}.1", f"{call.id}.2"]]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_while_both_run_is_charged_for_both_and_both_are_hung_up_on(upstreams, stream):
    first, second = upstreams(2)
    for each in (first, second):
        each.always(fault="hang", at="first_token")
    call, budget = replace(ask(stream=stream), caller=CALLER), spending()
    call.body["max_tokens"] = 100
    task = asyncio.create_task(paid(call, hedged(model("a", first.url), model("b", second.url)), budget))
    for _ in range(600):
        if second.meter.requests:
            break
        await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    most = (len("hello") + 16 + 64) * 3_000 + 100 * 15_000
    assert sums(budget) == {"workspace usd": (2 * most, 0, 2 * most)}
    assert {each.ended is not None for each in call.attempts} == {True}
    assert await hung_up(first)
    assert await hung_up(second)


async def test_a_call_that_a_budget_refuses_asks_nobody(upstreams):
    first, second = upstreams(2)
    call, budget = replace(ask(), caller=CALLER), spending(cap=1)
    with pytest.raises(BudgetExceeded):
        await paid(call, hedged(model("a", first.url), model("b", second.url)), budget)
    assert first.meter.requests + second.meter.requests == 0
