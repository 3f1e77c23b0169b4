"""Every kind of provider, in every form, against a server that others wrote: npm's @copilotkit/aimock.

`make mock-server` installs it, where npm is there; without it these tests are skipped and say so.
"""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import anthropic
import cohere
import httpx
import openai
import pytest

from tests.installation import KEY, ROOT, Installation, free_port

CLI = ROOT / "tests/mock_server/node_modules/@copilotkit/aimock/dist/cli.js"
TEXT = "Hello there, naïve 🙂 friend."
SUNNY = "Sunny in Paris ☀."
FIXTURES = {
    "fixtures": [
        {
            "match": {"userMessage": "weather", "hasToolResult": True},
            "response": {"content": "Sunny in Paris ☀."},
        },
        {
            "match": {"userMessage": "weather"},
            "response": {"toolCalls": [{"name": "get_weather", "arguments": '{"city":"Paris"}'}]},
        },
        {
            "match": {"userMessage": "two places"},
            "response": {
                "toolCalls": [
                    {"name": "get_weather", "arguments": '{"city":"Paris"}'},
                    {"name": "get_weather", "arguments": '{"city":"Rome"}'},
                ]
            },
        },
        {"match": {"userMessage": "as JSON"}, "response": {"content": '{"city": "Rome"}'}},
        {
            "match": {"userMessage": "hello"},
            "response": {
                "content": TEXT,
                "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
            },
        },
        {
            "match": {"userMessage": "wrong"},
            "response": {"error": {"message": "that is wrong", "type": "invalid_request_error"}, "status": 400},
        },
    ]
}
WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}}
PROVIDERS = {
    "openai": "base_url: {url}/v1",
    "openai_compatible": "base_url: {url}/v1",
    "azure_openai": "base_url: {url}, api_version: 2024-10-21",
    "mistral": "base_url: {url}/v1",
    "anthropic": "base_url: {url}",
    "gemini": "base_url: {url}",
    "vertex": "base_url: {url}, region: us-central1, quirks: {{project: p}}",
    "bedrock": "base_url: {url}, region: us-east-1",
    "cohere": "base_url: {url}",
}
KINDS = tuple(PROVIDERS)
TOOL_FOR_SCHEMA = {"bedrock"}  # whose older models are asked for a forced tool, which this server does not answer with
EMBEDDING = {  # Gemini's, Vertex's and Bedrock's ways to embed are not in this server; they are replayed from recordings
    "openai": "text-embedding-3-small",
    "openai_compatible": "nomic-embed",
    "azure_openai": "text-embedding-3-small",
    "mistral": "mistral-embed",
    "cohere": "embed-v4.0",
}
UPSTREAM = {
    "anthropic": "claude-sonnet-4-5",
    "gemini": "gemini-2.5-flash",
    "vertex": "gemini-2.5-flash",
    "bedrock": "anthropic.claude-3-5-sonnet-20241022-v2:0",
    "cohere": "command-r-plus",
}


@pytest.fixture(scope="module")
def mock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if not CLI.exists() or shutil.which("node") is None:
        pytest.skip("the mock server is not installed: `make mock-server` does, where node and npm are there")
    folder: Path = tmp_path_factory.mktemp("aimock")
    (folder / "fixtures.json").write_text(json.dumps(FIXTURES))
    port = free_port()
    command = ["node", str(CLI), "--port", str(port), "--fixtures", str(folder / "fixtures.json")]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline:
                try:
                    httpx.get(f"http://127.0.0.1:{port}/health", timeout=2)
                    break
                except httpx.TransportError:
                    time.sleep(0.1)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def gateway(mock: str) -> Iterator[Installation]:
    models = "\n".join(f"  - {{name: {k}, provider: {k}, upstream: '{UPSTREAM.get(k, 'gpt-4o')}'}}" for k in KINDS)
    embedding = "\n".join(
        f"  - {{name: {k}-embedding, provider: {k}, upstream: '{upstream}', kind: embedding}}"
        for k, upstream in EMBEDDING.items()
    )
    providers = "\n".join(
        f"  - {{name: {k}, kind: {k}, {more.format(url=mock)}, credentials: [{{name: a, secret: {{env: {k.upper()}}}}}]}}"
        for k, more in PROVIDERS.items()
    )
    secrets = {k.upper(): "AK:SK" if k == "bedrock" else "sk-mock" for k in KINDS}
    text = f"""
version: 1
providers:
{providers}
models:
{models}
{embedding}
  - {{name: ranker, provider: cohere, upstream: rerank-v3.5, kind: rerank}}
workspaces:
  - {{name: acme, on_unpriced: allow, keys: [{{name: all, secret: {{env: KEY}}}}]}}
"""
    with Installation() as installation:
        installation.apply(text, KEY=KEY, **secrets)
        yield installation.start()


