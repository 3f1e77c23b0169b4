"""Google Vertex AI: Gemini in AI Studio's bodies under Vertex's URLs, and Claude as Anthropic's Messages.

The credential is a service account's JSON, exchanged for access tokens in the background (vertex_token.py); a text
that is no JSON is taken as an access token. `region` is the location ("global" where it is empty); the project comes
from the JSON, or from the quirk `project`. A base URL that ends in /v1beta1 asks for the beta API.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec

from gateway.core.call import Delta, Target
from gateway.core.errors import InvalidRequest, Unsupported, UpstreamError, UpstreamUnavailable
from gateway.providers import embeddings, gemini
from gateway.providers import gemini_answer as answers
from gateway.providers.abilities import RECORDED, UNTESTED
from gateway.providers.anthropic import Anthropic, payload_of
from gateway.providers.base import Outgoing, Reader
from gateway.providers.failures import bad_answer
from gateway.providers.gemini_request import written
from gateway.providers.vertex_token import TOKENS, Account, Tokens

CLAUDE_VERSION = "vertex-2023-10-16"


class Vertex:
    can: ClassVar[Mapping[str, str]] = {
        "text": RECORDED,
        "stream": RECORDED,
        "image": RECORDED,
        "file": RECORDED,
        "audio": UNTESTED,
        "video": RECORDED,
        "tools": RECORDED,
        "parallel_tools": RECORDED,
        "json_schema": RECORDED,
        "reasoning": RECORDED,
        "citations": RECORDED,
        "logprobs": RECORDED,
        "n": UNTESTED,
        "embedding": RECORDED,
    }
    forms = frozenset({"embeddings", "messages"})

    def __init__(self, tokens: Tokens = TOKENS) -> None:
        self.tokens = tokens
        self.claude, self.gemini = Anthropic(), gemini.Gemini()

    def forms_of(self, target: Target) -> frozenset[str]:
        """Claude speaks Anthropic's form itself, Gemini embeds."""
        return frozenset({"messages"}) if is_claude(target) else frozenset({"embeddings"})

    def request(self, body: dict[str, Any], form: str, target: Target, *, stream: bool) -> Outgoing:
        if is_claude(target):
            payload, betas = payload_of(body, form, target)
            payload |= {"anthropic_version": CLAUDE_VERSION, "stream": stream}
            if betas:
                payload["anthropic_beta"] = betas
            return self.sent(target, "anthropic", "streamRawPredict" if stream else "rawPredict", payload)
        if form == "chat":
            method = "streamGenerateContent?alt=sse" if stream else "generateContent"
            return self.sent(target, "google", method, written(body, target))
        if form == "embeddings":
            return self.sent(target, "google", "embedContent", embedding_request(body))
        raise Unsupported(f"Gemini on Vertex serves chat and embeddings, not {form}", param="model")

    def sent(self, target: Target, publisher: str, method: str, payload: dict[str, Any]) -> Outgoing:
        token, project = self.access(target)
        location = target.region or "global"
        host = "aiplatform.googleapis.com" if location == "global" else f"{location}-aiplatform.googleapis.com"
        base = (target.base_url or f"https://{host}").rstrip("/")
        if not base.endswith(("/v1", "/v1beta1")):
            base += "/v1"
        path = f"projects/{project}/locations/{location}/publishers/{publisher}/models/{target.upstream}:{method}"
        headers = {"content-type": "application/json", "accept-encoding": "identity"}
        if token:
            headers["authorization"] = f"Bearer {token}"
        return Outgoing(f"{base}/{path}", headers, msgspec.json.encode(payload))

    def access(self, target: Target) -> tuple[str, str]:
        """The access token and the project. Raises UpstreamUnavailable while there is no token."""
        try:
            account = Account.parse(target.secret)
        except ValueError as error:
            raise UpstreamUnavailable(f"the credential is {error}", kind="auth", sent=False) from None
        project = str(target.quirks.get("project") or (account.project if account else ""))
        if not project:
            raise InvalidRequest(
                f"the provider {target.provider!r} names no project",
                hint="Use a service account's JSON as the credential, or give the provider the quirk `project`.",
            )
        token = self.tokens.current(target.secret) if account else target.secret
        if token is None:
            raise UpstreamUnavailable("there is no access token from Google yet", kind="connect", sent=False)
        return token, project

    def answer(self, body: bytes, form: str, target: Target) -> Delta:
        if is_claude(target):
            return self.claude.answer(body, form, target)
        if form == "embeddings":
            try:
                found = msgspec.json.decode(body)
                reported = found.get("usageMetadata")
                usage = answers.usage(reported) if reported else None
                return embeddings.answered([found["embedding"]["values"]], usage, target.upstream)
            except (msgspec.DecodeError, KeyError, TypeError, AttributeError) as error:
                raise bad_answer(f"vertex answered with something that can't be read: {error!r}") from error
        return self.gemini.answer(body, form, target)

    def reader(self, form: str, target: Target) -> Reader:
        return self.claude.reader(form, target) if is_claude(target) else answers.ChatReader()

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        if b'"type"' in body and b'"status"' not in body:
            return self.claude.error(status, headers, body)  # Claude's own errors come in Anthropic's shape
        return gemini.google_error(status, headers, body)


def is_claude(target: Target) -> bool:
    return target.upstream.startswith("claude")


def embedding_request(body: dict[str, Any]) -> dict[str, Any]:
    """OpenAI's embeddings request as embedContent, which takes one text."""
    embeddings.check(body, frozenset({"dimensions", "task_type", "title"}), "Vertex")
    texts = embeddings.texts(body)
    if len(texts) != 1:
        raise Unsupported("Gemini's embedding models on Vertex take one text a call", param="input")
    payload: dict[str, Any] = {"content": {"parts": [{"text": texts[0]}]}}
    for name, theirs in (("dimensions", "outputDimensionality"), ("task_type", "taskType"), ("title", "title")):
        if body.get(name) is not None:
            payload[theirs] = body[name]
    return payload
