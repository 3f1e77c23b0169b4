"""Vertex: Gemini and Claude under its URLs, and service accounts turned into tokens."""

import base64
import json
from typing import Any
from urllib.parse import parse_qs

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from gateway.core.errors import InvalidRequest, Unsupported, UpstreamRejected, UpstreamUnavailable
from gateway.providers import speaks
from gateway.providers.vertex import Vertex
from gateway.providers.vertex_token import Account, Token, Tokens, read_token, token_request
from tests.gateway.providers.replay import fed, read_stream, read_whole, target
from tests.recorded import exchanges

RECORDED = [exchange for exchange in exchanges("gemini_generate") if "aiplatform" in exchange["host"]]
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
).decode()
ACCOUNT = json.dumps(
    {
        "type": "service_account",
        "project_id": "pydantic-ai",
        "private_key_id": "k1",
        "private_key": PEM,
        "client_email": "gateway@pydantic-ai.iam.gserviceaccount.com",
        "token_uri": "https://oauth2.googleapis.com/token",
    }
)
SAY = {"model": "x", "messages": [{"role": "user", "content": "hi"}]}


def vertex(upstream: str = "gemini-2.5-flash", **more: Any) -> Any:
    return target("vertex", upstream, **{"base_url": "", "secret": ACCOUNT, "region": "global"} | more)


@pytest.fixture
def adapter() -> Vertex:
    tokens = Tokens(clock=lambda: 1000.0)
    tokens.put(ACCOUNT, Token("ya29.token", 4600.0))
    return Vertex(tokens)


def test_recorded_urls_are_what_the_account_and_the_location_make(adapter):
    for exchange in RECORDED:
        project, location, upstream = (exchange["path"].split("/")[place] for place in (3, 5, 9))
        upstream, method = upstream.split(":")
        base = f"https://{exchange['host']}/v1beta1"
        to = vertex(upstream, base_url=base, region=location, quirks={"project": project})
        outgoing = adapter.request(SAY, "chat", to, stream=method == "streamGenerateContent")
        assert outgoing.url.removesuffix("?alt=sse") == f"https://{exchange['host']}{exchange['path']}"
        assert outgoing.headers["authorization"] == "Bearer ya29.token"


def test_the_location_is_the_host(adapter):
    europe = adapter.request(SAY, "chat", vertex(region="europe-west4"), stream=False)
    path = "v1/projects/pydantic-ai/locations/europe-west4/publishers/google/models/gemini-2.5-flash:generateContent"
    assert europe.url == f"https://europe-west4-aiplatform.googleapis.com/{path}"
    everywhere = adapter.request(SAY, "chat", vertex(region=""), stream=False)
    assert everywhere.url == f"https://aiplatform.googleapis.com/{path.replace('europe-west4', 'global')}"


def test_recorded_answers_and_errors_are_read_as_geminis(adapter):
    streamed = next(exchange for exchange in RECORDED if exchange["streamed"])
    heard = read_stream(fed(adapter.reader("chat", vertex()), [streamed["response"].encode()]))
    assert heard.finish in ("stop", "tool_calls")
    whole = next(exchange for exchange in RECORDED if exchange["status"] == 200 and not exchange["streamed"])
    assert read_whole(adapter.answer(whole["response"].encode(), "chat", vertex())).usage.output > 0
    failed = next(exchange for exchange in RECORDED if exchange["status"] == 400)
    error = adapter.error(400, {}, failed["response"].encode())
    message = json.loads(failed["response"])["error"]["message"]
    assert (type(error), error.message) == (UpstreamRejected, message)


def test_recorded_embeddings_come_in_openais_form(adapter):
    exchange = next(one for one in exchanges("openai_embeddings") if "aiplatform" in one["host"])
    body = {"input": exchange["request"]["content"]["parts"][0]["text"]}
    to = vertex("gemini-embedding-2", base_url="https://aiplatform.googleapis.com/v1beta1")
    outgoing = adapter.request(body, "embeddings", to, stream=False)
    assert outgoing.url == f"https://aiplatform.googleapis.com{exchange['path']}"
    assert json.loads(outgoing.body) == exchange["request"]
    delta = adapter.answer(exchange["response"].encode(), "embeddings", to)
    assert delta.data["data"][0]["embedding"] == json.loads(exchange["response"])["embedding"]["values"]
    assert delta.usage.input == 11


