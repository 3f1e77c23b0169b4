import json

import openai
import pytest

from gateway.core import sse
from gateway.core.call import Delta, Usage
from gateway.core.errors import BudgetExceeded, UpstreamRejected
from gateway.edge.chat import Chat
from gateway.providers import provider_of
from tests.gateway.edge.through import Gateway, call_of, stream
from tests.gateway.edge.through import sse as written
from tests.recorded import exchanges

HELLO = {"id": "c1", "created": 7, "model": "gpt", "choices": [{"index": 0, "delta": {"content": "Hi"}}]}
STOP = {"id": "c1", "created": 7, "model": "gpt", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
USAGE = {"id": "c1", "created": 7, "model": "gpt", "choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 1}}


def events(data: bytes) -> list:
    splitter = sse.Splitter()
    found = [data for _, _, data in splitter.feed(data) + splitter.end()]
    return [json.loads(each) if each.startswith(b"{") else each for each in found]


def sent(answer: str, *, include_usage: bool) -> list:
    call = call_of(stream=True, include_usage=include_usage)
    gateway = Gateway(answer)
    return events(stream(call, provider_of(gateway.target).reader("chat", gateway.target), answer.encode()))


def test_a_caller_who_did_not_ask_for_usage_sees_every_other_byte_and_no_usage():
    assert sent(written(HELLO, STOP, USAGE), include_usage=False) == [HELLO, STOP, b"[DONE]"]


def test_the_last_chunk_with_usage_says_what_the_call_cost():
    cost = USAGE | {"usage": USAGE["usage"] | {"cost_usd": "1.5"}}
    assert sent(written(HELLO, STOP, USAGE), include_usage=True) == [HELLO, STOP, cost, b"[DONE]"]


def test_usage_beside_the_finish_says_what_the_call_cost_too():
    ended = STOP | {"usage": {"prompt_tokens": 5}}
    cost = STOP | {"usage": {"prompt_tokens": 5, "cost_usd": "1.5"}}
    assert sent(written(HELLO, ended), include_usage=True) == [HELLO, cost, b"[DONE]"]
    assert sent(written(HELLO, ended), include_usage=False) == [HELLO, ended, b"[DONE]"]


def test_a_caller_who_asked_for_usage_gets_it_also_where_the_provider_sent_none():
    *_, usage, done = sent(written(HELLO, STOP), include_usage=True)
    assert (usage["id"], usage["created"], usage["model"], usage["choices"]) == ("c1", 7, "gpt", [])
    assert (usage["usage"]["total_tokens"], usage["usage"]["cost_usd"], done) == (0, "1.5", b"[DONE]")


def test_a_stream_that_breaks_off_ends_with_an_error_and_without_done():
    error = sent(written(HELLO, done=False), include_usage=True)[-1]["error"]
    assert (error["code"], error["message"]) == ("upstream_error", "provider's stream ended before its end")


def test_changed_data_is_written_in_place_of_the_bytes():
    call = call_of(stream=True)
    assert events(call.form.writer(call).delta(Delta(data=HELLO))) == [HELLO]


def test_a_provider_s_error_object_keeps_its_fields_and_gets_a_hint():
    error = UpstreamRejected("no", kind="rejected", status=400, body={"message": "no", "code": "x", "extra": 1})
    shown = json.loads(Chat().error(error, "call-1"))["error"]
    assert shown == {
        "message": "no", "type": "api_error", "param": None, "code": "x", "extra": 1, "hint": error.hint,
    }  # fmt: skip


def test_our_own_error_says_what_to_do():
    error = BudgetExceeded("month has $1 left", param="budget")
    assert json.loads(Chat().error(error, "call-1"))["error"] == {
        "message": "month has $1 left",
        "type": "insufficient_quota",
        "param": "budget",
        "code": "budget_exceeded",
        "hint": error.hint,
    }


RECORDED = [*exchanges("openai_chat"), *exchanges("compatible_chat")]
ERROR_IN_STREAM = "5c014576eeff"
ANSWERED = [each for each in RECORDED if each["status"] == 200 and each["id"] not in ("11654f719979", "20b189af6270")]


@pytest.mark.parametrize("exchange", [each for each in ANSWERED if not each["streamed"]], ids=lambda each: each["id"])
def test_the_sdk_reads_through_the_gateway_what_it_reads_from_the_recording(exchange):
    gateway = Gateway(exchange["response"], kind="openai_compatible")
    request = {name: value for name, value in exchange["request"].items() if name != "stream"}
    extra = {"extra_body": request}
    got = gateway.openai.chat.completions.create(model="public", messages=[], **extra)

    assert json.loads(gateway.written or got.to_json(exclude_unset=True)) == json.loads(exchange["response"])
    assert gateway.sent == {k: v for k, v in request.items() if k != "models"} | {"model": "theirs"}


@pytest.mark.parametrize("exchange", [each for each in ANSWERED if each["streamed"]], ids=lambda each: each["id"])
def test_the_sdk_streams_through_the_gateway_what_it_streams_from_the_recording(exchange):
    gateway = Gateway(exchange["response"], kind="openai_compatible")
    request = {"stream_options": {"include_usage": True}} | exchange["request"]
    recorded = [json.loads(line[6:]) for line in exchange["response"].splitlines() if line.startswith("data: {")]
    chunks = []
    with gateway.openai.chat.completions.create(model="m", messages=[], extra_body=request, stream=True) as got:
        if exchange["id"] == ERROR_IN_STREAM:
            with pytest.raises(openai.APIError, match=recorded[-1]["error"]["message"]):
                chunks += list(got)
            return
        chunks += [json.loads(chunk.to_json(exclude_unset=True)) for chunk in got]
    assert chunks[-1]["usage"].pop("cost_usd") == "1.5"
    assert chunks == recorded


def test_usage_that_was_counted_here_is_marked_so():
    call = call_of(stream=True, include_usage=True, usage=Usage(input=3, output=4, estimated=True))
    usage = events(call.form.writer(call).end())[0]["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["estimated"]) == (3, 4, True)
