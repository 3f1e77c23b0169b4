"""The forms that are answered in one piece and that only a provider which serves them can answer.

Embeddings, moderations, images and speech have no translation into chat completions.
"""

from typing import TYPE_CHECKING, Any

import msgspec

from gateway.core.errors import Unsupported
from gateway.edge.chat import ChatWriter
from gateway.edge.errors import encode_openai_error

if TYPE_CHECKING:
    from gateway.core.call import Call, Delta
    from gateway.core.errors import GatewayError
    from gateway.core.forms import Writer


class Plain:
    """One such form; see core.forms.Form. `what` says in an error what the model can't do."""

    def __init__(self, name: str, what: str) -> None:
        self.name, self.what = name, what

    def chat(self, body: dict[str, Any]) -> dict[str, Any]:
        raise Unsupported(
            f"This model {self.what}.", param="model", hint="Choose a model that can; see GET /v1/models."
        )

    def whole(self, call: "Call", delta: "Delta") -> bytes:
        return delta.raw if delta.raw is not None else msgspec.json.encode(delta.data)

    def writer(self, call: "Call") -> "Writer":
        return ChatWriter(call)

    def error(self, error: "GatewayError", call_id: str) -> bytes:
        return encode_openai_error(error)
