"""What real providers answered reaches the official client through the gateway as if there were no gateway."""

from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI
from openai.types import CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from tests.installation import KEY, Installation
from tests.recorded import exchanges
from tests.upstream.server import Upstream

OURS = {"user", "metadata", "safety_identifier", "models", "prompt", "cache", "timeout"}
NO_ANSWERS = {"11654f719979", "20b189af6270"}  # what an echo server says, which is no chat completion
RECORDED = [
    *exchanges("openai_chat"),
    *exchanges("compatible_chat"),
    *exchanges("azure_chat"),
    *exchanges("mistral_chat"),
]
CHATS = [each for each in RECORDED if each["id"] not in NO_ANSWERS]
EMBEDDINGS = [each for each in exchanges("openai_embeddings") if each["path"].endswith("/v1/embeddings")]
SECRET = "sk-upstream"


def names() -> set[str]:
    requests = [each["request"] for each in [*CHATS, *EMBEDDINGS]]
    return {name for body in requests for name in [body.get("model", "gpt-4o"), *body.get("models", [])]}


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def gateway(upstream: Upstream) -> Iterator[Installation]:
    models = "\n".join(f'  - {{name: "{name}", provider: replayed, upstream: "{name}"}}' for name in sorted(names()))
    text = f"""
version: 1
providers:
  - name: replayed
    kind: openai_compatible
    base_url: {upstream.url}
    credentials: [{{name: main, secret: {{env: UPSTREAM_SECRET}}}}]
models:
{models}
workspaces:
  - {{name: acme, on_unpriced: allow, keys: [{{name: all, secret: {{env: KEY}}}}]}}
"""
    with Installation() as installation:
        installation.apply(text, KEY=KEY, UPSTREAM_SECRET=SECRET)
        yield installation.start()


@pytest.fixture(scope="module")
def direct(upstream: Upstream) -> Iterator[OpenAI]:
    with OpenAI(base_url=upstream.url, api_key=SECRET, max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def through(gateway: Installation) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{gateway.url}/v1", api_key=KEY, max_retries=0) as client:
        yield client


def read(client: OpenAI, exchange: dict[str, Any], kind: Any) -> Any:
    """What the official client makes of the answer: its object, its chunks, or its error, as plain data."""
    body = {"model": "gpt-4o", **exchange["request"]}
    path = "/embeddings" if kind is CreateEmbeddingResponse else "/chat/completions"
    try:
        if exchange["streamed"]:
            stream = client.post(path, body=body, cast_to=ChatCompletion, stream=True, stream_cls=STREAM)
            return [chunk.to_dict(warnings=False) for chunk in stream]
        return client.post(path, body=body, cast_to=kind).to_dict(warnings=False)
    except openai.APIError as error:
        told = error.body if isinstance(error.body, dict) else {"message": error.body}
        return {"status": getattr(error, "status_code", 200), **told}


STREAM = openai.Stream[ChatCompletionChunk]


def without_additions(answer: Any, expected: Any) -> Any:
    """The answer without what the gateway may add to it: a cost in the last chunk's usage, fields of an error."""
    if isinstance(answer, dict) and "status" in answer:
        if expected["status"] == 200:  # an error within a stream, before any answer: here it still gets a status
            return expected if expected["message"] in answer["message"] else answer
        return {name: value for name, value in answer.items() if name in expected}
    if isinstance(answer, list):
        for chunk in answer:
            (chunk.get("usage") or {}).pop("cost_usd", None)
    return answer


def expected_request(exchange: dict[str, Any]) -> dict[str, Any]:
    """What the provider must be sent: the recorded request but for what wire.md names."""
    body = {"model": "gpt-4o", **exchange["request"]}
    body = {name: value for name, value in body.items() if name not in OURS}
    if exchange["streamed"]:
        body["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
    return body


@pytest.mark.parametrize(
    ("exchange", "kind"),
    [(each, ChatCompletion) for each in CHATS] + [(each, CreateEmbeddingResponse) for each in EMBEDDINGS],
    ids=[each["id"] for each in [*CHATS, *EMBEDDINGS]],
)
def test_a_recorded_exchange_passes_unchanged_both_ways(
    direct: OpenAI, through: OpenAI, upstream: Upstream, exchange: dict[str, Any], kind: Any
) -> None:
    upstream.forget()
    upstream.replay(exchange["status"], exchange["content_type"], exchange["response"])
    expected = read(direct, exchange, kind)
    upstream.meter.clear()
    if not (exchange["request"].get("stream_options") or {}).get("include_usage") and isinstance(expected, list):
        expected = [chunk for chunk in expected if chunk["choices"]]  # usage is shown to those who ask for it
    assert without_additions(read(through, exchange, kind), expected) == expected
    sent = dict(upstream.meter.readings[0].body)
    limit = sent.pop("max_tokens", None) or sent.pop("max_completion_tokens", None)
    wanted = expected_request(exchange)
    asked = wanted.pop("max_tokens", None) or wanted.pop("max_completion_tokens", None)
    # Recorded errors open circuits; then a fallback that the recorded call names by itself is asked instead.
    assert sent.pop("model") in [wanted.pop("model"), *exchange["request"].get("models", [])]
    assert sent == wanted
    assert asked is None or limit == asked
