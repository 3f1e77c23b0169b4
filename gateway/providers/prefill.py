"""Which servers go on with an answer that was begun for them, and how they want to be asked.

The last message is then the assistant's, and what comes back is its rest. By kind, or by a row's quirk `prefill`:

    message    nothing more is needed
    prefix     the message is marked with "prefix": true
    continue   the body says continue_final_message, as servers of open models want it
    false      this one does not, whatever its kind does
"""

from typing import Any

from gateway.core.call import Target

KINDS = {"anthropic": "message", "mistral": "prefix"}
WAYS = frozenset({"message", "prefix", "continue"})


def prefill_of(target: Target) -> str | None:
    """How this target is asked to go on with an answer; None where it can't be."""
    way = target.quirks.get("prefill", KINDS.get(target.kind))
    return way if way in WAYS else None


def begun(body: dict[str, Any], text: str, way: str) -> dict[str, Any]:
    """The chat body with an answer that begins with this text. `body` is not changed."""
    message = {"role": "assistant", "content": text}
    if way == "prefix":
        message["prefix"] = True  # type: ignore[assignment]
    more = {"continue_final_message": True, "add_generation_prompt": False} if way == "continue" else {}
    return {**body, "messages": [*body["messages"], message], **more}
