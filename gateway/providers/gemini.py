"""Google AI Studio's Gemini API: generateContent, streamGenerateContent and batchEmbedContents, from and to chat form."""

from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec

from gateway.core.call import Delta, Target
from gateway.core.errors import Unsupported, UpstreamError, UpstreamUnavailable
from gateway.providers import embeddings
from gateway.providers import gemini_answer as answers
from gateway.providers import gemini_request as requests
from gateway.providers.abilities import RECORDED, UNTESTED
from gateway.providers.base import Outgoing, Reader
from gateway.providers.failures import bad_answer, failure, said

BASE_URL = "https://generativelanguage.googleapis.com"
KEY_REFUSED = ("API_KEY_INVALID", "API key not valid", "API key expired")


class Gemini:
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
    forms = frozenset({"embeddings"})

    def request(self, body: dict[str, Any], form: str, target: Target, *, stream: bool) -> Outgoing:
        if form == "embeddings":
            return self.sent(target, "batchEmbedContents", embedding_request(body, target))
        if form != "chat":
            raise Unsupported(f"Gemini serves chat and embeddings, not {form}", param="model")
        method = "streamGenerateContent?alt=sse" if stream else "generateContent"
        return self.sent(target, method, requests.written(body, target))

    def sent(self, target: Target, method: str, payload: dict[str, Any]) -> Outgoing:
        headers = {"content-type": "application/json", "accept-encoding": "identity"}
        if target.secret:
            headers["x-goog-api-key"] = target.secret
        base = (target.base_url or BASE_URL).rstrip("/").removesuffix("/v1beta")
        url = f"{base}/v1beta/models/{target.upstream.removeprefix('models/')}:{method}"
        return Outgoing(url, headers, msgspec.json.encode(payload))

    def answer(self, body: bytes, form: str, target: Target) -> Delta:
        try:
            found = msgspec.json.decode(body)
            if form == "embeddings":
                vectors = [one["values"] for one in found["embeddings"]]
                reported = found.get("usageMetadata")
                return embeddings.answered(vectors, answers.usage(reported) if reported else None, target.upstream)
            return answers.whole(found)
        except (msgspec.DecodeError, KeyError, TypeError, AttributeError, ValueError) as error:
            raise bad_answer(f"gemini answered with something that can't be read: {error!r}") from error

    def reader(self, form: str, target: Target) -> Reader:
        return answers.ChatReader()

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        return google_error(status, headers, body)


def google_error(status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
    """An error in Google's shape. A refused API key comes as 400; the wait after 429 stands in its details."""
    try:
        found = msgspec.json.decode(body)
        error = (found[0] if isinstance(found, list) else found)["error"]
        message = str(error["message"])
    except (msgspec.DecodeError, KeyError, IndexError, TypeError):
        return failure(status, headers, said(body))
    if status == 400 and any(sign in str(error) for sign in KEY_REFUSED):
        return UpstreamUnavailable("the provider refused the gateway's credential (HTTP 400)", kind="auth", status=401)
    for detail in error.get("details") or []:
        delay = detail.get("retryDelay") if isinstance(detail, dict) else None
        if isinstance(delay, str) and "retry-after" not in headers:
            headers = {**headers, "retry-after": delay.removesuffix("s")}
    return failure(status, headers, message, error_type=error.get("status"))


def embedding_request(body: dict[str, Any], target: Target) -> dict[str, Any]:
    """OpenAI's embeddings request as theirs: one entry for each text. `task_type` and `title` pass."""
    embeddings.check(body, frozenset({"dimensions", "task_type", "title"}), "Gemini")
    model = f"models/{target.upstream.removeprefix('models/')}"
    entries = []
    for text in embeddings.texts(body):
        entry: dict[str, Any] = {"model": model, "content": {"parts": [{"text": text}]}}
        for name, theirs in (("dimensions", "outputDimensionality"), ("task_type", "taskType"), ("title", "title")):
            if body.get(name) is not None:
                entry[theirs] = body[name]
        entries.append(entry)
    return {"requests": entries}
