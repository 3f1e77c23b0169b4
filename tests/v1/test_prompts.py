"""A call names a prompt, in any form, and the official clients get what the prompt says."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from anthropic import Anthropic
from openai import OpenAI

from tests.installation import KEY, Installation
from tests.upstream.server import Upstream

CONTRACT = Path(__file__).parents[1] / "configurations/tollgate.yaml"
SECRETS = {
    name: f"sk-{name.lower()}-000000000000"
    for name in (
        "OPENAI_API_KEY",
        "OPENAI_API_KEY_2",
        "ANTHROPIC_API_KEY",
        "GEMINI_API_KEY",
        "ACME_BATCH_KEY",
        "ALERT_SECRET",
    )
} | {"BEDROCK_CREDENTIALS": "AKIA:secret", "ACME_WEB_KEY": KEY}
FIRST = [
    {"role": "system", "content": "You summarise in one sentence."},
    {"role": "user", "content": "Summarise:\nThe cat sat."},
]
SECOND = [
    {"role": "system", "content": "You summarise in one sentence, in plain words."},
    {"role": "user", "content": "Summarise:\nThe cat sat."},
]
INPUTS = {"text": "The cat sat."}
REPLY_WITH = [{"role": "user", "content": "Shorter!"}]


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        yield server


@pytest.fixture(scope="module")
def gateway(upstream: Upstream) -> Iterator[Installation]:
    text = CONTRACT.read_text().replace("http://127.0.0.1:9101/v1", upstream.url)
    text = text.replace("      - {model: claude-sonnet-4-5, first_byte_timeout_s: 10, timeout_s: 60}\n", "")
    with Installation() as installation:
        installation.apply(text, **SECRETS)
        yield installation.start(**SECRETS)


@pytest.fixture
def client(gateway: Installation, upstream: Upstream) -> Iterator[OpenAI]:
    upstream.meter.clear()
    with OpenAI(base_url=f"{gateway.url}/v1", api_key=KEY, max_retries=0) as client:
        yield client


def sent(upstream: Upstream) -> dict[str, Any]:
    """What the provider was sent, and nothing else was."""
    assert upstream.meter.requests == 1
    return upstream.meter.readings[0].body


@pytest.mark.parametrize(
    ("control", "version"),
    [
        ({"prompt": "summary@production"}, 1),
        ({"prompt": "summary"}, 1),
        ({"prompt": "summary@staging"}, 2),
        ({"prompt": "summary@v2"}, 2),
        ({"prompt": "summary@2"}, 2),
        ({"prompt": "summary", "channel": "staging"}, 2),
        ({"prompt": {"id": "summary", "version": 2}}, 2),
        ({"prompt": {"id": "summary", "version": "1"}}, 1),
        ({"prompt": {"id": "summary", "channel": "staging"}}, 2),
    ],
)
def test_a_call_names_a_version_or_a_channel(client, upstream, control, version) -> None:
    answer = client.chat.completions.with_raw_response.create(
        model="chat", messages=[], extra_body={**control, "inputs": INPUTS}
    )
    assert answer.headers["x-tollgate-prompt"] == f"summary@{version}"
    body = sent(upstream)
    assert body["messages"] == (FIRST, SECOND)[version - 1]
    assert (body["temperature"], body["max_tokens" if "max_tokens" in body else "max_completion_tokens"]) == (0.2, 120)


def test_inputs_may_stand_in_the_prompt_and_messages_are_appended(client, upstream) -> None:
    prompt = {"id": "summary", "version": 2, "variables": INPUTS}
    client.chat.completions.create(model="chat", messages=REPLY_WITH, extra_body={"prompt": prompt})
    assert sent(upstream)["messages"] == SECOND + REPLY_WITH


def test_what_the_caller_says_goes_before_what_the_version_says(client, upstream) -> None:
    client.chat.completions.create(
        model="gpt-4o-mini",
        messages=[],
        temperature=1,
        max_tokens=7,
        extra_body={"prompt": "summary", "inputs": INPUTS},
    )
    body = sent(upstream)
    assert (body["temperature"], body.get("max_tokens", body.get("max_completion_tokens"))) == (1, 7)


def test_a_model_may_be_a_prompt_and_then_the_prompts_route_is_used(client, upstream, gateway) -> None:
    answer = client.chat.completions.with_raw_response.create(
        model="prompt/summary@staging", messages=[], extra_body={"inputs": INPUTS}
    )
    assert answer.headers["x-tollgate-prompt"] == "summary@2"
    assert sent(upstream)["messages"] == SECOND
    line = gateway.manage("calls", "--id", answer.headers["x-request-id"], "--jsonl").stdout
    record = json.loads(line)
    assert (record["prompt"], record["route"], record["model"]) == ("summary@2", "chat", "gpt-4o-mini")


def test_a_prompt_is_completed_by_its_own_address(gateway, client, upstream) -> None:
    url, head = f"{gateway.url}/v1/prompts/summary/complete", {"authorization": f"Bearer {KEY}"}
    answer = httpx.post(url, headers=head, json={"inputs": INPUTS, "channel": "staging"})
    assert (answer.status_code, answer.headers["x-tollgate-prompt"]) == (200, "summary@2")
    assert answer.json()["object"] == "chat.completion"
    assert sent(upstream)["messages"] == SECOND
    streamed = httpx.post(url, headers=head, json={"inputs": INPUTS, "stream": True})
    assert streamed.text.endswith("data: [DONE]\n\n")
    assert httpx.get(url, headers=head).status_code == 405
    twice = httpx.post(url, headers=head, json={"inputs": INPUTS, "prompt": "other"})
    assert (twice.status_code, twice.json()["error"]["param"]) == (400, "prompt")


def test_it_streams(client, upstream) -> None:
    chunks = list(
        client.chat.completions.create(
            model="chat", messages=[], stream=True, extra_body={"prompt": "summary", "inputs": INPUTS}
        )
    )
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert sent(upstream)["messages"] == FIRST


@pytest.mark.parametrize("stream", [False, True])
def test_responses_are_rendered_and_answered_in_their_form(client, upstream, stream) -> None:
    prompt = {"id": "summary", "version": "2", "variables": INPUTS}
    answer = client.responses.create(prompt=prompt, model="chat", input="Shorter!", stream=stream)
    if stream:
        answer = list(answer)[-1].response
    assert (answer.object, answer.status) == ("response", "completed")
    assert sent(upstream)["messages"] == SECOND + REPLY_WITH
    assert upstream.meter.readings[0].path.endswith("/chat/completions")


def test_responses_need_no_input_beside_a_prompt(client, upstream) -> None:
    assert client.responses.create(prompt={"id": "summary", "variables": INPUTS}).status == "completed"
    assert sent(upstream)["messages"] == FIRST


def test_anthropics_client_names_a_prompt_too(gateway, client, upstream) -> None:
    with Anthropic(base_url=gateway.url, api_key=KEY, max_retries=0) as theirs:
        answer = theirs.messages.create(
            model="chat", max_tokens=99, messages=REPLY_WITH, extra_body={"prompt": "summary@2", "inputs": INPUTS}
        )
    assert (answer.type, answer.role, answer.stop_reason) == ("message", "assistant", "end_turn")
    assert sent(upstream)["messages"] == SECOND + REPLY_WITH


def test_the_older_completions_name_one_in_the_namespace(client, upstream) -> None:
    answer = client.completions.create(
        model="chat", prompt="Shorter!", extra_body={"tollgate": {"prompt": "summary@2", "inputs": INPUTS}}
    )
    assert answer.object == "text_completion"
    assert sent(upstream)["messages"] == SECOND + REPLY_WITH


@pytest.mark.parametrize(
    ("body", "status", "code", "param", "words"),
    [
        ({"prompt": "nothing"}, 404, "prompt_not_found", "prompt", "no prompt 'nothing'"),
        ({"prompt": "summary@9"}, 404, "prompt_not_found", "prompt", "no version 9"),
        ({"prompt": "summary@canary"}, 404, "prompt_not_found", "prompt", "nothing on the channel 'canary'"),
        (
            {"prompt": "summary"},
            400,
            "missing_inputs",
            "inputs",
            "summary@1 needs an input that the call does not give: text",
        ),
        ({"prompt": "summary", "inputs": {"text": None}}, 400, "missing_inputs", "inputs", "text"),
        ({"prompt": "summary@staging", "channel": "production"}, 400, "invalid_request", "channel", "send one of them"),
        ({"inputs": {"text": "x"}, "model": "chat"}, 400, "invalid_request", "inputs", "names none in `prompt`"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_sent(client, upstream, body, status, code, param, words) -> None:
    with pytest.raises(openai.APIStatusError) as refused:
        client.chat.completions.create(messages=[], extra_body=body, **{"model": "chat"})
    error = refused.value.response.json()["error"]
    assert (refused.value.status_code, error["code"], error["param"]) == (status, code, param)
    assert words in error["message"]
    assert upstream.meter.requests == 0


def test_inputs_that_hold_a_template_stand_literally(client, upstream) -> None:
    text = "{{secret}} {{#x}} {{>summary}} <script>alert(1)</script>"
    client.chat.completions.create(
        model="chat", messages=[], extra_body={"prompt": "summary", "inputs": {"text": text, "secret": "s"}}
    )
    assert sent(upstream)["messages"][1]["content"] == f"Summarise:\n{text}"


def test_an_embedding_takes_no_prompt(client, upstream) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.embeddings.create(model="text-embedding-3-small", input="x", extra_body={"prompt": "summary"})
    assert refused.value.body["param"] == "prompt"
