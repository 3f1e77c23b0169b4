import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.call import Target, Usage
from gateway.core.errors import Unsupported, UpstreamBroken, UpstreamError, UpstreamRejected, UpstreamUnavailable
from gateway.providers.openai import OpenAI, OpenAICompatible
from tests.recorded import exchanges

TARGET = Target(
    model="public", provider="p", kind="openai", base_url="http://p.example/v1", upstream="theirs", secret="s3cret"
)
FORMS = {"/chat/completions": "chat", "/responses": "responses", "/embeddings": "embeddings"}
NO_ANSWER = ("11654f719979", "20b189af6270")  # a server of another kind that echoes its request
ERROR_IN_STREAM = "5c014576eeff"


def target(**quirks) -> Target:
    return Target(
        model="m", provider="p", kind="openai_compatible", base_url="http://p/v1", upstream="u", quirks=quirks
    )


def replayed() -> list:
    rows = []
    for name in ("openai_chat", "compatible_chat", "openai_responses", "compatible_responses", "azure_chat"):
        rows += [pytest.param(name, each, id=f"{name}-{each['id']}") for each in exchanges(name)]
    rows += [
        pytest.param("openai_embeddings", each, id=each["id"])
        for each in exchanges("openai_embeddings")
        if each["path"] == "/v1/embeddings"
    ]
    return rows


def form_of(path: str) -> str:
    return next(form for end, form in FORMS.items() if path.endswith(end))


def chunks_of(text: str) -> list[dict]:
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]


@pytest.mark.parametrize(("name", "exchange"), replayed())
def test_a_recorded_request_reaches_the_server_unchanged_but_for_what_is_named(name, exchange):
    request, form = exchange["request"], form_of(exchange["path"])
    adapter = OpenAI() if name.startswith("openai") else OpenAICompatible()

    out = adapter.request(request, form, TARGET, stream=bool(request.get("stream")))

    expected = request | {"model": "theirs"}
    if request.get("stream") and form == "chat":
        expected["stream_options"] = (request.get("stream_options") or {}) | {"include_usage": True}
    assert json.loads(out.body) == expected
    assert out.headers["authorization"] == "Bearer s3cret"


@pytest.mark.parametrize(("name", "exchange"), [row for row in replayed() if not row.values[1]["streamed"]])
def test_a_recorded_answer_passes_as_it_came_and_is_read(name, exchange):
    adapter, raw, form = OpenAICompatible(), exchange["response"].encode(), form_of(exchange["path"])
    if exchange["status"] != 200:
        error = adapter.error(exchange["status"], {}, raw)
        expected = UpstreamUnavailable if exchange["status"] == 429 else UpstreamRejected
        theirs = json.loads(raw)
        shown = theirs["error"] if "error" in theirs else {"message": theirs["detail"]} | theirs
        assert (type(error), error.status, error.body) == (expected, exchange["status"], shown)
        return
    if exchange["id"] in NO_ANSWER:
        with pytest.raises(UpstreamUnavailable) as refused:
            adapter.answer(raw, form, TARGET)
        assert refused.value.kind == "bad_answer"
        return

    delta = adapter.answer(raw, form, TARGET)

    answer = json.loads(raw)
    assert (delta.raw, delta.data, delta.form) == (raw, None, form)
    usage = answer.get("usage") or {}
    if form == "chat":
        message = answer["choices"][0].get("message") or {}
        assert delta.text == (message.get("content") or "") + (message.get("refusal") or "")
        assert delta.finish == answer["choices"][0]["finish_reason"]
        assert (delta.usage.input, delta.usage.output) == (usage["prompt_tokens"], usage["completion_tokens"])
        for call in message.get("tool_calls") or ():
            assert (call.get("function") or call.get("custom"))["name"] in delta.hidden
    elif form == "responses":
        parts = [part for item in answer["output"] for part in item.get("content") or () if item["type"] == "message"]
        assert delta.text == "".join(part["text"] for part in parts)
        assert (delta.usage is None) == (not usage)
        if usage:
            assert (delta.usage.input, delta.usage.output) == (usage["input_tokens"], usage["output_tokens"])
    else:
        assert delta.usage.input == usage.get("prompt_tokens", usage["total_tokens"])


STREAMED = [row for row in replayed() if row.values[1]["streamed"] and row.values[1]["id"] != ERROR_IN_STREAM]


def deltas_of(raw: bytes, form: str, size: int) -> list:
    reader = OpenAICompatible().reader(form, TARGET)
    deltas = [delta for at in range(0, len(raw), size) for delta in reader.feed(raw[at : at + size])]
    return deltas + reader.end()


