"""Which fields of a chat request a provider can serve, and what happens to the others.

An adapter declares the fields that it serves; `check` refuses the first other field by name. Hints change
nothing about what an answer means, so they are left out silently where a provider has no such thing; a
field with its neutral value (n: 1, logprobs: false …) asks for nothing and passes everywhere.
`outgoing` honours a caller's `drop_unsupported`: it asks again without the refused field.
"""

from typing import Any

from gateway.core.call import Target
from gateway.core.errors import Unsupported
from gateway.providers.base import Outgoing, Provider

HINTS = frozenset(
    {
        "metadata",
        "prediction",
        "prompt_cache_key",
        "prompt_cache_retention",
        "safety_identifier",
        "store",
        "stream",
        "stream_options",
        "user",
    }
)
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "logprobs": (False,),
    "modalities": (["text"], []),
    "n": (1,),
    "parallel_tool_calls": (True,),
    "presence_penalty": (0,),
    "reasoning_effort": (),
    "response_format": ({"type": "text"},),
    "service_tier": ("auto", "default"),
    "tool_choice": ("auto",),
    "tools": ([],),
    "top_logprobs": (0,),
    "verbosity": ("medium",),
}
NEEDED = frozenset({"messages", "model", "input", "query", "documents"})


def asks(body: dict[str, Any], field: str) -> bool:
    """Whether the request asks for anything with this field."""
    value = body.get(field)
    return value is not None and value not in NEUTRAL.get(field, ())


def check(body: dict[str, Any], served: frozenset[str], provider: str) -> None:
    """Raises Unsupported, naming the first field that asks for something the provider has not."""
    for field in body:
        if field not in served and field not in HINTS and field not in NEEDED and asks(body, field):
            raise Unsupported(f"{provider} has nothing like {field!r}", param=field)


def outgoing(
    provider: Provider, body: dict[str, Any], form: str, target: Target, *, stream: bool, drop_unsupported: bool = False
) -> tuple[Outgoing, tuple[str, ...]]:
    """The request to send, and the fields that were dropped on the way to it.

    Raises Unsupported where the caller did not allow dropping, or where the field can't be dropped
    (a part of a message is content: nothing is left out of what was said).
    """
    dropped: list[str] = []
    while True:
        try:
            return provider.request(body, form, target, stream=stream), tuple(dropped)
        except Unsupported as refused:
            field = refused.param or ""
            if not drop_unsupported or field not in body or field in NEEDED:
                raise
            body = {name: value for name, value in body.items() if name != field}
            dropped.append(field)
