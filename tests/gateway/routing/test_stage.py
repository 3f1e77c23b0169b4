"""Calls that come through, whatever one target does."""

import asyncio
from dataclasses import replace

import pytest

from gateway.core.call import Caller
from gateway.core.errors import (
    AllTargetsFailed,
    DeadlinePassed,
    Forbidden,
    InvalidRequest,
    NotFound,
    UpstreamBroken,
    UpstreamRejected,
    UpstreamUnavailable,
)
from gateway.routing.stage import choose, opened
from gateway.snapshot import TargetView, Timeouts
from tests.gateway.routing.sample import QUICK, answer, ask, config, model, say

BEFORE = {
    "reset": {"fault": "reset"},
    "hang at the head": {"fault": "hang"},
    "hang at the first token": {"fault": "hang", "at": "first_token"},
    "500": {"fault": "status", "status": 500},
    "503": {"fault": "status", "status": 503},
    "429 with Retry-After": {"fault": "status", "status": 429, "retry_after": 30},
    "429 without": {"fault": "status", "status": 429},
    "401": {"fault": "status", "status": 401},
    "html": {"fault": "html"},
    "garbage": {"fault": "garbage"},
    "nothing": {"fault": "empty"},
    "truncated JSON": {"fault": "truncated_json", "at": "first_token"},
    "cut": {"fault": "cut", "at": "first_token"},
    "clean cut": {"fault": "cut_clean", "at": "first_token"},
    "error event": {"fault": "error_event", "at": "first_token"},
    "redirect": {"fault": "redirect"},
    "gzip": {"fault": "gzip_bomb"},
}
AFTER = {
    "reset": {"fault": "reset"},
    "hang": {"fault": "hang"},
    "cut": {"fault": "cut"},
    "clean cut": {"fault": "cut_clean"},
    "error event": {"fault": "error_event"},
}
WORDS = "the quick brown fox jumps over a lazy dog while small birds"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("fault", BEFORE)
async def test_a_fault_before_the_first_token_is_answered_by_the_next_target(upstreams, fault, stream):
    bad, good = upstreams(2)
    bad.always(**BEFORE[fault])
    call = ask(stream=stream)

    limits = replace(QUICK, total=20.0 if stream else 0.6)
    said = await say(call, config(TargetView(model("a", bad.url)), model("b", good.url), timeouts=limits))

    assert said.strip() == WORDS
    assert call.finish == "stop"
    assert [(each.target.model, each.outcome) for each in call.attempts][-1] == ("b", "answered")
    assert call.attempts[0].outcome in {"failed", "timeout"}
    assert {line["model"]: line["state"] for line in call.decision} == {"a": "failed", "b": "answered"}


async def test_a_refused_connection_is_answered_by_the_next_target_and_sent_nothing(upstream, refused_url):
    call = ask()
    await say(call, config(model("a", refused_url), model("b", upstream.url)))
    assert [(each.outcome, each.sent) for each in call.attempts] == [
        ("failed", False),
        ("failed", False),
        ("answered", True),
    ]


@pytest.mark.parametrize("fault", AFTER)
async def test_a_fault_after_the_first_token_ends_in_an_error_and_never_in_a_stop(upstreams, fault):
    bad, good = upstreams(2)
    bad.always(**AFTER[fault], at=3)
    call, routes = ask(stream=True), config(model("a", bad.url), model("b", good.url))
    with pytest.raises(UpstreamBroken):
        await answer(call, routes)

    assert call.said > 0
    assert call.finish is None
    assert good.meter.requests == 0
    assert call.attempts[0].outcome in {"failed", "timeout"}


async def test_the_providers_own_refusal_is_passed_on_and_not_retried(upstreams):
    bad, good = upstreams(2)
    bad.always(fault="status", status=400, message="temperature is too high", code="bad_value")
    call = ask()
    with pytest.raises(UpstreamRejected, match="temperature is too high"):
        await answer(call, config(model("a", bad.url), model("b", good.url)))
    assert (bad.meter.requests, good.meter.requests) == (1, 0)
    assert [each.outcome for each in call.attempts] == ["refused"]