def summed(deltas: list) -> tuple:
    usages = [delta.usage for delta in deltas if delta.usage]
    return (
        "".join(delta.text for delta in deltas),
        "".join(delta.hidden for delta in deltas),
        [delta.finish for delta in deltas if delta.finish],
        usages[-1] if usages else None,
    )


@pytest.mark.parametrize(("name", "exchange"), STREAMED)
def test_a_recorded_stream_is_forwarded_byte_for_byte_and_read(name, exchange):
    raw, form = exchange["response"].encode(), form_of(exchange["path"])
    if not raw.endswith(b"\n\n"):
        raw = raw.rstrip(b"\n") + b"\n\n"

    deltas = deltas_of(raw, form, len(raw))

    assert b"".join(delta.raw for delta in deltas) == raw.removesuffix(b"data: [DONE]\n\n")
    text, _, finishes, usage = summed(deltas)
    chunks = chunks_of(exchange["response"])
    if form == "chat":
        choices = [choice for chunk in chunks for choice in chunk["choices"]]
        assert text == "".join(choice["delta"].get("content") or "" for choice in choices)
        assert finishes == [choice["finish_reason"] for choice in choices if choice.get("finish_reason")]
        reported = [chunk["usage"] for chunk in chunks if chunk.get("usage")][-1]
        assert (usage.input, usage.output) == (reported["prompt_tokens"], reported["completion_tokens"])
    else:
        said = [chunk["delta"] for chunk in chunks if chunk["type"] == "response.output_text.delta"]
        assert text == "".join(said)
        assert (usage.input, usage.output) == tuple(
            chunks[-1]["response"]["usage"][name] for name in ("input_tokens", "output_tokens")
        )


@pytest.mark.parametrize(("name", "exchange"), STREAMED[:6] + STREAMED[-3:])
def test_a_recorded_stream_reads_the_same_however_it_is_cut(name, exchange):
    raw, form = exchange["response"].encode(), form_of(exchange["path"])
    expected = summed(deltas_of(raw, form, len(raw)))
    for size in (1, 2, 3, 7, 61, 4096):
        assert summed(deltas_of(raw, form, size)) == expected


@pytest.mark.parametrize(("name", "exchange"), STREAMED[:3] + STREAMED[-3:])
def test_a_recorded_stream_that_is_cut_anywhere_never_looks_finished(name, exchange):
    raw, form = exchange["response"].encode().rstrip(b"\n"), form_of(exchange["path"])
    step = max(1, len(raw) // 400)
    for end in [*range(0, len(raw) - 1, step), len(raw) - 1]:
        reader = OpenAICompatible().reader(form, TARGET)
        with pytest.raises(UpstreamBroken):
            _ = reader.feed(raw[:end]) + reader.end()


def test_an_error_inside_a_stream_keeps_the_providers_words():
    exchange = next(each for each in exchanges("compatible_chat") if each["id"] == ERROR_IN_STREAM)
    reader = OpenAICompatible().reader("chat", TARGET)
    said = reader.feed(exchange["response"].encode())
    with pytest.raises(UpstreamBroken) as broken:
        reader.end()
    assert [delta.text for delta in said][:1] == [""]
    assert (broken.value.message, broken.value.status, broken.value.kind) == (
        "Token limit reached",
        400,
        "context_too_long",
    )


def test_an_error_after_the_first_words_breaks_the_stream():
    reader = OpenAI().reader("chat", TARGET)
    reader.feed(b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n')
    with pytest.raises(UpstreamBroken) as broken:
        reader.feed(b'event: error\ndata: {"error":{"message":"gone","code":"oops"}}\n\n')
    assert (broken.value.message, broken.value.code) == ("gone", "oops")


def test_a_stream_without_done_ends_at_its_finish_where_the_row_says_so():
    said = b'data: {"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}\n\n'
    reader = OpenAICompatible().reader("chat", target(no_done=True))
    assert [delta.finish for delta in reader.feed(said)] == ["stop"]
    assert reader.end() == []
    reader = OpenAICompatible().reader("chat", target())
    reader.feed(said)
    with pytest.raises(UpstreamBroken):
        reader.end()


def test_the_chunk_that_holds_usage_alone_is_marked():
    reader = OpenAI().reader("chat", TARGET)
    chunks = reader.feed(
        b'data: {"choices":[{"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":1}}\n\n'
        b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":4,'
        b'"prompt_tokens_details":{"cached_tokens":3,"cache_write_tokens":2,"audio_tokens":1},'
        b'"completion_tokens_details":{"reasoning_tokens":2}}}\n\n'
    )
    assert [delta.usage_only for delta in chunks] == [False, True]
    assert chunks[1].usage == Usage(input=9, cached=3, cache_write=2, input_audio=1, output=4, reasoning=2)


@pytest.mark.parametrize(
    ("quirks", "body", "expected"),
    [
        ({"max_tokens_field": "max_tokens"}, {"max_completion_tokens": 5}, {"max_tokens": 5}),
        ({"max_tokens_field": "max_completion_tokens"}, {"max_tokens": 5}, {"max_completion_tokens": 5}),
        ({"drop": ["seed"]}, {"seed": 1, "n": 2}, {"n": 2}),
        (
            {"no_system_role": True},
            {"messages": [{"role": "developer", "content": "a"}, {"role": "user", "content": "b"}]},
            {"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]},
        ),
        (
            {"no_developer_role": True, "no_names": True, "plain_content": True},
            {"messages": [{"role": "developer", "name": "x", "content": [{"type": "text", "text": "a"}] * 2}]},
            {"messages": [{"role": "system", "content": "a\n\na"}]},
        ),
        (
            {"no_cache_control": True},
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "a", "cache_control": {}}]}]},
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}]},
        ),
    ],
)
def test_a_quirk_bends_the_request_and_leaves_the_callers_body_alone(quirks, body, expected):
    before = json.dumps(body)
    out = OpenAICompatible().request(body, "chat", target(**quirks), stream=False)
    assert json.loads(out.body) == expected | {"model": "u"}
    assert json.dumps(body) == before


