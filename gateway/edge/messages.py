"""Anthropic's messages: passed through to Anthropic, over chat completions to everybody else."""

from typing import TYPE_CHECKING, Any

import msgspec

from gateway.core.errors import GatewayError, UpstreamError
from gateway.edge import messages_request
from gateway.edge.chat import read_whole
from gateway.edge.messages_answer import message_of
from gateway.edge.messages_stream import MessagesWriter

if TYPE_CHECKING:
    from gateway.core.call import Call, Delta

# Anthropic's own names of errors, by the status that they come with.
TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}


class Messages:
    """The form of POST /v1/messages; see core.forms.Form."""

    name = "messages"

    def chat(self, body: dict[str, Any]) -> dict[str, Any]:
        return messages_request.chat(body)

    def whole(self, call: "Call", delta: "Delta") -> bytes:
        if delta.form == self.name:
            return delta.raw if delta.raw is not None else msgspec.json.encode(delta.data)
        return msgspec.json.encode(message_of(read_whole(delta), call))

    def writer(self, call: "Call") -> MessagesWriter:
        return MessagesWriter(call, error_object)

    def error(self, error: GatewayError, call_id: str) -> bytes:
        return msgspec.json.encode(error_object(error) | {"request_id": call_id})


def error_object(error: GatewayError) -> dict[str, Any]:
    """Anthropic's error object, plus our code, param and hint. A provider's own object keeps what it has."""
    theirs = dict(error.body) if isinstance(error, UpstreamError) and error.body else {}
    kind = TYPES.get(error.status) or ("invalid_request_error" if error.status < 500 else "api_error")
    if isinstance(theirs.get("type"), str) and theirs["type"] in TYPES.values():
        kind = theirs["type"]
    shown = theirs | {"type": kind, "message": error.message, "code": error.code}
    if error.param is not None:
        shown["param"] = error.param
    shown["hint"] = error.hint
    return {"type": "error", "error": shown}
