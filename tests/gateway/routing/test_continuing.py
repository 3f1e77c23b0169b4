"""A stream that broke off, and another target that goes on with it: whole, marked, and each part paid by itself."""

import json
from dataclasses import replace

import pytest

from budgets.stage import held
from gateway.core.errors import UpstreamBroken
from gateway.edge.chat import Chat
from gateway.routing.stage import choose, opened
from tests.budgets.sample import CALLER, money, snapshot, sums
from tests.budgets.sample import SONNET_PRICE as DEAR
from tests.gateway.routing.sample import answer, ask, config, model

BEGUN = "the quick brown"
PREFILLS = {"quirks": {"prefill": "message"}}
FAULTS = pytest.mark.parametrize("fault", ["reset", "hang", "cut", "cut_clean", "error_event"])


def routes(bad, good, quirks=PREFILLS, **route):
    return config(model("a", bad.url), model("b", good.url, **quirks), **({"continues": True} | route))


def chunks(deltas) -> list[dict]:
    """What the caller gets, as JSON."""
    writer = Chat().writer(ask())
    events = b"".join(writer.delta(delta) for delta in deltas).split(b"\n\n")
    return [json.loads(event.removeprefix(b"data: ")) for event in events if event.startswith(b"data: {")]


def text_of(found: list[dict]) -> str:
    return "".join(choice["delta"].get("content") or "" for chunk in found for choice in chunk["choices"])


@FAULTS
async def test_another_target_goes_on_where_the_first_broke_off(upstreams, fault):
    bad, good = upstreams(2)
    bad.always(fault=fault, at=3)
    good.always(text="fox jumps over")
    call = ask(stream=True)

    found = chunks(await answer(call, routes(bad, good)))

    assert text_of(found).split() == ["the", "quick", "brown", "fox", "jumps", "over"]
    assert call.finish == "stop"
    assert [message["content"] for message in good.meter.readings[0].body["messages"]] == ["hello", BEGUN]
    assert good.meter.readings[0].body["messages"][1]["role"] == "assistant"
    assert [(each.target.model, each.outcome) for each in call.attempts] == [
        ("a", "timeout" if fault == "hang" else "failed"),
        ("b", "answered"),
    ]
    assert call.attempts[1].reason.startswith("went on with the answer of a after ")
    assert {line["model"]: line["state"] for line in call.decision} == {"a": "broke off", "b": "continued"}


async def test_what_goes_on_is_marked_once_and_is_one_answer_by_its_id_and_role(upstreams):
    bad, good = upstreams(2)
    bad.always(fault="cut", at=3)
    good.always(text="fox jumps")
    found = chunks(await answer(ask(stream=True), routes(bad, good)))
    marks = [chunk["tollgate"] for chunk in found if "tollgate" in chunk]
    assert marks == [{"continued": {"model": "b", "provider": "p-b", "after_characters": len(BEGUN) + 1}}]
    assert len({chunk["id"] for chunk in found}) == 1
    assert [c["delta"]["role"] for chunk in found for c in chunk["choices"] if c["delta"].get("role")] == ["assistant"]


async def test_it_is_off_unless_the_route_says_so(upstreams):
    bad, good = upstreams(2)
    bad.always(fault="cut", at=3)
    with pytest.raises(UpstreamBroken):
        await answer(ask(stream=True), routes(bad, good, continues=False))
    assert good.meter.requests == 0


@pytest.mark.parametrize("quirks", [{}, {"quirks": {"prefill": False}}, {"quirks": {"prefill": "perhaps"}}])
async def test_only_targets_that_go_on_with_a_begun_answer_are_asked(upstreams, quirks):
    bad, good = upstreams(2)
    bad.always(fault="cut", at=3)
    with pytest.raises(UpstreamBroken):
        await answer(ask(stream=True), routes(bad, good, quirks=quirks))
    assert good.meter.requests == 0


@pytest.mark.parametrize(
    "fields",
    [{"n": 2}, {"response_format": {"type": "json_object"}}, {"logprobs": True}],
    ids=lambda each: next(iter(each)),
)
async def test_what_two_halves_make_no_whole_of_is_not_gone_on_with(upstreams, fields):
    bad, good = upstreams(2)
    bad.always(fault="cut", at=3)
    call = ask(stream=True)
    call.body |= fields
    with pytest.raises(UpstreamBroken):
        await answer(call, routes(bad, good))
    assert good.meter.requests == 0