@pytest.mark.parametrize("quirk", ["no_stream_options", "no_stream_usage"])
def test_stream_options_are_left_out_where_the_server_refuses_them(quirk):
    body = {"stream_options": {"include_usage": True}}
    out = OpenAICompatible().request(body, "chat", target(**{quirk: True}), stream=True)
    assert json.loads(out.body) == {"model": "u", "stream": True}


def test_usage_is_always_asked_for_and_other_stream_options_stay():
    body = {"stream_options": {"include_usage": False, "include_obfuscation": False}}
    out = OpenAI().request(body, "chat", TARGET, stream=True)
    assert json.loads(out.body)["stream_options"] == {"include_usage": True, "include_obfuscation": False}


def test_the_credential_path_query_and_headers_follow_the_row():
    quirks = {"auth": "api-key", "paths": {"chat": "/c"}, "query": {"v": "1 2"}, "headers": {"X-Title": "t"}}
    at = Target(
        model="m", provider="p", kind="openai", base_url="http://p/v1/", upstream="u", secret="k", quirks=quirks
    )
    out = OpenAI().request({}, "chat", at, stream=False)
    assert out.url == "http://p/v1/c?v=1+2"
    assert out.headers == {
        "content-type": "application/json", "accept-encoding": "identity", "x-title": "t", "api-key": "k",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (429, b'{"error":{"message":"slow down","code":"rate"}}', (UpstreamUnavailable, "rate_limit", "slow down")),
        (408, b"", (UpstreamUnavailable, "timeout", "HTTP 408")),
        (500, b"<html>oh</html>", (UpstreamUnavailable, "server_error", "<html>oh</html>")),
        (
            401,
            b'{"error":{"message":"Incorrect API key provided: sk-abc"}}',
            (UpstreamUnavailable, "auth", "the provider refused the gateway's credential (HTTP 401)"),
        ),
        (400, b'{"error":{"message":"bad","code":"x"}}', (UpstreamRejected, "rejected", "bad")),
        (
            400,
            b'{"error":{"message":"too much","code":"context_length_exceeded"}}',
            (UpstreamRejected, "context_too_long", "too much"),
        ),
        (
            400,
            b'{"error":{"message":"no","code":"content_filter"}}',
            (UpstreamRejected, "content_refused", "no"),
        ),
        (404, b'{"detail":"Model nonexistent"}', (UpstreamRejected, "rejected", "Model nonexistent")),
        (302, b"", (UpstreamUnavailable, "bad_answer", "an answer with status 302")),
    ],
)
def test_an_error_answer_says_whether_another_target_may_do(status, body, expected):
    error = OpenAI().error(status, {}, body)
    assert (type(error), error.kind, error.message) == expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"retry-after": "2"}, 2.0),
        ({"retry-after-ms": "1500", "retry-after": "2"}, 1.5),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
    ],
)
def test_the_wait_that_a_provider_asks_for_is_read_in_seconds(headers, expected):
    assert OpenAI().error(429, headers, b"{}").retry_after == expected


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"choices": null}', b"\xff"])
def test_a_200_that_is_no_answer_is_the_targets_failure(body):
    with pytest.raises(UpstreamUnavailable) as refused:
        OpenAI().answer(body, "chat", TARGET)
    assert refused.value.kind == "bad_answer"