async def test_a_refused_credential_with_nobody_else_to_ask_is_told_as_such_and_works_again_at_once(upstreams):
    [only] = upstreams(1)
    routes = config(model("a", only.url))
    only.always(fault="status", status=401)
    for _ in range(2):
        with pytest.raises(AllTargetsFailed, match="refused the gateway's credential") as failed:
            await answer(ask(), routes)
        assert failed.value.status == 502
    only.always()
    assert await say(ask(), routes) != ""
    assert await say(ask(), routes) != ""
    assert only.meter.requests == 4


async def test_a_call_that_is_too_long_goes_to_a_larger_model_where_the_route_says_so(upstreams):
    small, same, large = upstreams(3)
    for each in (small, same):
        each.always(fault="status", status=400, code="context_length_exceeded", message="maximum context length is 8")
    routes = config(
        model("small", small.url, context_tokens=8),
        model("same", same.url, context_tokens=8),
        model("large", large.url, context_tokens=64),
        fall_back_on=frozenset({"context_too_long"}),
    )
    call = ask()
    await say(call, routes)
    assert [each.target.model for each in call.attempts] == ["small", "large"]
    assert same.meter.requests == 0


async def test_an_error_that_the_route_does_not_name_is_not_fallen_back_on(upstreams):
    bad, good = upstreams(2)
    bad.always(fault="status", status=503)
    with pytest.raises(AllTargetsFailed):
        await answer(ask(), config(model("a", bad.url), model("b", good.url), fall_back_on=frozenset({"connect"})))
    assert good.meter.requests == 0


async def test_a_failing_target_is_tried_again_before_the_next(upstreams):
    bad, good = upstreams(2)
    bad.once(fault="status", status=500)
    call = ask()
    await say(call, config(model("a", bad.url), model("b", good.url), retries=1))
    assert [(each.target.model, each.status) for each in call.attempts] == [("a", 500), ("a", 200)]


async def test_every_target_gets_its_chance_and_each_reason_is_told(upstreams):
    servers = upstreams(6)
    for each in servers:
        each.always(fault="status", status=500, message="out of order")
    routes = config(*(model(f"m{i}", each.url) for i, each in enumerate(servers)))
    with pytest.raises(AllTargetsFailed) as caught:
        await answer(ask(), routes)
    assert [each.meter.requests for each in servers] == [1, 1, 1, 1, 1, 1]
    assert caught.value.message == "No target of 'chat' answered. " + "; ".join(f"m{i}: out of order" for i in range(6))


async def test_the_other_credential_is_taken_when_one_is_rate_limited_and_the_first_cools_off(upstream):
    upstream.for_key("sk-a", fault="status", status=429, retry_after=20)
    routes = config(model("a", upstream.url, keys=("sk-a", "sk-b")))
    for _ in range(4):
        await say(ask(), routes)
    used = [reading.key for reading in upstream.meter.readings]
    assert (used.count("sk-a"), used.count("sk-b")) == (1, 4)


async def test_credentials_are_taken_in_turn(upstream):
    routes = config(model("a", upstream.url, keys=("sk-a", "sk-b", "sk-c")))
    for _ in range(6):
        await say(ask(), routes)
    used = [reading.key for reading in upstream.meter.readings]
    assert [used.count(key) for key in ("sk-a", "sk-b", "sk-c")] == [2, 2, 2]


async def test_a_credential_that_the_provider_refuses_does_not_stop_the_other(upstream):
    upstream.for_key("sk-a", fault="status", status=401)
    routes = config(model("a", upstream.url, keys=("sk-a", "sk-b")))
    for _ in range(4):
        await say(ask(), routes)
    assert [reading.key for reading in upstream.meter.readings].count("sk-a") == 1


async def test_a_short_retry_after_of_the_only_target_is_waited_for(upstream):
    upstream.once(fault="status", status=429, retry_after=0.2)
    call = ask()
    await say(call, config(model("a", upstream.url)))
    assert [each.status for each in call.attempts] == [429, 200]
    assert call.attempts[1].started - call.attempts[0].started >= 0.2


