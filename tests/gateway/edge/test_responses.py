import json

import openai
import pytest

from gateway.core.call import Delta
from gateway.core.errors import InvalidRequest, Unsupported
from gateway.edge.responses import Responses
from gateway.edge.responses_answer import sealed, unsealed
from tests.gateway.edge.answers import held, recorded
from tests.gateway.edge.through import Gateway, call_of, sse
from tests.recorded import exchanges

NATIVE = [each for each in exchanges("openai_responses") if each["status"] == 200]


def read(response) -> tuple:
    parts = [part for item in response.output if item.type == "message" for part in item.content]
    text = "".join(part.text if part.type == "output_text" else part.refusal for part in parts)
    thought = "".join(part.text for item in response.output if item.type == "reasoning" for part in item.summary)
    calls = [(item.name, item.arguments) for item in response.output if item.type == "function_call"]
    calls += [(item.name, item.input) for item in response.output if item.type == "custom_tool_call"]
    finish = response.incomplete_details.reason if response.incomplete_details else None
    return text, thought, calls, finish, response.usage.input_tokens, response.usage.output_tokens


def expected(exchange) -> tuple:
    text, thought, calls, finish, asked, said = held(exchange)
    return text, thought, calls, {"length": "max_output_tokens"}.get(finish), asked, said


@pytest.mark.parametrize("exchange", recorded(streamed=False), ids=lambda each: each["id"])
def test_openais_sdk_reads_everything_that_a_chat_server_answered(exchange):
    gateway = Gateway(exchange["response"], kind="openai_compatible")
    assert read(gateway.openai.responses.create(model="m", input="hi")) == expected(exchange)


@pytest.mark.parametrize("exchange", recorded(streamed=True), ids=lambda each: each["id"])
def test_openais_sdk_streams_everything_that_a_chat_server_answered(exchange):
    gateway = Gateway(exchange["response"], kind="openai_compatible")
    with gateway.openai.responses.stream(model="m", input="hi") as stream:
        seen = list(stream)
        final = stream.get_final_response()
    assert read(final) == expected(exchange)
    assert final.usage.cost_usd == "1.5"
    assert [event.sequence_number for event in seen if hasattr(event, "sequence_number")] == list(range(len(seen)))
    for kind in ("output_text", "function_call_arguments", "reasoning_summary_text"):
        deltas = "".join(event.delta for event in seen if event.type == f"response.{kind}.delta")
        field = "arguments" if kind == "function_call_arguments" else "text"
        done = "".join(getattr(event, field) for event in seen if event.type == f"response.{kind}.done")
        assert deltas == done


@pytest.mark.parametrize("exchange", [each for each in NATIVE if each["streamed"]], ids=lambda each: each["id"])
def test_a_native_stream_passes_with_nothing_but_the_cost_added(exchange):
    gateway = Gateway(exchange["response"])
    with gateway.openai.responses.create(model="m", input="hi", stream=True) as stream:
        for _ in stream:
            pass
    written = [json.loads(line[5:]) for line in gateway.written.decode().splitlines() if line.startswith("data:")]
    came = [json.loads(line[5:]) for line in exchange["response"].splitlines() if line.startswith("data:")]
    assert written[-1]["response"]["usage"].pop("cost_usd") == "1.5"
    assert written == came


@pytest.mark.parametrize("exchange", NATIVE[:20], ids=lambda each: each["id"])
def test_a_native_request_and_its_answer_pass_as_they_came(exchange):
    if exchange["streamed"]:
        return
    gateway = Gateway(exchange["response"])
    request = {name: value for name, value in exchange["request"].items() if name != "stream"}
    raw = gateway.openai.responses.with_raw_response.create(model="m", input="", extra_body=request)
    assert raw.http_response.content == exchange["response"].encode()
    assert gateway.sent == request | {"model": "theirs"}


