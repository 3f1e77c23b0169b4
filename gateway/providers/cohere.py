"""Cohere's v2 API: chat and embed translated from OpenAI's forms, rerank in its own form, which is the gateway's."""

from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec

from gateway.core.call import Delta, Target, Usage
from gateway.core.errors import InvalidRequest, Unsupported, UpstreamError
from gateway.providers import cohere_answer as answers
from gateway.providers import cohere_request as requests
from gateway.providers import embeddings
from gateway.providers.abilities import MOCK, RECORDED, UNTESTED
from gateway.providers.base import Outgoing, Reader
from gateway.providers.failures import bad_answer, failure, said

BASE_URL = "https://api.cohere.com"
RERANK_FIELDS = ("query", "documents", "top_n", "max_tokens_per_doc", "priority")


class Cohere:
    can: ClassVar[Mapping[str, str]] = {
        "text": RECORDED,
        "stream": MOCK,
        "image": UNTESTED,
        "tools": RECORDED,
        "parallel_tools": MOCK,
        "json_schema": MOCK,
        "reasoning": UNTESTED,
        "citations": RECORDED,
        "logprobs": UNTESTED,
        "embedding": RECORDED,
        "rerank": MOCK,
    }
    forms = frozenset({"embeddings", "rerank"})

    def request(self, body: dict[str, Any], form: str, target: Target, *, stream: bool) -> Outgoing:
        if form == "embeddings":
            return self.sent(target, "embed", requests.embedding(body))
        if form == "rerank":
            return self.sent(target, "rerank", rerank_request(body))
        if form != "chat":
            raise Unsupported(f"Cohere serves chat, embeddings and rerank, not {form}", param="model")
        return self.sent(target, "chat", requests.written(body) | {"stream": stream})

    def sent(self, target: Target, method: str, payload: dict[str, Any]) -> Outgoing:
        headers = {"content-type": "application/json", "accept-encoding": "identity"}
        if target.secret:
            headers["authorization"] = f"Bearer {target.secret}"
        base = (target.base_url or BASE_URL).rstrip("/").removesuffix("/v2")
        payload = {"model": target.upstream, **payload}
        return Outgoing(f"{base}/v2/{method}", headers, msgspec.json.encode(payload))

    def answer(self, body: bytes, form: str, target: Target) -> Delta:
        try:
            found = msgspec.json.decode(body)
            if form == "embeddings":
                reported = (found.get("meta") or {}).get("billed_units")
                usage = Usage(input=int(reported.get("input_tokens") or 0)) if reported else None
                return embeddings.answered(found["embeddings"]["float"], usage, target.upstream)
            if form == "rerank":
                return reranked(found, body)
            return answers.whole(found, target.upstream)
        except (msgspec.DecodeError, KeyError, TypeError, AttributeError, ValueError) as error:
            raise bad_answer(f"cohere answered with something that can't be read: {error!r}") from error

    def reader(self, form: str, target: Target) -> Reader:
        return answers.ChatReader(target.upstream)

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        return failure(status, headers, said(body))


def rerank_request(body: dict[str, Any]) -> dict[str, Any]:
    """A rerank request as v2 takes it: documents are texts. The gateway itself gives documents back where asked.

    Raises InvalidRequest, naming the field, for a request that nobody could rank.
    """
    if not isinstance(body.get("query"), str) or not body["query"]:
        raise InvalidRequest("query must be a string.", param="query")
    if not isinstance(body.get("documents"), list) or not body["documents"]:
        raise InvalidRequest("documents must be a list of texts.", param="documents")
    sent = {name: body[name] for name in RERANK_FIELDS if body.get(name) is not None}
    sent["documents"] = [text_of(document) for document in body["documents"]]
    return sent


def text_of(document: Any) -> str:
    """A document's text: itself, its `text`, or all its fields one a line, as their older API did it."""
    if isinstance(document, str):
        return document
    if isinstance(document, dict) and isinstance(document.get("text"), str):
        return str(document["text"])
    return msgspec.json.encode(document).decode()


def reranked(found: dict[str, Any], body: bytes) -> Delta:
    """A rerank answer as it came. It is billed by search units."""
    if not all("index" in one and "relevance_score" in one for one in found["results"]):
        raise ValueError("results without index and relevance_score")
    units = ((found.get("meta") or {}).get("billed_units") or {}).get("search_units")
    usage = Usage(tool_uses=int(units or 1))
    return Delta(body, data=found, form="rerank", usage=usage)