async def test_a_long_retry_after_of_the_only_target_is_told_and_obeyed(upstream):
    upstream.always(fault="status", status=429, retry_after=20)
    routes = config(model("a", upstream.url))
    for _ in range(3):
        with pytest.raises(UpstreamUnavailable) as caught:
            await answer(ask(), routes)
        assert caught.value.status == 429
        assert 1 <= int(caught.value.headers["retry-after"]) <= 20
    assert upstream.meter.requests == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_the_calls_deadline_ends_it(upstream, stream):
    upstream.always(fault="hang", at="headers")
    routes = config(model("a", upstream.url), timeouts=Timeouts())
    with pytest.raises(DeadlinePassed):
        await answer(ask(stream=stream, timeout_s=0.2), routes)


async def test_the_deadline_ends_an_answer_that_has_begun(upstream):
    upstream.always(token_delay_s=0.05, tokens=100)
    call = ask(stream=True, timeout_s=0.4)
    with pytest.raises(DeadlinePassed):
        await answer(call, config(model("a", upstream.url)))
    assert call.said > 0


async def test_a_targets_own_first_byte_limit_holds_for_whole_answers_too(upstreams):
    slow, good = upstreams(2)
    slow.always(delay_s=1.0)
    call = ask()
    await say(call, config(TargetView(model("a", slow.url), first_byte_timeout_s=0.2), model("b", good.url)))
    assert [(each.target.model, each.outcome) for each in call.attempts] == [("a", "timeout"), ("b", "answered")]


async def test_an_unknown_name_is_not_found_and_a_closed_one_forbidden(upstream):
    routes = config(model("a", upstream.url))
    with pytest.raises(NotFound) as caught:
        choose(ask("nothing"), routes)
    assert caught.value.code == "model_not_found"
    with pytest.raises(Forbidden) as caught:
        choose(ask("a", caller=Caller("w", "w", "k", "k", models=frozenset({"chat"}))), routes)
    assert caught.value.code == "model_not_allowed"


async def test_an_embedding_model_does_not_chat(upstream):
    with pytest.raises(InvalidRequest, match="is a model for embedding, not for text"):
        choose(ask("e"), config(model("e", upstream.url, kind="embedding")))


async def test_a_client_that_leaves_is_hung_up_for_before_the_bracket_is_left(upstream):
    upstream.always(token_delay_s=0.02, tokens=200)
    call, routes = ask(stream=True), config(model("a", upstream.url))
    choose(call, routes)

    async def listen():
        async with opened(call, routes) as deltas:
            async for _ in deltas:
                pass

    task = asyncio.create_task(listen())
    await asyncio.sleep(0.2)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await asyncio.sleep(0.1)
    assert [(each.outcome, each.ended is not None) for each in call.attempts] == [("client_left", True)]
    assert upstream.meter.readings[0].hung_up


async def test_hooks_hear_of_each_attempt_before_it_is_sent_and_after_it_ended(upstreams):
    bad, good = upstreams(2)
    bad.always(fault="status", status=400, code="context_length_exceeded", message="context length")
    heard = []

    class Hook:
        def starting(self, call, attempt):
            heard.append(("starting", attempt.target.model, bad.meter.requests + good.meter.requests))

        async def ended(self, call, attempt):
            heard.append(("ended", attempt.target.model, attempt.outcome, attempt.usage.output))

    call = ask()
    call.hooks = (Hook(),)
    await say(
        call,
        config(model("a", bad.url), model("b", good.url), fall_back_on=frozenset({"context_too_long"})),
    )
    assert heard == [
        ("starting", "a", 0),
        ("ended", "a", "refused", 0),
        ("starting", "b", 1),
        ("ended", "b", "answered", 12),
    ]


async def test_a_hook_that_refuses_sends_nothing(upstream):
    class Hook:
        def starting(self, call, attempt):
            raise Forbidden("no")

        def ended(self, call, attempt):
            return None

    call = ask()
    call.hooks = (Hook(),)
    with pytest.raises(Forbidden):
        await answer(call, config(model("a", upstream.url)))
    assert upstream.meter.requests == 0


async def test_what_a_plain_call_was_decided_is_its_routes_own_list(upstream):
    routes = config(model("a", upstream.url), model("b", upstream.url))
    first, second = ask(), ask()
    await say(first, routes)
    await say(second, routes)
    assert first.decision is second.decision
    assert first.decision == [
        {"model": "a", "provider": "p-a", "state": "candidate"},
        {"model": "b", "provider": "p-b", "state": "candidate"},
    ]