def translatable() -> list:
    def refused(body):
        try:
            Responses().chat(body)
        except Unsupported:
            return True
        return False

    return [each for each in exchanges("openai_responses") if not refused(each["request"])]


def test_every_recorded_request_is_translated_or_refused_by_name():
    assert len(translatable()) == 67


@pytest.mark.parametrize("exchange", translatable(), ids=lambda each: each["id"])
def test_a_translated_request_keeps_every_text_and_every_call(exchange):
    request = exchange["request"]
    chat = json.dumps(Responses().chat(request))
    items = request["input"] if isinstance(request["input"], list) else [{"content": request["input"]}]
    for item in items:
        for name in ("name", "call_id", "arguments"):
            if isinstance(item.get(name), str):
                assert json.dumps(item[name]) in chat
        content = item.get("content") or item.get("output") or ()
        for part in [{"text": content}] if isinstance(content, str) else content:
            if part.get("text") is not None:
                assert json.dumps(part["text"])[1:-1] in chat


BLOCKS = [{"type": "thinking", "thinking": "hm", "signature": "s"}]
EVERYTHING = {
    "model": "m",
    "instructions": "Be brief.",
    "input": [
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "look"},
                {"type": "input_image", "image_url": "https://x/y.png", "detail": "low"},
                {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,aGk="},
            ],
        },
        {"type": "reasoning", "id": "rs", "summary": [{"type": "summary_text", "text": "hm"}],
         "encrypted_content": sealed(BLOCKS)},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "ok"}]},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "custom_tool_call", "call_id": "c2", "name": "g", "input": "raw"},
        {"type": "function_call_output", "call_id": "c1", "output": "one"},
        {"type": "custom_tool_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "two"}]},
    ],
    "tools": [
        {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True},
        {"type": "custom", "name": "g", "format": {"type": "grammar", "syntax": "lark", "definition": "x"}},
    ],
    "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
    "text": {"format": {"type": "json_schema", "name": "s", "schema": {}, "strict": True}, "verbosity": "low"},
    "reasoning": {"effort": "high", "summary": "auto"},
    "max_output_tokens": 50,
    "top_logprobs": 2,
    "parallel_tool_calls": True,
    "store": False,
    "truncation": "disabled",
    "include": ["reasoning.encrypted_content"],
}  # fmt: skip
AS_CHAT = {
    "model": "m",
    "messages": [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "look"},
                {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "low"}},
                {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,aGk="}},
            ],
        },
        {
            "role": "assistant",
            "content": "ok",
            "reasoning_content": "hm",
            "thinking_blocks": BLOCKS,
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                {"id": "c2", "type": "custom", "custom": {"name": "g", "input": "raw"}},
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "one"},
        {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "two"}]},
    ],
    "tools": [
        {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}, "strict": True}},
        {
            "type": "custom",
            "custom": {
                "name": "g",
                "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "x"}},
            },
        },
    ],
    "tool_choice": {
        "type": "allowed_tools",
        "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "f"}}]},
    },
    "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {}, "strict": True}},
    "verbosity": "low",
    "reasoning_effort": "high",
    "max_completion_tokens": 50,
    "logprobs": True,
    "top_logprobs": 2,
    "parallel_tool_calls": True,
}


def test_a_request_with_everything_in_it_becomes_chat_completions():
    assert Responses().chat(EVERYTHING) == AS_CHAT


@pytest.mark.parametrize(
    ("fields", "kind", "param"),
    [
        ({"previous_response_id": "resp_1"}, Unsupported, "previous_response_id"),
        ({"conversation": "conv_1"}, Unsupported, "conversation"),
        ({"background": True}, Unsupported, "background"),
        ({"truncation": "auto"}, Unsupported, "truncation"),
        ({"tools": [{"type": "web_search"}]}, Unsupported, "tools[0]"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, Unsupported, "input[0]"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "x"}]}]}, Unsupported,
         "input[0].content[0]"),
        ({"input": 7}, InvalidRequest, "input"),
        ({"input": [{"role": "robot", "content": "x"}]}, InvalidRequest, "input[0].role"),
    ],
)  # fmt: skip
def test_what_cannot_be_said_in_chat_completions_is_refused_by_name(fields, kind, param):
    with pytest.raises(kind) as refused:
        Responses().chat({"model": "m", "input": "hi"} | fields)
    assert refused.value.param == param


