import json

import pytest

from gateway.core.call import Target
from gateway.providers.azure_openai import AzureOpenAI
from tests.recorded import exchanges


def at(base_url: str = "https://r.openai.azure.com", version: str = "", secret: str = "key") -> Target:
    return Target("m", "azure", "azure_openai", base_url, "my gpt", secret=secret, api_version=version)


@pytest.mark.parametrize(
    ("base_url", "version", "form", "url"),
    [
        ("", "2024-06-01", "chat", "/openai/deployments/my%20gpt/chat/completions?api-version=2024-06-01"),
        ("", "", "embeddings", "/openai/deployments/my%20gpt/embeddings?api-version=2024-10-21"),
        ("/openai/", "2025-03-01-preview", "responses", "/openai/responses?api-version=2025-03-01-preview"),
        ("", "v1", "chat", "/openai/v1/chat/completions"),
        ("", "preview", "responses", "/openai/v1/responses?api-version=preview"),
        ("/openai/v1/", "", "chat", "/openai/v1/chat/completions"),
        ("/openai/v1", "v1", "images", "/openai/v1/images/generations"),
    ],
)
def test_the_version_of_the_api_decides_the_address(base_url, version, form, url):
    base = "https://r.openai.azure.com"
    assert AzureOpenAI().url(form, at(base + base_url, version)) == base + url


def test_a_key_and_a_token_have_their_own_headers():
    keyed = AzureOpenAI().headers(at())
    signed = AzureOpenAI().headers(at(secret="eyJhbGciOi"))
    assert (keyed.get("api-key"), keyed.get("authorization")) == ("key", None)
    assert (signed.get("api-key"), signed.get("authorization")) == (None, "Bearer eyJhbGciOi")


def test_the_recorded_exchange_passes_with_its_filter_results():
    [exchange] = exchanges("azure_chat")
    out = AzureOpenAI().request(exchange["request"], "chat", at(version="2024-06-01"), stream=False)
    delta = AzureOpenAI().answer(exchange["response"].encode(), "chat", at())
    assert json.loads(out.body) == exchange["request"] | {"model": "my gpt"}
    assert delta.raw == exchange["response"].encode()
    assert (delta.text, delta.finish, delta.usage.input) == (
        "The capital of France is **Paris**.",
        "stop",
        json.loads(exchange["response"])["usage"]["prompt_tokens"],
    )


def test_a_prompt_that_the_filter_stopped_counts_as_refused_content():
    body = b'{"error":{"code":"content_filter","message":"The response was filtered","innererror":{"code":"X"}}}'
    error = AzureOpenAI().error(400, {}, body)
    assert (error.kind, error.code, error.body["innererror"]) == ("content_refused", "content_filter", {"code": "X"})