@pytest.fixture(scope="module")
def gpt(gateway: Installation) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key=KEY, base_url=f"{gateway.url}/v1", max_retries=0) as client:
        yield client


@pytest.mark.parametrize("kind", KINDS)
def test_chat_completions_whole_and_streamed(gpt, kind):
    asked = {"model": kind, "messages": [{"role": "user", "content": "hello"}]}
    whole = gpt.chat.completions.create(**asked)
    assert (whole.choices[0].message.content, whole.choices[0].finish_reason) == (TEXT, "stop")
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (11, 7)
    chunks = list(gpt.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert said == TEXT
    if kind != "mistral":  # Mistral reports usage without being asked; this server does not
        assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens) == (11, 7)


@pytest.mark.parametrize("kind", KINDS)
def test_tool_calls_whole_and_streamed(gpt, kind):
    tools = [{"type": "function", "function": {"name": "get_weather", "parameters": WEATHER}}]
    asked = {"model": kind, "messages": [{"role": "user", "content": "weather"}], "tools": tools}
    whole = gpt.chat.completions.create(**asked)
    call = whole.choices[0].message.tool_calls[0].function
    assert (call.name, json.loads(call.arguments)) == ("get_weather", {"city": "Paris"})
    assert whole.choices[0].finish_reason == "tool_calls"
    with gpt.chat.completions.stream(**asked) as stream:
        streamed = stream.get_final_completion()
    call = streamed.choices[0].message.tool_calls[0].function
    assert (call.name, json.loads(call.arguments)) == ("get_weather", {"city": "Paris"})


@pytest.mark.parametrize("kind", KINDS)
def test_a_tool_is_called_and_its_result_answered_in_chat_completions(gpt, kind):
    tools = [{"type": "function", "function": {"name": "get_weather", "parameters": WEATHER}}]
    asked = [{"role": "user", "content": "weather"}]
    called = gpt.chat.completions.create(model=kind, messages=asked, tools=tools).choices[0].message
    result = {"role": "tool", "tool_call_id": called.tool_calls[0].id, "content": "sunny"}
    turns = [*asked, called.to_dict(), result]
    assert gpt.chat.completions.create(model=kind, messages=turns, tools=tools).choices[0].message.content == SUNNY
    with gpt.chat.completions.stream(model=kind, messages=turns, tools=tools) as stream:
        assert stream.get_final_completion().choices[0].message.content == SUNNY


