"""The promise to callers: the official openai client, pointed at the gateway, works."""

from collections.abc import Iterator

import openai
import pytest
from openai import OpenAI

from tests.installation import KEY, Installation
from tests.v1.conftest import LIMITED_KEY

SAY_HELLO = [{"role": "user", "content": "[fast] Say hello"}]


@pytest.fixture(scope="module")
def client(gateway: Installation) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{gateway.url}/v1", api_key=KEY, max_retries=0) as client:
        yield client


def test_it_lists_what_the_key_may_call(client: OpenAI, gateway: Installation) -> None:
    every = ["chat", "demo-chat", "demo-embedding", "scripted", "scripted-embedding"]
    assert [model.id for model in client.models.list()] == every
    assert client.models.retrieve("chat").id == "chat"
    with OpenAI(base_url=f"{gateway.url}/v1", api_key=LIMITED_KEY, max_retries=0) as limited:
        assert [model.id for model in limited.models.list()] == ["chat"]


def test_it_completes(client: OpenAI) -> None:
    answer = client.chat.completions.create(model="chat", messages=SAY_HELLO)
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_it_streams_the_same_answer_piece_by_piece(client: OpenAI) -> None:
    whole = client.chat.completions.create(model="chat", messages=SAY_HELLO).choices[0].message.content
    chunks = list(client.chat.completions.create(model="chat", messages=SAY_HELLO, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert [chunk.usage for chunk in chunks] == [None] * len(chunks)


def test_usage_with_its_cost_ends_a_stream_whose_caller_asked_for_it(client: OpenAI) -> None:
    stream = client.chat.completions.create(
        model="scripted",
        messages=[{"role": "user", "content": "count"}],
        stream=True,
        stream_options={"include_usage": True},
    )
    last = list(stream)[-1]
    assert last.choices == []
    assert last.usage is not None
    nanos = last.usage.prompt_tokens * 1_000 + last.usage.completion_tokens * 2_000
    assert last.usage.model_extra == {"cost_usd": f"{nanos / 1e9:.9f}".rstrip("0")}


def test_it_calls_tools(client: OpenAI) -> None:
    tool = {
        "type": "function",
        "function": {
            "name": "get_weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
    messages = [{"role": "user", "content": "[fast] Use the get_weather tool for Cape Town"}]
    answer = client.chat.completions.create(model="chat", messages=messages, tools=[tool], tool_choice="required")
    assert answer.choices[0].finish_reason == "tool_calls"
    assert [call.function.name for call in answer.choices[0].message.tool_calls or []] == ["get_weather"]


def test_it_gives_structured_output(client: OpenAI) -> None:
    from pydantic import BaseModel

    class City(BaseModel):
        name: str
        people: int

    answer = client.chat.completions.parse(model="chat", messages=SAY_HELLO, response_format=City)
    assert isinstance(answer.choices[0].message.parsed, City)


def test_it_embeds(client: OpenAI) -> None:
    answer = client.embeddings.create(model="demo-embedding", input=["one", "two"])
    assert [each.index for each in answer.data] == [0, 1]
    assert len(answer.data[0].embedding) == len(answer.data[1].embedding) > 8


def test_a_wrong_key_is_an_authentication_error(gateway: Installation) -> None:
    stranger = OpenAI(base_url=f"{gateway.url}/v1", api_key="sk-wrong-key-000000", max_retries=0)
    with stranger, pytest.raises(openai.AuthenticationError) as caught:
        stranger.chat.completions.create(model="chat", messages=SAY_HELLO)
    assert caught.value.code == "invalid_api_key"
    assert caught.value.request_id


def test_an_unknown_model_is_not_found(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="nothing", messages=SAY_HELLO)
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


def test_a_model_that_the_key_may_not_call_is_denied(gateway: Installation) -> None:
    limited = OpenAI(base_url=f"{gateway.url}/v1", api_key=LIMITED_KEY, max_retries=0)
    with limited, pytest.raises(openai.PermissionDeniedError) as caught:
        limited.chat.completions.create(model="scripted", messages=SAY_HELLO)
    assert caught.value.code == "model_not_allowed"


def test_a_wrong_field_is_a_bad_request_that_names_it(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="chat", messages=SAY_HELLO, max_tokens=-1)
    assert (caught.value.code, caught.value.param) == ("invalid_request", "max_tokens")


def test_every_answer_carries_the_contracts_headers(client: OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model="scripted", messages=SAY_HELLO)
    named = {name for name in raw.headers if name.startswith(("x-tollgate-", "x-request-id", "server-timing"))}
    assert named == {
        "x-request-id",
        "x-tollgate-provider",
        "x-tollgate-model",
        "x-tollgate-attempts",
        "x-tollgate-cost-usd",
        "x-tollgate-cache",
        "server-timing",
    }
    assert (raw.headers["x-tollgate-provider"], raw.headers["x-tollgate-model"]) == ("upstream", "scripted")