def test_signatures_of_thinking_travel_sealed_and_come_back():
    blocks = [{"type": "thinking", "thinking": "é", "signature": "s"}, {"type": "redacted_thinking", "data": "z"}]
    assert unsealed(sealed(blocks)) == blocks
    for other in (None, "gAAAAAB", "tollgate:!!", "tollgate:aGk="):
        assert unsealed(other) == []


def test_citations_and_refusals_are_shown_where_this_form_has_them():
    cited = {
        "type": "url_citation",
        "url_citation": {"url": "https://x", "title": "X", "start_index": 1, "end_index": 2},
    }
    message = {"content": "see X", "annotations": [cited], "refusal": "no more"}
    call = call_of("/v1/responses")
    response = json.loads(
        call.form.whole(call, Delta(data={"choices": [{"message": message, "finish_reason": "stop"}]}))
    )
    [item] = response["output"]
    assert item["content"] == [
        {
            "type": "output_text",
            "text": "see X",
            "annotations": [
                {"type": "url_citation", "url": "https://x", "title": "X", "start_index": 1, "end_index": 2}
            ],
            "logprobs": [],
        },
        {"type": "refusal", "refusal": "no more"},
    ]


def test_a_stream_with_reasoning_signatures_citations_and_two_calls_is_read_by_the_sdk():
    cited = {"type": "url_citation", "url_citation": {"url": "https://x", "title": "X"}}
    blocks = [{"type": "thinking", "thinking": "hm", "signature": "s"}]
    answer = sse(
        {"id": "x", "model": "theirs", "created": 7, "choices": [{"index": 0, "delta": {"reasoning_content": "hm"}}]},
        {"choices": [{"index": 0, "delta": {"thinking_blocks": blocks}}]},
        {"choices": [{"index": 0, "delta": {"content": "see "}}]},
        {"choices": [{"index": 0, "delta": {"content": "X", "annotations": [cited]}}]},
        {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f"}}]}}]},
        {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}}]},
        {"choices": [{"index": 0, "delta": {"tool_calls": [
            {"index": 1, "id": "b", "type": "custom", "custom": {"name": "g", "input": "raw"}}]}}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]},
    )  # fmt: skip
    with Gateway(answer, kind="openai_compatible").openai.responses.stream(model="m", input="hi") as stream:
        final = stream.get_final_response()
    reasoning, message, call, custom = final.output
    assert unsealed(reasoning.encrypted_content) == blocks
    assert (message.content[0].text, message.content[0].annotations[0].url) == ("see X", "https://x")
    assert (call.call_id, call.name, call.arguments) == ("a", "f", "{}")
    assert (custom.call_id, custom.name, custom.input) == ("b", "g", "raw")
    assert (final.status, final.model, final.created_at) == ("completed", "theirs", 7)


def test_a_stream_that_breaks_off_ends_with_an_error_event():
    gateway = Gateway(sse({"id": "x", "choices": [{"delta": {"content": "Hi"}}]}, done=False), kind="openai_compatible")
    with pytest.raises(openai.APIError), gateway.openai.responses.create(model="m", input="hi", stream=True) as stream:
        list(stream)
    assert b"response.completed" not in gateway.written


def test_a_limit_that_was_reached_makes_the_response_incomplete():
    answer = {"choices": [{"message": {"content": "a"}, "finish_reason": "length"}]}
    call = call_of("/v1/responses", body={"max_output_tokens": 1, "metadata": None})
    response = json.loads(call.form.whole(call, Delta(data=answer)))
    assert (response["status"], response["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
