"""Cohere's rerank, as POST /v1/rerank: `model`, `query`, `documents`, `top_n`; Jina's form is the same but for `usage`."""

from typing import TYPE_CHECKING, Any

import msgspec

from gateway.edge.plain import Plain

if TYPE_CHECKING:
    from gateway.core.call import Call, Delta


class Rerank(Plain):
    """The form of POST /v1/rerank. With `return_documents` each result holds its document, whoever answered."""

    def __init__(self) -> None:
        super().__init__("rerank", "ranks no documents")

    def whole(self, call: "Call", delta: "Delta") -> bytes:
        if not call.body.get("return_documents"):
            return super().whole(call, delta)
        answer = delta.data if delta.data is not None else msgspec.json.decode(delta.raw or b"{}")
        documents = call.body.get("documents") or []
        results = [
            one
            if one.get("document") or one["index"] >= len(documents)
            else one | {"document": shown(documents[one["index"]])}
            for one in answer["results"]
        ]
        return msgspec.json.encode({**answer, "results": results})


def shown(document: Any) -> dict[str, Any]:
    return document if isinstance(document, dict) else {"text": document}
