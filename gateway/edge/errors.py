"""Error answers in the shapes that clients of each form read."""

from typing import Any

import msgspec

from gateway.core.errors import GatewayError, UpstreamError


def openai_error(error: GatewayError) -> dict[str, Any]:
    """OpenAI's error object plus `hint`. A provider's own object keeps every field that it has."""
    shown: dict[str, Any] = {
        "message": error.message,
        "type": error.type,
        "param": error.param,
        "code": error.code,
    }
    if isinstance(error, UpstreamError) and error.body:
        shown |= error.body
    shown["hint"] = error.hint
    return {"error": shown}


def encode_openai_error(error: GatewayError) -> bytes:
    return msgspec.json.encode(openai_error(error))
