"""AWS Bedrock: Converse and ConverseStream from and to chat form, embeddings by InvokeModel; signed with SigV4.

The credential is `ACCESS_KEY_ID:SECRET_ACCESS_KEY[:SESSION_TOKEN]`, or a Bedrock API key, which has no colon and is
sent as a bearer token. Embeddings: Amazon Titan and Nova (one text a call), Cohere (many).
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar
from urllib.parse import quote

import msgspec

from gateway.core.call import Delta, Target, Usage
from gateway.core.errors import InvalidRequest, Unsupported, UpstreamError, UpstreamUnavailable
from gateway.providers import bedrock_answer as answers
from gateway.providers import embeddings
from gateway.providers.abilities import MOCK, RECORDED
from gateway.providers.base import Outgoing, Reader
from gateway.providers.bedrock_request import written
from gateway.providers.failures import bad_answer, said
from gateway.providers.sigv4 import Credential, signed


class Bedrock:
    can: ClassVar[Mapping[str, str]] = {
        "text": RECORDED,
        "stream": MOCK,
        "image": RECORDED,
        "file": RECORDED,
        "video": RECORDED,
        "tools": RECORDED,
        "parallel_tools": RECORDED,
        "json_schema": RECORDED,
        "reasoning": RECORDED,
        "caching": RECORDED,
        "embedding": RECORDED,
    }
    forms = frozenset({"embeddings"})

    def request(self, body: dict[str, Any], form: str, target: Target, *, stream: bool) -> Outgoing:
        if form == "embeddings":
            return self.sent(target, "invoke", embedding_request(body, target))
        if form != "chat":
            raise Unsupported(f"Bedrock serves chat and embeddings, not {form}", param="model")
        return self.sent(target, "converse-stream" if stream else "converse", written(body, target))

    def sent(self, target: Target, method: str, payload: dict[str, Any]) -> Outgoing:
        if not target.base_url and not target.region:
            raise InvalidRequest(
                f"the provider {target.provider!r} needs a region", hint="Give it one, e.g. eu-west-1."
            )
        base = target.base_url or f"https://bedrock-runtime.{target.region}.amazonaws.com"
        url = f"{base.rstrip('/')}/model/{quote(target.upstream, safe='')}/{method}"
        headers = {"content-type": "application/json", "accept-encoding": "identity"}
        outgoing = Outgoing(url, headers, msgspec.json.encode(payload))
        if not target.secret:
            return outgoing
        if ":" not in target.secret:
            headers["authorization"] = f"Bearer {target.secret}"
            return outgoing
        try:
            credential = Credential.parse(target.secret)
        except ValueError as error:
            message = f"the credential of provider {target.provider!r} {error}"
            raise UpstreamUnavailable(message, kind="auth", sent=False) from None
        region = target.region or "us-east-1"
        return signed(outgoing, credential, region=region, service="bedrock", at=datetime.now(UTC))

    def answer(self, body: bytes, form: str, target: Target) -> Delta:
        try:
            found = msgspec.json.decode(body)
            if form == "embeddings":
                return embedded(found, target)
            return answers.whole(found, target.upstream)
        except (msgspec.DecodeError, KeyError, TypeError, AttributeError, ValueError) as error:
            raise bad_answer(f"bedrock answered with something that can't be read: {error!r}") from error

    def reader(self, form: str, target: Target) -> Reader:
        return answers.ChatReader(target.upstream)

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        name = headers.get("x-amzn-errortype", "").split(":", 1)[0]
        try:
            name = name or str(msgspec.json.decode(body).get("__type") or "").rsplit("#", 1)[-1]
        except (msgspec.DecodeError, AttributeError):
            name = ""
        return answers.bedrock_error(status, said(body), name, headers)


def embedding_request(body: dict[str, Any], target: Target) -> dict[str, Any]:
    """OpenAI's embeddings request as each maker's own."""
    texts = embeddings.texts(body)
    name = target.upstream
    if "cohere." in name:
        embeddings.check(body, frozenset({"dimensions", "input_type", "truncate"}), "Cohere on Bedrock")
        payload: dict[str, Any] = {"texts": texts, "input_type": body.get("input_type") or "search_document"}
        payload["truncate"] = body.get("truncate") or "NONE"
        if body.get("dimensions") is not None:
            payload["output_dimension"] = body["dimensions"]
        return payload
    if "amazon." not in name:
        raise Unsupported("of Bedrock's models only Amazon's and Cohere's embed", param="model")
    if len(texts) != 1:
        raise Unsupported("Amazon's embedding models take one text a call", param="input")
    if "nova" in name:
        embeddings.check(body, frozenset({"dimensions", "embedding_purpose", "truncate"}), "Nova")
        text = {"value": texts[0], "truncationMode": body.get("truncate") or "NONE"}
        params = {"embeddingPurpose": body.get("embedding_purpose") or "GENERIC_INDEX", "text": text}
        if body.get("dimensions") is not None:
            params["embeddingDimension"] = body["dimensions"]
        return {"taskType": "SINGLE_EMBEDDING", "singleEmbeddingParams": params}
    embeddings.check(body, frozenset({"dimensions", "normalize"}), "Titan")
    payload = {"inputText": texts[0]}
    for ours in ("dimensions", "normalize"):
        if body.get(ours) is not None:
            payload[ours] = body[ours]
    return payload


def embedded(found: dict[str, Any], target: Target) -> Delta:
    """Their vectors in OpenAI's form. Titan alone says how many tokens it read."""
    if "embedding" in found:
        vectors = [found["embedding"]]
    elif isinstance(found["embeddings"], dict):
        vectors = found["embeddings"]["float"]
    elif isinstance(found["embeddings"][0], dict):
        vectors = [one["embedding"] for one in found["embeddings"]]
    else:
        vectors = found["embeddings"]
    count = found.get("inputTextTokenCount")
    return embeddings.answered(vectors, None if count is None else Usage(input=count), target.upstream)
