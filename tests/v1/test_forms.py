"""The promise to callers in every form: Anthropic's and OpenAI's official clients, pointed at the gateway, work."""

import json

import anthropic
import httpx
import openai
import pytest

from tests.installation import KEY, Installation

WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
ASK = "[fast] What is the weather in Paris?"


@pytest.fixture
def claude(gateway: Installation):
    with anthropic.Anthropic(api_key=KEY, base_url=gateway.url, max_retries=0) as client:
        yield client


@pytest.fixture
def gpt(gateway: Installation):
    with openai.OpenAI(api_key=KEY, base_url=f"{gateway.url}/v1", max_retries=0) as client:
        yield client


def test_anthropics_client_gets_answers_tools_and_usage_whole_and_streamed(claude) -> None:
    tools = [{"name": "get_weather", "input_schema": WEATHER}]
    asked = {"model": "chat", "max_tokens": 50, "tools": tools, "messages": [{"role": "user", "content": ASK}]}
    whole = claude.messages.create(**asked)
    with claude.messages.stream(**asked) as stream:
        streamed = stream.get_final_message()
    for message in (whole, streamed):
        assert [(block.name, block.input) for block in message.content] == [("get_weather", {"city": "Paris"})]
        assert (message.stop_reason, message.usage.output_tokens > 0) == ("tool_use", True)
    call = whole.content[0]
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}
    turns = [*asked["messages"], {"role": "assistant", "content": whole.content}, {"role": "user", "content": [result]}]
    answer = claude.messages.create(**asked | {"messages": turns})
    assert answer.content[0].text == "The tool answered: sunny"


def test_anthropics_client_gets_typed_errors(claude) -> None:
    with pytest.raises(anthropic.NotFoundError) as missing:
        claude.messages.create(model="nothing", max_tokens=5, messages=[{"role": "user", "content": "hi"}])
    assert missing.value.body["error"]["type"] == "not_found_error"
    stranger = claude.with_options(api_key="sk-nobody-knows-this")
    with pytest.raises(anthropic.AuthenticationError):
        stranger.messages.create(model="chat", max_tokens=5, messages=[{"role": "user", "content": "hi"}])


def test_the_responses_form_works_whole_and_streamed_with_tools_and_structure(gpt) -> None:
    tools = [{"type": "function", "name": "get_weather", "parameters": WEATHER, "strict": False}]
    whole = gpt.responses.create(model="chat", input=ASK, tools=tools)
    with gpt.responses.stream(model="chat", input=ASK, tools=tools) as stream:
        streamed = stream.until_done().get_final_response()
    for response in (whole, streamed):
        [call] = response.output
        assert (call.name, json.loads(call.arguments)) == ("get_weather", {"city": "Paris"})
    turns = [{"role": "user", "content": ASK}, call.to_dict(), output(call.call_id)]
    assert gpt.responses.create(model="chat", input=turns, tools=tools).output_text == "The tool answered: sunny"
    wanted = {"format": {"type": "json_schema", "name": "place", "schema": WEATHER, "strict": True}}
    shaped = gpt.responses.create(model="chat", input="[fast] I live in Rome", text=wanted)
    assert json.loads(shaped.output_text) == {"city": "Rome"}


def output(call_id: str) -> dict:
    return {"type": "function_call_output", "call_id": call_id, "output": "sunny"}


def test_state_that_no_provider_keeps_is_refused_by_name(gpt) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        gpt.responses.create(model="chat", input="hi", previous_response_id="resp_1")
    assert (refused.value.code, refused.value.param) == ("unsupported", "previous_response_id")


def test_the_older_completions_work_whole_and_streamed(gpt) -> None:
    whole = gpt.completions.create(model="chat", prompt="[fast] Say: one two")
    with gpt.completions.create(model="chat", prompt="[fast] Say: one two", stream=True) as stream:
        streamed = "".join(chunk.choices[0].text for chunk in stream if chunk.choices)
    assert (whole.choices[0].text, streamed) == ("one two", "one two")


def test_a_model_that_cannot_do_it_is_refused_clearly(gateway: Installation) -> None:
    for path, body in (("images/generations", {"prompt": "a cat"}), ("moderations", {"input": "a"})):
        answer = httpx.post(
            f"{gateway.url}/v1/{path}", json={"model": "chat", **body}, headers={"authorization": f"Bearer {KEY}"}
        )
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "unsupported")


UNSOUND = {"id": "c1", "object": "chat.completion", "created": 1, "model": "gpt-test", "usage": None}
MESSAGE = {"role": "assistant", "content": 5}


@pytest.mark.parametrize(
    ("stream", "kind", "body"),
    [
        (False, "application/json", json.dumps(UNSOUND | {"choices": [{"index": 0, "message": MESSAGE}]})),
        (True, "text/event-stream", f"data: {json.dumps(UNSOUND | {'choices': [{'index': 0, 'delta': MESSAGE}]})}\n\n"),
    ],
)
def test_an_answer_that_cannot_be_written_in_the_callers_form_is_recorded_as_failed(
    gateway, scripted, stream, kind, body
) -> None:
    scripted.replay(200, kind, body)
    asked = {"model": "scripted", "max_tokens": 5, "stream": stream, "messages": [{"role": "user", "content": "hi"}]}
    answer = httpx.post(f"{gateway.url}/v1/messages", json=asked, headers={"x-api-key": KEY}, timeout=30)
    scripted.forget()
    assert answer.status_code == 502
    call = answer.headers["x-request-id"]
    [line] = gateway.manage("calls", "--id", call, "--jsonl").stdout.splitlines()
    record = json.loads(line)
    assert (record["outcome"], record["status"], record["code"]) == ("failed", 502, answer.json()["error"]["code"])


def test_forms_that_only_some_providers_serve_pass_through(gpt, scripted) -> None:
    scripted.replay(200, "application/json", '{"created": 1, "data": [{"b64_json": "aGk="}]}')
    assert gpt.images.generate(model="scripted", prompt="a cat").data[0].b64_json == "aGk="
    scripted.replay(200, "application/json", '{"id": "m", "model": "x", "results": [{"flagged": false}]}')
    assert gpt.moderations.create(model="scripted", input="hi").results[0].flagged is False
    scripted.replay(200, "audio/mpeg", b"\x00\xff sound")
    spoken = gpt.audio.speech.create(model="scripted", voice="alloy", input="hi")
    assert (spoken.content, spoken.response.headers["content-type"]) == (b"\x00\xff sound", "audio/mpeg")
    scripted.replay(200, "application/json", '{"text": "hello"}')
    heard = gpt.audio.transcriptions.create(model="scripted", file=("a.wav", b"\x00\xff" * 1000))
    assert heard.text == "hello"
    scripted.forget()