@pytest.mark.parametrize("kind", KINDS)
def test_a_tool_is_called_and_its_result_answered_in_messages(gateway, kind):
    tools = [{"name": "get_weather", "input_schema": WEATHER}]
    asked = [{"role": "user", "content": "weather"}]
    with anthropic.Anthropic(api_key=KEY, base_url=gateway.url, max_retries=0) as client:
        with client.messages.stream(model=kind, max_tokens=50, messages=asked, tools=tools) as stream:
            called = stream.get_final_message()
        assert called.stop_reason == "tool_use"
        [call] = [block for block in called.content if block.type == "tool_use"]
        assert (call.name, call.input) == ("get_weather", {"city": "Paris"})
        result = {"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}
        turns = [*asked, {"role": "assistant", "content": called.content}, {"role": "user", "content": [result]}]
        answer = client.messages.create(model=kind, max_tokens=50, messages=turns, tools=tools)
    assert [block.text for block in answer.content] == [SUNNY]


@pytest.mark.parametrize("kind", KINDS)
def test_a_tool_is_called_and_its_result_answered_in_the_responses_form(gpt, kind):
    tools = [{"type": "function", "name": "get_weather", "parameters": WEATHER, "strict": False}]
    asked = [{"role": "user", "content": "weather"}]
    with gpt.responses.stream(model=kind, input=asked, tools=tools) as stream:
        [call] = [each for each in stream.until_done().get_final_response().output if each.type == "function_call"]
    assert (call.name, json.loads(call.arguments)) == ("get_weather", {"city": "Paris"})
    said = {"type": "function_call", "call_id": call.call_id, "name": call.name, "arguments": call.arguments}
    turns = [*asked, said, {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}]
    assert gpt.responses.create(model=kind, input=turns, tools=tools).output_text == SUNNY


@pytest.mark.parametrize("kind", KINDS)
def test_parallel_tool_calls_whole_and_streamed(gpt, kind):
    tools = [{"type": "function", "function": {"name": "get_weather", "parameters": WEATHER}}]
    asked = {"model": kind, "messages": [{"role": "user", "content": "two places"}], "tools": tools}
    whole = gpt.chat.completions.create(**asked)
    with gpt.chat.completions.stream(**asked) as stream:
        streamed = stream.get_final_completion()
    for answer in (whole, streamed):
        calls = answer.choices[0].message.tool_calls
        assert [json.loads(call.function.arguments)["city"] for call in calls] == ["Paris", "Rome"]
        assert len({call.id for call in calls}) == 2


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in TOOL_FOR_SCHEMA])
def test_structured_output(gpt, kind):
    schema = {"name": "place", "schema": WEATHER, "strict": True}
    asked = {"model": kind, "messages": [{"role": "user", "content": "as JSON"}]}
    answer = gpt.chat.completions.create(**asked, response_format={"type": "json_schema", "json_schema": schema})
    assert json.loads(answer.choices[0].message.content) == {"city": "Rome"}


@pytest.mark.parametrize("kind", EMBEDDING)
def test_embeddings(gpt, kind):
    answer = gpt.embeddings.create(model=f"{kind}-embedding", input=["hello", "goodbye"])
    assert [each.index for each in answer.data] == [0, 1]
    assert len(answer.data[0].embedding) > 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_providers_own_refusal_keeps_its_status_and_message(gpt, kind):
    with pytest.raises(openai.BadRequestError, match="that is wrong"):
        gpt.chat.completions.create(model=kind, messages=[{"role": "user", "content": "wrong"}])


@pytest.mark.parametrize("kind", KINDS)
def test_anthropics_client_whole_and_streamed(gateway, kind):
    with anthropic.Anthropic(api_key=KEY, base_url=gateway.url, max_retries=0) as client:
        asked = {"model": kind, "max_tokens": 50, "messages": [{"role": "user", "content": "hello"}]}
        whole = client.messages.create(**asked)
        assert ([block.text for block in whole.content], whole.stop_reason) == ([TEXT], "end_turn")
        with client.messages.stream(**asked) as stream:
            said = "".join(stream.text_stream)
        assert said == TEXT


@pytest.mark.parametrize("kind", KINDS)
def test_the_responses_form_whole_and_streamed(gpt, kind):
    assert gpt.responses.create(model=kind, input="hello").output_text == TEXT
    with gpt.responses.stream(model=kind, input="hello") as stream:
        said = stream.until_done().get_final_response().output_text
    assert said == TEXT


def test_the_cohere_client_gets_a_ranking(gateway):
    with httpx.Client() as connection:
        client = cohere.Client(KEY, base_url=gateway.url, httpx_client=connection)
        ranked = client.rerank(model="ranker", query="hello", documents=["a", "b"])
    assert ranked.meta.billed_units.search_units == 0
