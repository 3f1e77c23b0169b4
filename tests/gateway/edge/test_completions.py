import dataclasses
import json

import pytest

from gateway.core.errors import InvalidRequest, Unsupported
from gateway.edge.completions import Completions
from tests.gateway.edge.answers import held, recorded
from tests.gateway.edge.through import Gateway, sse

OVER_CHAT = {"forms": ["chat"]}


@pytest.mark.parametrize("exchange", recorded(streamed=False)[::10], ids=lambda each: each["id"])
def test_the_sdk_reads_the_text_that_a_chat_server_answered(exchange):
    gateway = Gateway(exchange["response"], kind="openai_compatible", **OVER_CHAT)
    got = gateway.openai.completions.create(model="m", prompt="Once", max_tokens=5)
    text, _, _, finish, asked, said = held(exchange)
    assert (got.choices[0].text, got.choices[0].finish_reason or "") == (text, finish)
    assert (got.usage.prompt_tokens, got.usage.completion_tokens, got.object) == (asked, said, "text_completion")
    assert gateway.sent == {
        "model": "theirs",
        "max_completion_tokens": 5,
        "messages": [{"role": "user", "content": "Once"}],
    }


@pytest.mark.parametrize("exchange", recorded(streamed=True), ids=lambda each: each["id"])
def test_the_sdk_streams_the_text_that_a_chat_server_answered(exchange):
    gateway = Gateway(exchange["response"], kind="openai_compatible", **OVER_CHAT)
    options = {"include_usage": True}
    with gateway.openai.completions.create(model="m", prompt=["Once"], stream=True, stream_options=options) as stream:
        chunks = list(stream)
    text, _, _, finish, asked, _ = held(exchange)
    assert "".join(choice.text for chunk in chunks for choice in chunk.choices) == text
    assert [c.finish_reason for chunk in chunks for c in chunk.choices if c.finish_reason][-1:] == [finish]
    assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.cost_usd) == (asked, "1.5")


def test_a_server_that_speaks_the_form_gets_it_as_it_is():
    answer = {"id": "c", "object": "text_completion", "model": "x", "choices": [{"text": "a", "index": 0}], "extra": 1}
    gateway = Gateway(json.dumps(answer), kind="openai_compatible")
    got = gateway.openai.completions.with_raw_response.create(model="m", prompt=["a", "b"], echo=True)
    assert json.loads(got.http_response.content) == answer
    assert gateway.sent == {"model": "theirs", "prompt": ["a", "b"], "echo": True}


def test_log_probabilities_come_in_the_older_shape():
    token = {"token": "Hi", "logprob": -0.5, "top_logprobs": [{"token": "Ho", "logprob": -1.0}]}
    choice = {"index": 0, "delta": {"content": "Hi"}, "logprobs": {"content": [token]}}
    gateway = Gateway(sse({"id": "x", "choices": [choice]}), kind="openai_compatible", **OVER_CHAT)
    with gateway.openai.completions.create(model="m", prompt="a", logprobs=1, stream=True) as stream:
        [chunk] = list(stream)
    assert chunk.choices[0].logprobs.to_dict() == {
        "tokens": ["Hi"], "token_logprobs": [-0.5], "top_logprobs": [{"Ho": -1.0}], "text_offset": [0],
    }  # fmt: skip
    assert (gateway.sent["logprobs"], gateway.sent["top_logprobs"]) == (True, 1)


@pytest.mark.parametrize(
    ("fields", "kind", "param"),
    [
        ({"suffix": "x"}, Unsupported, "suffix"),
        ({"echo": True}, Unsupported, "echo"),
        ({"best_of": 2}, Unsupported, "best_of"),
        ({"prompt": ["a", "b"]}, Unsupported, "prompt"),
        ({"prompt": [1, 2]}, Unsupported, "prompt"),
        ({"prompt": None}, InvalidRequest, "prompt"),
    ],
)
def test_what_cannot_be_said_in_chat_completions_is_refused_by_name(fields, kind, param):
    with pytest.raises(kind) as refused:
        Completions().chat({"model": "m", "prompt": "a"} | fields)
    assert refused.value.param == param


@pytest.mark.parametrize(
    ("upstream", "sent"),
    [
        ("gpt-4o-mini", "messages"),
        ("ft:gpt-4.1-nano:acme::1", "messages"),
        ("o3-mini", "messages"),
        ("gpt-3.5-turbo-instruct", "prompt"),
        ("davinci-002", "prompt"),
        ("of-our-own", "prompt"),
    ],
)
def test_openais_chat_models_which_refuse_the_older_form_get_it_over_chat(upstream, sent):
    answer = {
        "id": "c",
        "object": "x",
        "model": "x",
        "choices": [{"index": 0, "text": "a", "message": {"content": "a"}}],
    }
    gateway = Gateway(json.dumps(answer))
    gateway.target = dataclasses.replace(gateway.target, upstream=upstream)
    assert gateway.openai.completions.create(model="m", prompt="Once").choices[0].text == "a"
    assert sent in gateway.sent