def test_an_error_object_with_status_200_counts_by_the_status_it_names():
    with pytest.raises(UpstreamUnavailable) as refused:
        OpenAI().answer(b'{"error":{"code":429,"message":"slow"}}', "chat", TARGET)
    assert (refused.value.kind, refused.value.status) == ("rate_limit", 429)


def test_pictures_in_a_tools_result_follow_as_the_users_where_tools_may_answer_text_only():
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
    calls = [{"id": name, "type": "function", "function": {"name": name, "arguments": "{}"}} for name in "ab"]
    asked = [{"role": "assistant", "tool_calls": calls}]
    first = {
        "role": "tool",
        "tool_call_id": "a",
        "content": [{"type": "text", "text": "see"}, image],
        "is_error": False,
    }
    second = {"role": "tool", "tool_call_id": "b", "content": [image]}
    out = OpenAI().request({"messages": [*asked, first, second]}, "chat", TARGET, stream=False)
    assert json.loads(out.body)["messages"] == [
        *asked,
        {"role": "tool", "tool_call_id": "a", "content": [{"type": "text", "text": "see"}]},
        {"role": "tool", "tool_call_id": "b", "content": "The result follows."},
        {"role": "user", "content": [image, image]},
    ]


def test_what_openai_has_not_is_refused_by_name_so_that_it_may_be_dropped():
    with pytest.raises(Unsupported) as refused:
        OpenAI().request({"messages": [], "top_k": 5}, "chat", TARGET, stream=False)
    assert refused.value.param == "top_k"


@given(st.binary(max_size=300), st.sampled_from(["chat", "completions", "responses"]))
def test_no_bytes_make_a_reader_fail_but_as_a_broken_stream(raw, form):
    reader = OpenAICompatible().reader(form, TARGET)
    with contextlib.suppress(UpstreamError):
        _ = reader.feed(raw) + reader.end()


CALL = {"id": "c", "function": {"name": "f", "arguments": "{}"}, "custom": {"name": "g", "input": "x"}}
MESSAGE = {"content": [{"type": "text", "text": "a"}], "refusal": "b", "reasoning_content": "c", "tool_calls": [CALL]}
USAGE = {"prompt_tokens": 1, "prompt_tokens_details": {"cached_tokens": 1}, "server_tool_use_details": {"x": 1}}
CHAT = {"choices": [{"message": MESSAGE, "delta": MESSAGE, "finish_reason": "stop", "text": "x"}], "usage": USAGE}
ITEM = {"type": "message", "content": [{"type": "output_text", "text": "a"}], "summary": [{"text": "b"}], "name": "f"}
RESPONSE = {"status": "incomplete", "incomplete_details": {"reason": "x"}, "output": [ITEM], "usage": USAGE}
ENDED = {"type": "response.completed", "response": RESPONSE}
FAILED = {"type": "error", "error": {"code": 400, "message": "m", "detail": [{"loc": ["a"], "msg": "b"}], "param": "p"}}
ODD = (None, 5, -1, True, "x", [], {}, [5], [None], [[]], {"a": 1})


def bent(value, odd):
    """Every way to put something odd in one place of a JSON value."""
    yield odd
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        for other in bent(each, odd):
            yield {**value, key: other} if isinstance(value, dict) else [*value[:key], other, *value[key + 1 :]]


@pytest.mark.parametrize("form", ["chat", "completions", "responses", "embeddings", "images", "audio_transcriptions"])
@pytest.mark.parametrize("shape", [CHAT, RESPONSE, ENDED, FAILED], ids=["chat", "response", "ended", "failed"])
def test_nothing_odd_in_an_answer_makes_the_adapter_fail_but_as_a_bad_answer(form, shape):
    for odd in ODD:
        for value in bent(shape, odd):
            raw = json.dumps(value).encode()
            with contextlib.suppress(UpstreamError):
                OpenAICompatible().answer(raw, form, TARGET)
            with contextlib.suppress(UpstreamError):
                reader = OpenAICompatible().reader(form, TARGET)
                _ = reader.feed(b"data: " + raw + b"\n\n") + reader.end()
            assert isinstance(OpenAICompatible().error(400, {}, raw), UpstreamError)
