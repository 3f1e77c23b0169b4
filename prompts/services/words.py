"""All of a version that shapes an answer: its digest, and what is checked before it is saved."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import ValidationError

from prompts.rendering import compiled
from prompts.template import TemplateError

RESERVED = frozenset({"model", "messages", "stream", "stream_options", "tools", "response_format", "user", "metadata"})


@dataclass(frozen=True, slots=True)
class Words:
    """All of a version that shapes an answer."""

    messages: list[dict[str, Any]]
    route: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)
    response_format: dict[str, Any] | None = None
    tools: list[dict[str, Any]] | None = None
    input_schema: dict[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """SHA-256, in hex, of the canonical JSON of these words."""
        return digest_of(self)


def digest_of(words: Words, pins: Mapping[str, Any] | None = None) -> str:
    """SHA-256, in hex, of the canonical JSON of all that shapes an answer: the words and the versions of partials."""
    whole = [words.messages, words.route, words.parameters, words.response_format, words.tools, words.input_schema]
    return hashlib.sha256(json.dumps([*whole, pins or {}], sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def check_words(words: Words, messages: list[dict[str, Any]]) -> None:
    """Raises ValidationError, by field, where a version of these words could not be rendered."""
    if not messages:
        raise ValidationError({"messages": "A version needs at least one message."})
    if wrong := sorted(RESERVED & words.parameters.keys()):
        raise ValidationError({"parameters": f"{', '.join(wrong)} can't be a parameter: it has a field of its own."})
    for at, message in enumerate(messages):
        if not isinstance(message, dict) or not (message.get("role") or message.get("placeholder")):
            raise ValidationError({"messages": f"Message {at + 1} must have a role, or be a placeholder."})
        try:
            compiled("", 0, {"messages": [message]})
        except TemplateError as error:
            raise ValidationError({"messages": f"Message {at + 1}, {error}."}) from None
    try:
        compiled("", 0, {"messages": messages, "input_schema": words.input_schema})
    except (ValueError, TypeError, AttributeError) as error:
        raise ValidationError({"input_schema": f"This is no usable JSON Schema: {error}."}) from None
