"""OpenAI's responses: passed through where the provider speaks them, over chat completions everywhere else."""

from typing import TYPE_CHECKING, Any

import msgspec

from gateway.edge import responses_request
from gateway.edge.chat import read_whole
from gateway.edge.errors import encode_openai_error
from gateway.edge.responses_answer import response_of
from gateway.edge.responses_stream import ResponsesWriter

if TYPE_CHECKING:
    from gateway.core.call import Call, Delta
    from gateway.core.errors import GatewayError


class Responses:
    """The form of POST /v1/responses; see core.forms.Form."""

    name = "responses"

    def chat(self, body: dict[str, Any]) -> dict[str, Any]:
        return responses_request.chat(body)

    def whole(self, call: "Call", delta: "Delta") -> bytes:
        if delta.form == self.name:
            return delta.raw if delta.raw is not None else msgspec.json.encode(delta.data)
        return msgspec.json.encode(response_of(read_whole(delta), call))

    def writer(self, call: "Call") -> ResponsesWriter:
        return ResponsesWriter(call)

    def error(self, error: "GatewayError", call_id: str) -> bytes:
        return encode_openai_error(error)