def test_claude_on_vertex_speaks_messages_and_answers_chat(adapter):
    to = vertex("claude-sonnet-4-5@20250929", region="us-east5")
    assert speaks(to, "messages")
    assert not speaks(vertex(), "messages")
    outgoing = adapter.request(SAY, "chat", to, stream=True)
    body = json.loads(outgoing.body)
    assert outgoing.url == (
        "https://us-east5-aiplatform.googleapis.com/v1/projects/pydantic-ai/locations/us-east5"
        "/publishers/anthropic/models/claude-sonnet-4-5@20250929:streamRawPredict"
    )
    assert body["anthropic_version"] == "vertex-2023-10-16"
    assert body["stream"] is True
    assert "model" not in body
    native = adapter.request(SAY | {"max_tokens": 5}, "messages", to, stream=False)
    assert json.loads(native.body)["messages"] == SAY["messages"]
    exchange = exchanges("anthropic_messages")[1]
    assert adapter.answer(exchange["response"].encode(), "chat", to).data["object"] == "chat.completion"
    busy = b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'
    assert adapter.error(529, {}, busy).message == "Overloaded"


def test_without_a_token_yet_another_target_may_do(adapter):
    with pytest.raises(UpstreamUnavailable) as raised:
        Vertex(Tokens()).request(SAY, "chat", vertex(), stream=False)
    assert (raised.value.kind, raised.value.sent) == ("connect", False)
    with pytest.raises(UpstreamUnavailable) as raised:
        adapter.request(SAY, "chat", vertex(secret='{"type":"authorized_user"}'), stream=False)
    assert raised.value.kind == "auth"
    with pytest.raises(InvalidRequest):
        adapter.request(SAY, "chat", vertex(secret="ya29.x"), stream=False)
    raw = adapter.request(SAY, "chat", vertex(secret="ya29.x", quirks={"project": "p"}), stream=False)
    assert raw.headers["authorization"] == "Bearer ya29.x"


def test_gemini_on_vertex_takes_one_text_to_embed(adapter):
    with pytest.raises(Unsupported) as raised:
        adapter.request({"input": ["a", "b"]}, "embeddings", vertex(), stream=False)
    assert raised.value.param == "input"


def test_the_assertion_is_signed_by_the_account_and_holds_for_an_hour():
    account = Account.parse(ACCOUNT)
    outgoing = token_request(account, 1000)
    form = parse_qs(outgoing.body.decode())
    assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
    head, claims, signature = form["assertion"][0].split(".")

    def part(text: str) -> bytes:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))

    KEY.public_key().verify(part(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256())
    assert json.loads(part(head)) == {"alg": "RS256", "typ": "JWT", "kid": "k1"}
    read = json.loads(part(claims))
    assert (read["iat"], read["exp"], read["aud"]) == (1000, 4600, account.token_uri)
    assert "PRIVATE" not in repr(account)


def test_tokens_end_in_time_and_are_forgotten_with_their_credential():
    now = [0.0]
    tokens = Tokens(clock=lambda: now[0])
    tokens.put("s", read_token(b'{"access_token":"t","expires_in":3600}', 0.0))
    assert (tokens.current("s"), tokens.due("s")) == ("t", False)
    now[0] = 3100.0
    assert (tokens.current("s"), tokens.due("s")) == ("t", True)
    now[0] = 3580.0
    assert tokens.current("s") is None
    tokens.keep_only(set())
    assert tokens.due("s")
    for wrong in (b'{"error":"invalid_grant","error_description":"Invalid JWT"}', b"<html>", b"[]"):
        with pytest.raises(ValueError):
            read_token(wrong, 0.0)