async def test_a_tool_call_that_broke_off_is_not_gone_on_with(upstreams):
    bad, good = upstreams(2)
    tool = {
        "id": "c1",
        "type": "function",
        "function": {"name": "look_up", "arguments": '{"city": "Oslo or some other"}'},
    }
    bad.always(fault="cut", at=3, tool_calls=[tool])
    with pytest.raises(UpstreamBroken):
        await answer(ask(stream=True), routes(bad, good))
    assert good.meter.requests == 0


async def test_where_nobody_can_go_on_the_stream_ends_in_the_first_error(upstreams):
    bad, worse = upstreams(2)
    bad.always(fault="error_event", at=3, message="the first one broke")
    worse.always(fault="status", status=500)
    call = ask(stream=True)
    with pytest.raises(UpstreamBroken, match="broke"):
        await answer(call, routes(bad, worse))
    assert [each.target.model for each in call.attempts] == ["a", "b"]
    assert {line["model"]: line["state"] for line in call.decision} == {"a": "broke off", "b": "failed"}


async def test_what_was_said_counts_towards_the_callers_limit(upstreams):
    bad, good = upstreams(2)
    bad.always(fault="cut", at=3)
    call = ask(stream=True)
    call.body["max_tokens"] = 10
    await answer(call, routes(bad, good))
    assert good.meter.readings[0].body["max_tokens"] == 10 - len(BEGUN) // 4 - 1


@pytest.mark.parametrize(
    ("way", "message", "body"),
    [
        ("message", {}, {}),
        ("prefix", {"prefix": True}, {}),
        ("continue", {}, {"continue_final_message": True, "add_generation_prompt": False}),
    ],
)
async def test_each_server_is_asked_in_its_own_way(upstreams, way, message, body):
    bad, good = upstreams(2)
    bad.always(fault="cut", at=3)
    await answer(ask(stream=True), routes(bad, good, quirks={"quirks": {"prefill": way}}))
    sent = good.meter.readings[0].body
    assert sent["messages"][-1] == {"role": "assistant", "content": BEGUN, **message}
    assert {name: sent[name] for name in sent if name.startswith(("continue", "add"))} == body


async def paid(call, found, budget) -> None:
    """Carry the call through, as the pipeline does."""
    choose(call, found)
    async with held(call, budget), opened(call, found) as deltas:
        async for delta in deltas:
            call.note(delta)


async def test_each_part_is_charged_by_itself_and_nothing_stays_held(upstreams):
    bad, good = upstreams(2)
    bad.always(fault="cut", at=3)
    good.always(text="fox jumps")
    budget = replace(snapshot(money("month", "workspace", 10**9)), prices=dict.fromkeys("ab", ((0.0, DEAR),)))
    call, found = replace(ask(stream=True), caller=CALLER), routes(bad, good)
    call.body["max_tokens"] = 1000
    await paid(call, found, budget)

    first, second = call.hold.entries
    reading = good.meter.readings[0]
    broken = (len("hello") + 16 + 64) * 3_000 + (len(BEGUN) + 1 + 256) * 15_000  # what was received, and a slack
    assert (first["model"], first["status"], first["nanos"]) == ("a", "in_doubt", broken)
    assert (second["model"], second["status"]) == ("b", "exact")
    assert second["nanos"] == reading.input * 3_000 + reading.output * 15_000
    assert sums(budget) == {"workspace usd": (broken + second["nanos"], 0, broken)}
    assert (call.usage.input, call.usage.output) == (reading.input, reading.output)


async def test_without_money_for_the_rest_the_stream_ends_in_the_first_error(upstreams):
    bad, good = upstreams(2)
    bad.always(fault="cut", at=3)
    most = (len("hello") + 16 + 64) * 3_000 + 300 * 15_000
    budget = replace(snapshot(money("month", "workspace", most)), prices=dict.fromkeys("ab", ((0.0, DEAR),)))
    call, found = replace(ask(stream=True), caller=CALLER), routes(bad, good)
    call.body["max_tokens"] = 300
    with pytest.raises(UpstreamBroken):
        await paid(call, found, budget)
    assert good.meter.requests == 0
    assert [state[1] for state in sums(budget).values()] == [0]
