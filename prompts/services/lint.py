"""What is allowed in a version and still looks wrong: said when it is written, never refused."""

from collections.abc import Mapping
from typing import Any

from prompts.rendering import templates_in
from prompts.services.words import Words

COMMANDING = frozenset({"system", "developer"})  # roles whose text a model obeys


def warnings(words: Words, messages: list[dict[str, Any]]) -> list[str]:
    """One sentence each. `messages` are the words' own with their partials put in, and compile.

    An input is trusted where the schema says so: {"properties": {"tone": {"type": "string", "trusted": true}}}.
    """
    properties: Mapping[str, Any] = words.input_schema.get("properties") or {}
    used: dict[str, None] = {}
    obeyed: dict[str, None] = {}
    for message in messages:
        names = sorted({name for each in templates_in(message) for name in each.names})
        used |= dict.fromkeys(names)
        if message.get("placeholder"):
            used[str(message["placeholder"])] = None
        if message.get("role") in COMMANDING:
            obeyed |= dict.fromkeys(names)
    said = [
        f"The input {name} stands in a system message, which the model obeys: whoever fills it can give orders. "
        f"Move it to a user message, or mark it as trusted in the schema."
        for name in obeyed
        if not is_trusted(properties.get(name))
    ]
    said += [f"The schema describes {name}, but no message uses it." for name in properties if name not in used]
    if properties:
        said += [
            f"The messages use {name}, but the schema does not describe it."
            for name in used
            if name not in properties and name != "messages"
        ]
    required = set(words.input_schema.get("required") or ())
    said += [
        f"The schema requires {name}, but no message uses it."
        for name in sorted(required - used.keys() - properties.keys())
    ]
    return said


def is_trusted(described: Any) -> bool:
    return isinstance(described, Mapping) and described.get("trusted") is True
